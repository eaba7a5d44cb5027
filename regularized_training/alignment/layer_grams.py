"""Gram matrices of several layers of a network, in one pass over the images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regularized_training.alignment.gram import (
    FEATURE_BYTES,
    Gram,
    GramPlan,
    grams_of_batches,
    plan_grams,
)
from regularized_training.lessons.similarity import flatten_features
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.tasks.chosen_images import evaluating


def plan_of_layers(
    network: nn.Module,
    layers: tuple[str, ...],
    image: Tensor,
    n_images: int,
    *,
    device: str | torch.device = "cpu",
    feature_bytes: int = FEATURE_BYTES,
) -> GramPlan:
    """What :func:`gram_of_layers` will hold, from one image (1, channels, height, width)."""
    with evaluating(network, device), torch.inference_mode():
        features = LayerReader(network, layers)(image.to(device))
    sizes = {layer: f[0].numel() for layer, f in zip(layers, features, strict=True)}
    return plan_grams(sizes, n_images, feature_bytes)


def gram_of_layers(
    network: nn.Module,
    layers: tuple[str, ...],
    batches: Iterable[Tensor],
    n_images: int,
    *,
    device: str | torch.device = "cpu",
    feature_bytes: int = FEATURE_BYTES,
    folder: Path | None = None,
) -> dict[str, Gram]:
    """Gram matrices of layers, in evaluation mode; every image passes the network once.

    Batches bring all features of some images, but a product of two images needs both. So features
    are kept, in single precision, until all images have passed: in memory as far as
    ``feature_bytes`` reach, else in a temporary file, from which they are multiplied block by
    block. Passing images again for every pair of batches, or every share of the features, would
    take many times as long.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in.
    layers : tuple of str
    batches : iterable of (batch, channels, height, width) Tensor
        Images as the network takes them.
    n_images : int
        In all batches together.
    device : str or torch.device
        That the network runs on; products are made on the processor, in double precision.
    feature_bytes, folder
        See :class:`~regularized_training.alignment.gram.StoredFeatures`.

    Returns
    -------
    dict of str to Gram

    Raises
    ------
    LayerError
        If there is no such layer.
    ValueError
        If images differ in size or number from what was said, or a feature is not finite.
    """
    with evaluating(network, device), torch.inference_mode():
        reader = LayerReader(network, layers)

        def read(batch: Tensor) -> dict[str, NDArray[np.float32]]:
            features = reader(batch.to(device))
            rows = (flatten_features(f).cpu().numpy() for f in features)
            return dict(zip(layers, rows, strict=True))

        return grams_of_batches(
            map(read, batches), n_images, feature_bytes=feature_bytes, folder=folder
        )
