"""A recording and an encoder so small that a fit takes a fraction of a second."""

from __future__ import annotations

import numpy as np
import pytest

from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    ModulatorConfig,
    ReadoutConfig,
    ShifterConfig,
)
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording


def small_recording(seed: int = 0, **changes: object) -> Recording:
    """Six neurons, each driven by one patch of 120 images and, some, by behaviour."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (120, 1, 10, 12)).astype(np.uint8)
    index = rng.permutation(np.r_[np.arange(120), np.tile(np.arange(20), 3)])
    behaviour = rng.gamma(2.0, 1.0, (len(index), 2))
    drive = np.stack([images[:, 0, a + 2, 2 * a : 2 * a + 2].mean(1) for a in range(6)], axis=1)
    rates = drive[index] / 50 * np.exp(0.2 * behaviour[:, :1])
    arrays = {
        "name": "small.scan",
        "images": images,
        "image_index": index,
        "responses": rng.poisson(rates).astype(np.float32),
        "behaviour": behaviour,
        "pupil": 50 + 5 * rng.standard_normal((len(index), 2)),
    }
    return Recording(**(arrays | changes))


@pytest.fixture(scope="session")
def scan() -> Recording:
    return small_recording()


@pytest.fixture(scope="session")
def small() -> EncoderConfig:
    """Core and readout only."""
    return EncoderConfig(
        core=CoreConfig(layers=2, hidden_channels=4, input_kernel=5),
        readout=ReadoutConfig(init_sigma=0.2),
    )


@pytest.fixture(scope="session")
def whole(small: EncoderConfig) -> EncoderConfig:
    """With shifter and modulator."""
    return small.model_copy(update={"shifter": ShifterConfig(), "modulator": ModulatorConfig()})


@pytest.fixture(scope="session")
def quick() -> FitConfig:
    return FitConfig(batch_size=32, learning_rate=0.02, max_epochs=6, patience=2)


@pytest.fixture(scope="session")
def fitted_small(scan, small, quick):
    return fit(scan, small, quick, seed=1)


@pytest.fixture(scope="session")
def fitted_whole(scan, whole, quick):
    return fit(scan, whole, quick, seed=1)
