"""Spread and dimension of similarity in real V4, pinned so that the science cannot drift unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.recording import Recording
from regularized_training.teachers.populations import (
    NoCommonImagesError,
    Population,
    on_common_images,
    population,
    split_units,
)
from regularized_training.teachers.similarity import similarity
from regularized_training.teachers.stability import repeat_spread, stability
from regularized_training.teachers.structure import spectrum


@pytest.fixture(scope="module")
def units(v4: Recording) -> Population:
    return population(v4)


def test_similarity_in_v4_varies_less_with_the_units_than_with_the_trial(units: Population) -> None:
    """Halves of 25 units, which is few: the paper's scans have thousands of neurons."""
    found = stability(split_units(units, 2, seed=0), same_trials=True)
    assert found.scan is not None and found.repeat is not None
    assert found.scan.sd == pytest.approx(0.1534, abs=5e-4)
    assert found.repeat_sd_as_it_stands == pytest.approx(0.2139, abs=5e-4)
    assert found.repeat.sd == pytest.approx(0.2302, abs=5e-4)
    assert found.ratio == pytest.approx(0.666, abs=3e-3)
    assert found.trial_sd == pytest.approx(0.0740, abs=5e-4)
    assert found.neuron_sd == pytest.approx(0.1343, abs=5e-4)


def test_the_spread_over_selections_of_units_grows_as_they_get_smaller(units: Population) -> None:
    def neuron_sd(n: int) -> float:
        each = [stability(split_units(units, n, seed=k), same_trials=True) for k in range(5)]
        return float(np.mean([found.neuron_sd for found in each]))

    # A quarter of the units instead of a half; the square root of 2 if units were independent.
    assert neuron_sd(4) / neuron_sd(2) == pytest.approx(np.sqrt(2), rel=0.15)


def test_all_units_together_vary_less_over_repeats_than_half_of_them(units: Population) -> None:
    found = repeat_spread([units])
    assert found is not None
    assert found.sd == pytest.approx(0.1748, abs=5e-4)
    assert stability([units]).repeat_sd_as_it_stands == pytest.approx(0.1617, abs=5e-4)
    assert found.n == 2525


def test_trials_have_more_dimensions_than_their_mean(units: Population) -> None:
    oracle = spectrum(units.oracle())
    trial = spectrum(similarity(units.trials[:, 0], units.weight))
    assert oracle.participation_ratio == pytest.approx(9.31, abs=0.02)
    assert trial.participation_ratio == pytest.approx(15.28, abs=0.02)
    assert oracle.eigenvalues[:2] == pytest.approx([0.209, 0.167], abs=5e-3)


def test_v4_and_mouse_v1_saw_different_images(units: Population, data_folder: Path) -> None:
    mouse = population(
        read_arrays(data_folder / "mouse_v1_repeats" / "region1.npz", test_images=10)
    )
    with pytest.raises(NoCommonImagesError, match="0 repeated test images are common"):
        on_common_images([units, mouse])
