"""Reliability of real neurons, pinned so that the science cannot drift unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.reliability import reliability


def test_v4_session_has_4840_trials_of_640_repeated_images(v4: Recording) -> None:
    assert (v4.n_images, v4.n_trials, v4.n_neurons) == (640, 4840, 50)
    assert len(v4.images_of("test")) == 100
    assert len(v4.images_of("validation")) == 54


def test_v4_units_are_reliable(v4: Recording) -> None:
    r = reliability(v4)
    assert r.weight.mean() == pytest.approx(0.7855, abs=1e-4)
    assert r.oracle.mean() == pytest.approx(0.4710, abs=1e-4)


def test_trial_averages_have_no_reliability(data_folder: Path) -> None:
    path = data_folder / "macaque_v4" / "session_201025_mean.npz"
    recording = read_arrays(path)
    with pytest.raises(RecordingError, match="repeated"):
        reliability(recording)


@pytest.mark.parametrize(
    ("region", "weight", "oracle"), [(1, 0.6659, 0.3883), (2, 0.6007, 0.2957), (3, 0.5997, 0.3553)]
)
def test_mouse_v1_reliability(data_folder: Path, region: int, weight: float, oracle: float) -> None:
    path = data_folder / "mouse_v1_repeats" / f"region{region}.npz"
    with pytest.raises(RecordingError, match="test_images"):
        read_arrays(path)  # all images are repeated: nothing would be left to train on
    r = reliability(read_arrays(path, test_images=10))
    assert np.isfinite(r.weight).all()
    assert r.weight.mean() == pytest.approx(weight, abs=1e-4)
    assert r.oracle.mean() == pytest.approx(oracle, abs=1e-4)
