"""Stage two: task networks that learn from what the brain says of the stimuli it was shown."""
