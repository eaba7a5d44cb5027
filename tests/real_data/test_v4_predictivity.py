"""A small network of random weights judged by V4: a check of the way from file to score."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.recording import Recording
from regularized_training.alignment.scan_config import ScanPredictivityConfig
from regularized_training.alignment.scan_predictivity import ScanScore, score_by_scan
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig

LAYERS = ("stage1", "stage2", "stage3", "stage4")


def judged(scan: Recording) -> ScanScore:
    config = ScanPredictivityConfig(scan=scan.name, n_components=10)
    network = build_network(NetworkConfig(width=4), 1, 10, seed=0)
    return score_by_scan(network, LAYERS, scan, config, (1, 32, 32))


def test_trials_have_a_score_and_a_ceiling(v4: Recording) -> None:
    found = judged(v4)
    score = found.best.score
    assert (found.n_images, found.n_neurons) == (320, 50)
    assert score.score == pytest.approx(0.197, abs=0.03)
    assert score.reliability == pytest.approx(0.762, abs=0.005)
    assert score.ratio == pytest.approx(0.226, abs=0.035)
    assert found.interval[0] < score.score < found.interval[1] < 0.3


def test_averages_have_a_score_and_no_ceiling(data_folder: Path) -> None:
    path = data_folder / "macaque_v4" / "session_201025_mean.npz"
    found = judged(read_arrays(path, test_images=200))
    assert (found.n_images, found.n_neurons) == (600, 89)
    assert found.best.score.score == pytest.approx(0.164, abs=0.03)
    assert found.best.score.ratio is None and found.best.score.missing.startswith("no repeats")
