"""What is read of each evaluation, how it is printed and drawn: a file for each."""
