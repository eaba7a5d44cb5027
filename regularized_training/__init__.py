"""Stage two: task networks that learn from what the brain says of the stimuli it was shown."""

import predictive_model  # noqa: F401 - says how threads wait, before PyTorch is loaded
