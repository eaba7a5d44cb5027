"""What the brain says, and controls that have no brain."""
