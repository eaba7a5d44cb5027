"""How diverse the activations of a layer are."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import nn

from regularized_training.batches import to_float
from regularized_training.networks import LayerReader
from regularized_training.regularizers import flatten_features
from regularized_training.robustness.images import evaluating

BATCH = 256


def activation_variance(
    network: nn.Module, layer: str, images: NDArray, device: str | torch.device = "cpu"
) -> float:
    """Variance of each unit over images, mean over the units of a layer (Federer et al. 2020).

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    layer : str
        As :class:`~regularized_training.networks.LayerReader` names it.
    images : (n, channels, height, width) uint8
        At least 2. The variance is that of the images given, not an estimate for others.
    device : str or torch.device
    """
    if len(images) < 2:
        raise ValueError(f"images: {len(images)}, expected at least 2")
    with evaluating(network, device), torch.inference_mode():
        read = LayerReader(network, (layer,))
        n, mean, squares = 0, torch.zeros(()), torch.zeros(())
        # Chan et al. 1979: batch by batch, and without the cancellation of E[x^2] - E[x]^2.
        for part in torch.from_numpy(images).split(BATCH):
            features = flatten_features(read(to_float(part.to(device)))[0]).double()
            k, own = len(features), features.mean(0)
            difference = own - mean
            squares = squares + (features - own).square().sum(0)
            squares = squares + difference.square() * (n * k / (n + k))
            mean = mean + difference * (k / (n + k))
            n += k
    return float((squares / n).mean())
