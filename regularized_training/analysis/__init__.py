"""What teaching changed inside a network, and how sure a difference between networks is."""
