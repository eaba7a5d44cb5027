"""Accuracy under Gaussian noise: Fig. 4 of Li et al. 2019."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor, nn

from predictive_model.config import Config
from regularized_training.tasks import balanced_indices


class NoiseConfig(Config):
    """How much noise, and on which images.

    Attributes
    ----------
    levels : tuple of float
        Standard deviations of the noise, for images in [0, 1]. The paper does not give its own.
    clamp : bool
        Bring noisy pixels back to [0, 1], as in an image that could be shown.
    seed : int
        Decides the noise, and which images are chosen.
    n_images : int, optional
        Use so many images, evenly over the classes; all by default.
    batch_size : int
        Changes the speed alone.
    """

    levels: tuple[float, ...] = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
    clamp: bool = True
    seed: int = Field(default=0, ge=0)
    n_images: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not levels or not all(np.isfinite(level) and level >= 0 for level in levels):
            raise ValueError(f"levels: {levels}, expected at least one, all finite and at least 0")
        if len(set(levels)) != len(levels):
            raise ValueError(f"levels: {levels}, expected every level once")
        return levels


@dataclass(frozen=True)
class NoiseScores:
    """Accuracy at each level of noise.

    Attributes
    ----------
    levels : tuple of float
        Standard deviation of the noise.
    accuracy : tuple of float
        Fraction of images classified correctly.
    n : int
        Number of images.
    """

    levels: tuple[float, ...]
    accuracy: tuple[float, ...]
    n: int


def accuracy_under_noise(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: NoiseConfig,
    device: str | torch.device = "cpu",
) -> NoiseScores:
    """Accuracy of a network on images with Gaussian noise added.

    An image has the same noise for every network, scaled by the level: it is drawn from the seed
    and the image's number alone. Differences between networks and levels are thus paired.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; moved to `device`, evaluated in evaluation mode and left in the
        mode it came in.
    images : (n, channels, height, width) uint8
    labels : (n,) int64
    config : NoiseConfig
    device : str or torch.device

    Returns
    -------
    NoiseScores

    Raises
    ------
    ValueError
        If images and labels do not fit together, or are fewer than asked for.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(labels):
        raise ValueError(
            f"images: shape {images.shape}, type {images.dtype}, with {len(labels)} labels; "
            "expected (n, channels, height, width) uint8 and n labels"
        )
    n = len(images) if config.n_images is None else config.n_images
    if not 1 <= n <= len(images):
        raise ValueError(f"n_images: {n}, expected 1 to {len(images)}, the number of images")
    chosen = balanced_indices(labels, n, config.seed)
    correct = torch.zeros(len(config.levels), dtype=torch.int64, device=device)
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.inference_mode():
            for start in range(0, n, config.batch_size):
                index = chosen[start : start + config.batch_size]
                noise = unit_noise(index, images.shape[1:], config.seed).to(device)
                clean = torch.from_numpy(images[index]).to(device, torch.float32).div_(255)
                answers = torch.from_numpy(labels[index]).to(device)
                for i, level in enumerate(config.levels):
                    noisy = torch.add(clean, noise, alpha=level)
                    if config.clamp:
                        noisy.clamp_(0, 1)
                    noisy = noisy.contiguous(memory_format=torch.channels_last)
                    correct[i] += (network(noisy).argmax(1) == answers).sum()
    finally:
        network.train(was_training)
    return NoiseScores(config.levels, tuple((correct.cpu().double() / n).tolist()), n)


def unit_noise(index: NDArray[np.int64], shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal noise of standard deviation 1 for the images with these numbers.

    Parameters
    ----------
    index : (batch,) int64
    shape : tuple of int
        Of one image: (channels, height, width).
    seed : int

    Returns
    -------
    (batch, channels, height, width) float32 Tensor
    """
    noise = np.empty((len(index), *shape), np.float32)
    for row, number in zip(noise, index, strict=True):
        np.random.default_rng((seed, int(number))).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(noise)
