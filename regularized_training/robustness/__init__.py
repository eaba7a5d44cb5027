"""What a network withstands, one module per kind of damage to its images."""
