"""Experiment files, read, checked and planned."""
