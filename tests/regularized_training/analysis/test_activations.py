"""Variance of a layer's activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regularized_training.analysis import activations
from regularized_training.analysis.activations import activation_variance
from regularized_training.batches import to_float
from regularized_training.networks import NetworkConfig, build_network


@pytest.mark.parametrize("batch", [7, 256])
def test_variance_is_that_of_numpy_whatever_the_batches(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "BATCH", batch)
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32)).astype(np.uint8)
    network = build_network(NetworkConfig(architecture="cornet_z", width=4), 3, 10, seed=0)
    with torch.no_grad():
        features = network.V1(network.normalise(to_float(torch.from_numpy(images))))  # type: ignore[operator]
    found = activation_variance(network, "V1", images)
    assert found == pytest.approx(features.double().numpy().var(0).mean(), rel=1e-6)
    assert network.training


def test_a_single_image_has_no_variance() -> None:
    network = build_network(NetworkConfig(architecture="cornet_z", width=4), 1, 10, seed=0)
    with pytest.raises(ValueError, match="images: 1, expected at least 2"):
        activation_variance(network, "V1", np.zeros((1, 1, 32, 32), np.uint8))
