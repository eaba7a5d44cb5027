"""Task networks, and the layers whose features are compared with the brain's."""
