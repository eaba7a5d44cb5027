"""What the references make of real neurons, pinned: an encoder has to do better than this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.baselines import (
    FittedBaseline,
    GaborRidgeConfig,
    fit_gabor_ridge,
    fit_linear_nonlinear,
)
from predictive_model.scoring.correlation import correlation

# What the whole search chooses for each of these sessions.
CHOSEN = GaborRidgeConfig(
    banks=(GaborConfig(exponent=0.25),), grids=((1, 2, 4, 8),), pixels=(8,), penalties=(1.0, 3.0)
)


def score(fitted: FittedBaseline, scan: Recording) -> float:
    """Mean over units of the correlation with the average response to held-out images."""
    images = scan.images_of("test")
    average = np.nanmean(scan.repeated_trials(images), axis=1)
    return float(correlation(fitted.predict(scan.images[images]), average).mean())


@pytest.fixture(scope="session")
def averages(data_folder: Path) -> Recording:
    """A session of which only trial averages are published, 200 of them held out."""
    path = data_folder / "macaque_v4" / "session_190923_mean.npz"
    return read_arrays(path, test_images=200, species="macaque", area="V4")


def test_images_of_trial_averages_can_be_held_out(averages: Recording) -> None:
    tiers = {tier: len(averages.images_of(tier)) for tier in ("train", "validation", "test")}
    assert tiers == {"train": 900, "validation": 100, "test": 200}


def test_v4_units_are_hardly_linear(v4: Recording, averages: Recording) -> None:
    assert score(fit_linear_nonlinear(v4), v4) == pytest.approx(0.256, abs=0.01)
    assert score(fit_linear_nonlinear(averages), averages) == pytest.approx(0.234, abs=0.01)


def test_gabor_energies_and_pixels_predict_them_twice_as_well(
    v4: Recording, averages: Recording
) -> None:
    assert score(fit_gabor_ridge(v4, CHOSEN), v4) == pytest.approx(0.520, abs=0.01)
    assert score(fit_gabor_ridge(averages, CHOSEN), averages) == pytest.approx(0.473, abs=0.01)
