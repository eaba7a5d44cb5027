"""Stage one: encoders that predict, and so denoise, the responses of recorded neurons."""

from predictive_model.threads import spin_briefly

spin_briefly()  # before anything here imports PyTorch, which reads it once
