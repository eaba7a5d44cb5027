"""Blurs of Hendrycks and Dietterich 2019: defocus, frosted glass, motion, zoom, and Gaussian.

What their arguments are says :mod:`~regularized_training.robustness.corruptions.noise`.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array, kron
from torch import Tensor

from regularized_training.robustness.blurring import blurred
from regularized_training.robustness.corruptions.filters import (
    correlated,
    motion_blurred,
    zoom_matrix,
)
from regularized_training.robustness.corruptions.noise import Draws, Size
from regularized_training.robustness.corruptions.severities import Parameters

SMALL = 8  # radius of a disk up to which it is drawn on a grid of 17 x 17


def gaussian_blur(images: Tensor, p: Parameters) -> Tensor:
    """Blur by a Gaussian of standard deviation ``p[0]`` pixels."""
    return blurred(images, p[0], "nearest")


def defocus_blur(images: Tensor, p: Parameters) -> Tensor:
    """Blur by a disk of ``p[0]`` pixels' radius, its edge smoothed by a Gaussian of ``p[1]``."""
    return correlated(images, torch.from_numpy(_disk(*p)))


@lru_cache(maxsize=16)
def _disk(radius: float, smoothing: float) -> NDArray[np.float64]:
    """Weights (odd size, the same size) of sum 1, cut to what is not 0."""
    reach = SMALL if radius <= SMALL else int(np.ceil(radius))
    x = np.arange(-reach, reach + 1)
    disk = (x[:, None] ** 2 + x**2 <= radius**2).astype(float)
    disk /= disk.sum()
    margin = 1 if radius <= SMALL else 2
    around = np.arange(-margin, margin + 1)
    weight = np.exp(-0.5 * (around / smoothing) ** 2)
    weight /= weight.sum()
    padded = np.pad(disk, margin, mode="reflect")
    for axis in (0, 1):
        shifted = [np.roll(padded, -k, axis) * w for k, w in zip(around, weight, strict=True)]
        padded = np.sum(shifted, axis=0)
    disk = padded[margin:-margin, margin:-margin]
    used = int(np.abs(x[disk.any(0)]).max())
    return disk[reach - used : reach + used + 1, reach - used : reach + used + 1]


def draw_motion_blur(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """A direction for each image, in degrees."""
    return (rng.uniform(-45, 45, n),)


def motion_blur(images: Tensor, p: Parameters, degrees: Tensor) -> Tensor:
    """Blur in one direction, with radius ``p[0]`` and standard deviation ``p[1]`` pixels."""
    return motion_blurred(images, p[0], p[1], degrees)


def zoom_blur(images: Tensor, p: Parameters) -> Tensor:
    """Mean of an image and of its magnifications by 1, 1 + ``p[1]``, and so on below ``p[0]``."""
    n, channels, height, width = images.shape
    pixels = images.reshape(n * channels, -1).T
    mixed = _zooms((height, width), p[0], p[1]).to(images.device) @ pixels
    return mixed.T.reshape(images.shape)


@lru_cache(maxsize=8)
def _zooms(size: Size, end: float, step: float) -> Tensor:
    """Each pixel as a mean of others, (height * width, height * width), nearly all 0."""
    factors = np.arange(1, end, step)
    total = eye_array(size[0] * size[1], format="csr")
    for factor in factors:
        down, across = (csr_array(zoom_matrix(one, float(factor))) for one in size)
        total = total + kron(down, across, format="csr")
    total = total / (len(factors) + 1)
    rows, columns = torch.from_numpy(total.indptr), torch.from_numpy(total.indices)
    values = torch.from_numpy(total.data.astype(np.float32))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")  # still "beta"
        return torch.sparse_csr_tensor(
            rows, columns, values, size=total.shape, check_invariants=False
        )


def draw_glass_blur(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """For each pass and pixel whence it takes its value, (n, passes, 2, height, width)."""
    reach, passes = int(p[1]), int(p[2])
    return (rng.integers(-reach, reach, (n, passes, 2, *size), np.int8),)


def glass_blur(images: Tensor, p: Parameters, offsets: Tensor) -> Tensor:
    """Blur, let pixels take the values of others nearby, and blur again.

    ``p`` is the blur's standard deviation in pixels, how far pixels reach, and how many times. As
    in the published images, pixels take values in turn, from the last to the first, and may take
    one that was taken before; values are not exchanged.
    """
    sigma, reach, passes = p[0], int(p[1]), int(p[2])
    smooth = (blurred(images, sigma, "nearest") * 255 + 1e-3).floor()
    n, channels, height, width = images.shape
    for number in range(passes):
        source = _sources(offsets[:, number].long(), reach)
        place = source.view(n, 1, -1).expand(-1, channels, -1)
        smooth = smooth.flatten(2).gather(2, place).view(images.shape)
    return blurred(smooth / 255, sigma, "nearest")


def _sources(offsets: Tensor, reach: int) -> Tensor:
    """Which pixel's value each has in the end, (n, height * width), from (n, 2, height, width)."""
    n, _, height, width = offsets.shape
    device = offsets.device
    y, x = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    # Neither the first nor the last rows and columns take part.
    moves = ((y > reach) & (y <= height - reach) & (x > reach) & (x <= width - reach)).flatten()
    own = (y * width + x).flatten().expand(n, -1)
    across, down = offsets[:, 0].flatten(1), offsets[:, 1].flatten(1)
    source = torch.where(moves, own + down * width + across, own)
    # A value that was already taken over is that of its own source, and so on.
    taken = moves[source] & (source > own)
    follow = torch.where(taken, source, own)
    while True:
        further = follow.gather(1, follow)
        if torch.equal(further, follow):
            return source.gather(1, follow)
        follow = further
