"""What an encoder has learned: receptive fields, most exciting images, gaze and gain."""
