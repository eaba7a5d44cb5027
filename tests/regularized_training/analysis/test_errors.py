"""Errors within the right superclass."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from regularized_training.analysis.errors import answers_of, superclass_share
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig

SUPERCLASSES = np.repeat(np.arange(20), 5)


def test_share_is_that_counted_by_hand() -> None:
    labels = np.array([0, 1, 2, 5, 6, 99])
    answers = np.array([0, 2, 7, 9, 6, 95])  # right, within, not, within, right, within
    assert superclass_share(answers, labels, SUPERCLASSES) == (0.75, 4)


def test_guessing_stays_within_the_superclass_by_chance() -> None:
    rng = np.random.default_rng(0)
    answers, labels = rng.integers(0, 100, (2, 200_000))
    share, n = superclass_share(answers, labels, SUPERCLASSES)
    assert share == pytest.approx(4 / 99, abs=4 * math.sqrt(4 / 99 / n))


def test_without_errors_there_is_no_share() -> None:
    share, n = superclass_share([3, 4], [3, 4], SUPERCLASSES)
    assert math.isnan(share)
    assert n == 0


def test_superclasses_that_do_not_cover_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="superclass_of: of 20 classes, but there is class 20"):
        superclass_share([20], [3], np.zeros(20, int))
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        superclass_share([1, 2], [1], SUPERCLASSES)


def test_answers_are_the_networks_whatever_the_batches() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 16, 16)).astype(np.uint8)
    network = build_network(NetworkConfig(architecture="cornet_z", width=4), 1, 10, seed=0)
    with torch.no_grad():
        expected = network(torch.from_numpy(images).float() / 255).argmax(1)
    assert np.array_equal(answers_of(network, images), expected.numpy())
    assert network.training
