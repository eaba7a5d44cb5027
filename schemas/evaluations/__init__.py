"""What is asked of trained networks: a file for each evaluation."""
