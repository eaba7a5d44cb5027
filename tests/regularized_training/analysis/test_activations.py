"""Variance of a layer's activations, and their place in a plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import silhouette_score

from regularized_training.analysis import activations
from regularized_training.analysis.activations import (
    ActivationConfig,
    activation_variance,
    embed_activations,
)
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.batches import to_float


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


def test_images_that_a_layer_sees_alike_lie_together() -> None:
    """Two kinds of images, bright and dark, and noise."""
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 2
    images = rng.integers(0, 80, (60, 1, 16, 16)) + 170 * kind[:, None, None, None]
    network = build_network(NetworkConfig(architecture="cornet_z", width=4), 1, 10, seed=0)
    config = ActivationConfig(layer="V1", n_shown=60, perplexity=10)
    found = embed_activations(network, images.astype(np.uint8), config)
    assert found.shape == (60, 2)
    assert silhouette_score(found, kind) > 0.5
    again = embed_activations(network, images.astype(np.uint8), config)
    assert np.array_equal(found, again)
    with pytest.raises(ValueError, match="images: 30, expected more than 30, three for each"):
        embed_activations(network, images[:30].astype(np.uint8), config)


def test_too_few_images_for_the_perplexity_are_refused() -> None:
    with pytest.raises(ValidationError, match="n_shown: 60, expected more than 90"):
        ActivationConfig(n_shown=60)
    assert ActivationConfig(n_shown=0).n_shown == 0
