"""What every evaluation does first: choose images, and put the network into evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.labelled_task import balanced_indices

NOISE_SEED = 0  # of what networks draw themselves while they are evaluated


def chosen_images(
    images: NDArray[np.uint8], labels: NDArray[np.int64], n: int | None, seed: int
) -> NDArray[np.int64]:
    """Sorted indices of the images to evaluate on: `n` evenly over the classes, or all.

    Parameters
    ----------
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    n : int or None
    seed : int
        Chooses the images.

    Raises
    ------
    ValueError
        If images and labels do not fit together, or are fewer than `n`.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(labels):
        raise ValueError(
            f"images: shape {images.shape}, type {images.dtype}, with {len(labels)} labels; "
            "expected (n, channels, height, width) uint8 and n labels"
        )
    n = len(images) if n is None else n
    if not 1 <= n <= len(images):
        raise ValueError(f"n_images: {n}, expected 1 to {len(images)}, the number of images")
    return balanced_indices(labels, n, seed)


def in_batches(chosen: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Indices of images, so many at a time."""
    return np.split(chosen, range(size, len(chosen), size))


def logits_of(
    network: nn.Module, batches: Iterable[Tensor], device: str | torch.device = "cpu"
) -> Tensor:
    """What a network, which is :func:`evaluating`, says of images, (n, class).

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1].
    batches : iterable of (batch, channels, height, width) uint8 Tensor
    device : str or torch.device
    """
    return torch.cat([network(to_float(batch.to(device))) for batch in batches])


@contextmanager
def evaluating(network: nn.Module, device: str | torch.device) -> Iterator[None]:
    """The network on a device and in evaluation mode; afterwards each part as it came in.

    Noise of its own is the same in each evaluation, unless that has a seed of its own.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.to(device).eval()
    try:
        with seeded(NOISE_SEED, device):
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training
