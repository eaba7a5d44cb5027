"""What a network withstands: noise, attacks, corruptions and distortions."""
