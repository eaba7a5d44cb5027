"""Ceilings of real neurons, pinned so that the science cannot drift unseen."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.ceilings import cc_max, ceilings, signal_power
from predictive_model.scoring.reliability import signal_and_noise
from predictive_model.scoring.score_summary import summarise
from predictive_model.scoring.scores import FEV_THRESHOLD, score_predictions

# Means over neurons, all images. Split halves are random: other seeds differ by less than .005.
PINNED = {
    "macaque_v4/session_210325_trials": {
        "w^2": 0.6573,
        "oracle": 0.4710,
        "conservative_oracle": 0.6297,
        "single_trial": 0.5479,
        "fev": 0.3139,
        "cc_max": 0.8600,
        "split_half": 0.8602,
    },
    "mouse_v1_repeats/region1": {
        "w^2": 0.5073,
        "oracle": 0.3883,
        "conservative_oracle": 0.5470,
        "single_trial": 0.4593,
        "fev": 0.2407,
        "cc_max": 0.8084,
        "split_half": 0.8211,
    },
    "mouse_v1_repeats/region2": {
        "w^2": 0.4047,
        "oracle": 0.2957,
        "conservative_oracle": 0.5183,
        "single_trial": 0.3829,
        "fev": 0.1821,
        "cc_max": 0.6891,
        "split_half": 0.7056,
    },
    "mouse_v1_repeats/region3": {
        "w^2": 0.4102,
        "oracle": 0.3553,
        "conservative_oracle": 0.5062,
        "single_trial": 0.4196,
        "fev": 0.2091,
        "cc_max": 0.7833,
        "split_half": 0.7959,
    },
}
# Neurons with a FEVE, and neurons without a CC_norm.
COUNTS = {
    "macaque_v4/session_210325_trials": (46, 0),
    "mouse_v1_repeats/region1": (68, 1),
    "mouse_v1_repeats/region2": (28, 3),
    "mouse_v1_repeats/region3": (61, 2),
}


@pytest.mark.parametrize("file", PINNED)
def test_ceilings_of_real_neurons(data_folder: Path, file: str) -> None:
    with np.load(data_folder / f"{file}.npz") as arrays:
        trials = arrays["trials"]
    signal, noise = signal_and_noise(trials)
    found = ceilings(trials)
    means = {name: getattr(found, name).mean() for name in PINNED[file] if name != "w^2"}
    means["w^2"] = ((signal / noise) ** 2).mean()
    split_half = means.pop("split_half")
    assert means == pytest.approx({k: PINNED[file][k] for k in means}, abs=1e-4)
    assert split_half == pytest.approx(PINNED[file]["split_half"], abs=5e-3)
    enough = int((found.fev >= FEV_THRESHOLD).sum())
    assert (enough, int((signal_power(trials) <= 0).sum())) == COUNTS[file]


@pytest.mark.parametrize("file", PINNED)
def test_two_estimates_of_one_ceiling_agree_on_real_neurons(data_folder: Path, file: str) -> None:
    """CC_max from variances, and split halves by Spearman-Brown."""
    with np.load(data_folder / f"{file}.npz") as arrays:
        found = ceilings(arrays["trials"])
    assert np.corrcoef(found.cc_max, found.split_half)[0, 1] > 0.99
    assert found.split_half.mean() == pytest.approx(found.cc_max.mean(), abs=0.02)
    assert found.oracle.mean() < found.single_trial.mean() < found.conservative_oracle.mean()


def test_v4_means_of_other_images_score_as_the_oracle_says(v4: Recording) -> None:
    """Responses predicted by the mean over all other repeats: the oracle, and so a slope of 1."""
    rows = v4.trials_of("test")
    index, responses = v4.image_index[rows], v4.responses[rows].astype(np.float64)
    _, place, n = np.unique(index, return_inverse=True, return_counts=True)
    total = np.zeros((len(n), v4.n_neurons))
    np.add.at(total, place, responses)
    others = (total[place] - responses) / (n[place] - 1)[:, None]
    found = summarise(score_predictions(v4, "test", others), n_resamples=20)
    assert found["fraction_oracle_slope"].value == pytest.approx(1)
    assert found["fraction_oracle_ratio"].value == pytest.approx(1)
    assert found["single_trial"].value == pytest.approx(0.4513, abs=1e-4)
    assert found["single_trial"].ceiling == pytest.approx(0.5311, abs=1e-4)


@pytest.mark.parametrize("session", ["201025", "190923"])
def test_of_trial_averages_single_trials_are_the_recorded_means(
    data_folder: Path, session: str
) -> None:
    """They hold no repeats, so there is a correlation with the means and nothing else."""
    recording = read_arrays(data_folder / "macaque_v4" / f"session_{session}_mean.npz")
    rows = recording.trials_of("validation")
    assert len(rows) == len(recording.images_of("validation")) == 120
    means = recording.responses[rows]
    scores = score_predictions(recording, "validation", means.mean(1, keepdims=True) + 0 * means)
    expected = [np.corrcoef(means.mean(1), column)[0, 1] for column in means.T]
    np.testing.assert_allclose(scores.single_trial, expected, rtol=1e-5)
    assert set(summarise(scores)) == {"single_trial"}
    assert scores.ceilings is None


SCRIPT = Path(__file__).parents[2] / "experiments" / "ceilings_of_halves.py"


def test_ceilings_from_some_repeats_of_real_neurons_hold_for_the_others(data_folder: Path) -> None:
    """Macaque V1, 66 units, 40 repeats: see docs/results/ceilings.md.

    The mean over other repeats correlates as their noise and our ceilings say. Units without any
    signal are the exception: ceilings are cut off at 0, correlations are not.
    """
    script = runpy.run_path(str(SCRIPT), run_name="imported")
    counts = script["read_counts"](data_folder / "macaque_v1_henaff" / "ay4_u006.npz")
    blocks = script["agreement_of_repeats"](counts)
    assert np.abs(blocks[0, 1:]).max() < 0.02  # the first ten agree with each other only
    assert blocks[0, 0] == pytest.approx(0.123, abs=1e-3)
    assert blocks[1:, 1:].min() == pytest.approx(0.093, abs=1e-3)
    units = script["repeats_of_units"](counts)
    found = script["table_of"](units, 0.5, 2, in_order=False)
    assert found.mean(0) == pytest.approx([0.615, 0.608, 0.308, 0.306], abs=6e-3)
    reliable = np.argsort([cc_max(unit)[0] for unit in units])[len(units) // 6 :]
    difference = found[reliable, 1::2] - found[reliable, ::2]
    np.testing.assert_allclose(difference.mean(0), 0, atol=0.005)
