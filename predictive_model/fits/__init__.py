"""Encoders fitted to recordings, or fitted by others and read from their files."""
