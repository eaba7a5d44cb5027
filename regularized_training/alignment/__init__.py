"""How brain-like the layers of a network are."""
