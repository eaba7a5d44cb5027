"""What the figures of noise keep apart, and what they call it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipeline.evaluations import noise
from pipeline.experiments.selection import ALL
from tests.pipeline.results.test_conditions import ALONE, TAUGHT

LEVEL = {
    "noise": "gaussian",
    "noise_name": "gaussian",
    "noise_hash": "g",
    "level": 0.1,
    "sem": 0.01,
    "n_seeds": 2,
}
RANDOM = {"architecture": "torchvision:resnet18", "network_width": 64, "network_hash": "r"}
PRETRAINED = RANDOM | {"setting": "weights default", "network_hash": "p"}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of networks that started at random, and from published weights: 0.4 better."""
    rows: list[dict[str, Any]] = []
    for network, better in ((RANDOM, 0.0), (PRETRAINED, 0.4)):
        for teacher, alpha in ((ALONE, 0.0), (TAUGHT, 1.0), (TAUGHT, 10.0)):
            known = {"alpha": alpha, "accuracy": 0.2 + better, "training_hash": str(alpha)}
            rows.append(teacher | network | LEVEL | known)
    frame = pd.DataFrame(rows)
    monkeypatch.setattr(noise, "NOISE", SimpleNamespace(frame=lambda selection: frame))
    monkeypatch.setattr(noise, "with_caveat", lambda title, selection: title)


def test_a_curve_of_alpha_is_of_networks_that_were_trained_alike(shown: None) -> None:
    axes = noise.alpha_figure(ALL).axes
    assert [ax.get_title() for ax in axes] == [
        "neural model, mouse V1",
        "neural model, mouse V1, weights default",
    ]
    points = [
        container.lines[0].get_xydata().tolist() for ax in axes for container in ax.containers
    ]
    assert points == [
        [[0.0, 0.2], [1.0, 0.2], [10.0, 0.2]],
        [[0.0, pytest.approx(0.6)], [1.0, pytest.approx(0.6)], [10.0, pytest.approx(0.6)]],
    ]


def test_a_panel_of_a_network_without_widths_says_none(shown: None) -> None:
    (ax,) = noise.noise_figure(ALL).axes
    assert ax.get_title() == "cifar, torchvision:resnet18"
