"""Labelled images: what networks learn beside a teacher."""
