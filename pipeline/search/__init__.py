"""Searches for settings of encoders."""
