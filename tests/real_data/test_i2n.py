"""I2n of three published networks, from the probabilities that Brain-Score's tests come with.

The answers of people that belong to them are not public. Nor does the file say what its 240 images
show, but ten show each object: here, those that the networks together find likeliest.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from regularized_training.behaviour.i2n import (
    behavioural_correlation,
    hit_rates_of_probabilities,
    i1,
    i2n,
)

NETWORKS = ("alexnet", "resnet18", "resnet34")
# Correlations of I2n and I1 between two of them.
PINNED = {
    ("alexnet", "resnet18"): (0.36711, 0.57959),
    ("alexnet", "resnet34"): (0.37704, 0.58456),
    ("resnet18", "resnet34"): (0.77722, 0.89203),
}


def test_networks_of_one_family_find_the_same_images_hard(data_folder: Path) -> None:
    with np.load(data_folder / "brainscore_pins/objectome240_model_probabilities.npz") as file:
        probabilities = {name: file[name].astype(np.float64) for name in NETWORKS}
    together = np.sum([np.log(p) for p in probabilities.values()], axis=0)
    rows, places = linear_sum_assignment(-np.repeat(together, 10, axis=1))
    target = places[rows.argsort()] // 10
    right = [np.mean(p.argmax(1) == target) for p in probabilities.values()]
    assert right == pytest.approx([0.6, 0.7125, 0.6958], abs=1e-4)
    rates = {name: hit_rates_of_probabilities(p, target) for name, p in probabilities.items()}
    for pair in combinations(NETWORKS, 2):
        found = [
            behavioural_correlation(*(pattern(rates[name], target) for name in pair))
            for pattern in (i2n, i1)
        ]
        assert found == pytest.approx(PINNED[pair], abs=1e-5)
