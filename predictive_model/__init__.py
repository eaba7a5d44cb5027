"""Stage one: encoders that predict, and so denoise, the responses of recorded neurons."""
