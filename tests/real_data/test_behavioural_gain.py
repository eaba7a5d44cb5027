"""A real mouse: running and pupil explain what a movie leaves open, and at no other time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictive_model.inspection.behavioural_gain import (
    drift_basis,
    held_out_rates,
    score_trials,
    shifted,
)

FILE = "allen_np_movie_behaviour/session_791319847.npz"


def test_running_and_pupil_predict_single_trials_of_visual_cortex_beside_a_drift(data_folder: Path):
    """Siegle et al. 2021, 316 units, 20 repeats of 30 seconds in two blocks."""
    with np.load(data_folder / FILE) as arrays:
        counts = arrays["counts"][np.char.startswith(arrays["region"], "VIS")].astype(float)
        size = np.sqrt(arrays["pupil_width"] * arrays["pupil_height"])
        behaviour = np.stack([arrays["speed"], size], axis=2)
    drift = drift_basis(*counts.shape[1:], blocks=(0, 10))
    correlations = [
        score_trials(counts, held_out_rates(counts, drift=drift, behaviour=b)).correlation
        for b in (None, behaviour, shifted(behaviour, 300))
    ]
    without, full, control = correlations
    assert without.mean() == pytest.approx(0.514, abs=2e-3)
    assert full.mean() == pytest.approx(0.605, abs=2e-3)
    assert (full > without).mean() == pytest.approx(0.794, abs=0.02)
    assert control.mean() < without.mean()
