"""One simulated scan, and encoders fitted to it: made once, compared with the truth by many tests.

The scan is about as noisy as recordings of mouse visual cortex: similarity in single trials
correlates with that of an average over trials by about 0.4, as in Li et al. 2019 (0.39). 60 neurons
fire 0.8 spikes per trial, 30 % of them whatever the image; the eye moves receptive fields by 2.5
pixels, a tenth of the image; running and pupil size change rates by 30 and 20 % per standard
deviation. The images of the test tier are repeated six times each.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    ModulatorConfig,
    ShifterConfig,
)
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli

SEED = 1
SHAPE = (36, 64)

# Pixels of the image to a unit of the readout's grid, horizontal and vertical. Of an image averaged
# over squares of 2, an unpadded kernel of 7 leaves a map from pixel 6.5 to 56.5 and 6.5 to 28.5.
PIXELS_PER_UNIT = np.array([25.0, 11.0])


@cache
def cortex() -> SimulatedCortex:
    """The ground truth."""
    config = SimulatedCortexConfig(
        n_neurons=60,
        image_shape=SHAPE,
        centre_range=0.5,
        width=(10, 16),
        mean_rate=0.8,
        baseline_fraction=0.3,
        gaze_amplitude=2.5,
        running_gain=0.3,
        pupil_size_gain=0.2,
        autocorrelation=0.5,
    )
    return SimulatedCortex(config, seed=SEED)


@cache
def recording() -> Recording:
    """What is seen of it."""
    images = natural_stimuli(2200, SHAPE, seed=100 + SEED)
    return cortex().record(images, n_repeated=100, n_repeats=6, seed=SEED, name="simulated")


@cache
def fitted(shifter: bool = True, modulator: bool = True) -> FittedEncoder:
    """An encoder of it, with or without a shifter and a modulator."""
    config = EncoderConfig(
        core=CoreConfig(hidden_channels=8, layers=2),
        shifter=ShifterConfig() if shifter else None,
        modulator=ModulatorConfig() if modulator else None,
        downsample=2,
    )
    fit_config = FitConfig(
        batch_size=64, learning_rate=0.02, max_epochs=16, patience=4, decay_steps=2
    )
    return fit(recording(), config, fit_config, seed=SEED)
