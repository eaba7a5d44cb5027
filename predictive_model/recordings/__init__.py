"""Recordings of visual cortex, simulated ones, and the images that they show."""
