"""The command line ``neuroteach``."""
