"""One simulated scan of clearly driven neurons at rest, and an encoder of it, for looking inside.

30 neurons fire 20 spikes per trial, all of them for the image; nothing moves the eye and nothing
changes the gain. What an encoder then gets wrong is not the noise's doing.
"""

from __future__ import annotations

from functools import cache

from predictive_model.encoders.config import CoreConfig, EncoderConfig
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli

SHAPE = (24, 24)


@cache
def cortex() -> SimulatedCortex:
    """The ground truth."""
    config = SimulatedCortexConfig(
        n_neurons=30,
        image_shape=SHAPE,
        centre_range=0.3,
        width=(6, 14),
        mean_rate=20,
        baseline_fraction=0,
        gaze_amplitude=0,
        running_gain=0,
        pupil_size_gain=0,
    )
    return SimulatedCortex(config, seed=1)


@cache
def recording() -> Recording:
    """What is seen of it."""
    images = natural_stimuli(1500, SHAPE, seed=3)
    return cortex().record(images, n_repeated=50, n_repeats=2, seed=1, name="clear")


@cache
def fitted() -> FittedEncoder:
    """An encoder of it."""
    config = EncoderConfig(core=CoreConfig(hidden_channels=12, layers=2))
    fit_config = FitConfig(
        batch_size=32, learning_rate=0.02, max_epochs=12, patience=4, decay_steps=2
    )
    return fit(recording(), config, fit_config, seed=1)
