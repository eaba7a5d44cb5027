"""Noise of Hendrycks and Dietterich 2019: Gaussian, shot, impulse and speckle.

Here, as in the files beside this one, a corruption is ``corruption(images, p, *draws)``: images
(n, 3, height, width) float32 in [0, 1], the parameters of a severity, and what was drawn for each
image by the function ``draw_...`` beside it; what it gives may lie outside [0, 1].
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import poisson
from torch import Tensor

from regularized_training.robustness.corruptions.severities import Parameters

Size = tuple[int, int]
Draws = tuple[NDArray, ...]

PROBABILITIES = 2**16  # that the number of photons is drawn by


def draw_gaussian_noise(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """A number for each pixel and channel."""
    return (rng.standard_normal((n, 3, *size), np.float32),)


def gaussian_noise(images: Tensor, p: Parameters, normal: Tensor) -> Tensor:
    """Add noise of standard deviation ``p[0]``."""
    return torch.add(images, normal, alpha=p[0])


def speckle_noise(images: Tensor, p: Parameters, normal: Tensor) -> Tensor:
    """Add noise whose standard deviation is ``p[0]`` times the pixel."""
    return torch.addcmul(images, images, normal, value=p[0])


def draw_shot_noise(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """A probability for each pixel and channel, in 65,536ths."""
    return (rng.integers(0, PROBABILITIES, (n, 3, *size), np.uint16),)


def shot_noise(images: Tensor, p: Parameters, probability: Tensor) -> Tensor:
    """Count photons, of which a white pixel has ``p[0]`` on average: Poisson(p x) / p.

    As pixels have 256 levels, the number is looked up: the smallest whose cumulative probability
    exceeds what was drawn. What is rarer than 1 in 65,536 does not come about.
    """
    place = (images * 255).round().int() * PROBABILITIES + probability.int()
    photons = torch.from_numpy(_photons(p[0])).to(images.device)
    return photons.index_select(0, place.flatten()).view(images.shape).float() / p[0]


@lru_cache(maxsize=1)  # it has 33 MB
def _photons(rate: float) -> NDArray[np.int16]:
    """Number of photons by pixel level and probability, (256 * 65,536,)."""
    means = rate * np.arange(256) / 255
    most = int(poisson.ppf(1 - 1 / PROBABILITIES, means[-1])) + 2
    cumulative = poisson.cdf(np.arange(most), means[:, None])
    first = np.ceil(cumulative * PROBABILITIES).astype(np.int64).clip(max=PROBABILITIES)
    first[:, -1] = PROBABILITIES
    counts = np.diff(first, axis=1, prepend=0)
    numbers = np.broadcast_to(np.arange(most, dtype=np.int16), counts.shape)
    return np.repeat(numbers.ravel(), counts.ravel())


def draw_impulse_noise(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """A number in [0, 1) for each pixel and channel."""
    return (rng.random((n, 3, *size), np.float32),)


def impulse_noise(images: Tensor, p: Parameters, uniform: Tensor) -> Tensor:
    """Make a fraction ``p[0]`` of all values 0 or 1, half of them each."""
    made = torch.where(uniform < p[0], 0.0, images)
    return torch.where(uniform < p[0] / 2, 1.0, made)
