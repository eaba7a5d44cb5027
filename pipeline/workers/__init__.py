"""What computes: populate, reservations, processes."""
