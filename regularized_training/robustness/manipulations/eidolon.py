"""Eidolons: images whose scales are each in disarray."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regularized_training.robustness.blurring import blur_matrix, blurred
from regularized_training.robustness.draws import in_blocks

GRAIN = 10.0  # pixels of an image PUBLISHED_HEIGHT high
PUBLISHED_HEIGHT = 256  # pixels, of the images for which reach and grain are given

_KEY = 2  # tells these random numbers from those of other manipulations


def eidolon(images: Tensor, noise: Tensor, reach: float, coherence: float) -> Tensor:
    """Eidolon of Koenderink et al. 2017, with partial coherence.

    An image is the sum of its bands, differences between it and copies of it that are more and
    more blurred (:func:`scales`), and of the most blurred copy. Each of these is displaced by a
    field of blurred Gaussian noise, and they are summed again. The fields are
    (1 - coherence) times one that each band has for itself plus coherence times one that all
    share.

    Reach and grain are given for images 256 pixels high, as Geirhos et al. 2018 made them, and
    scale with the height.

    Where the papers say nothing: reach is the standard deviation of either coordinate of a
    displacement in pixels, the same for every band; it is that of the noise they were drawn from
    and not of each field. Mixing two fields makes it smaller, as nothing is scaled up again.
    Beyond its edges an image is its mirror image. Between pixels it is interpolated linearly.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    noise : (n, fields, 2, height, width) Tensor
        From :func:`unit_noise`, for the same coherence.
    reach : float
        0 leaves the images as they are.
    coherence : float
        Between 0 and 1. 1 displaces the image as a whole.

    Returns
    -------
    (n, 1, height, width) Tensor

    Examples
    --------
    >>> images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    >>> noise = unit_noise(np.arange(2), 8, 8, coherence=0.3, seed=0)
    >>> eidolon(images, noise, 0.0, 0.3).allclose(images)
    True
    """
    pixels = reach * images.shape[2] / PUBLISHED_HEIGHT

    def field(number: int) -> Tensor:
        return pixels * unit_fields(noise[:, number].to(images))

    shared = field(0) if coherence else torch.zeros_like(noise[:, 0])
    if coherence == 1:
        return displaced(images, shared)  # the sum of all bands, displaced alike
    made, finer = torch.zeros_like(images), images
    first = 1 if coherence else 0
    for number, sigma in enumerate([*scales(images.shape[2]), None], first):
        coarser = torch.zeros_like(images) if sigma is None else blurred(images, sigma, "reflect")
        shift = (1 - coherence) * field(number) + coherence * shared
        made += displaced(finer - coarser, shift)
        finer = coarser
    return made


def scales(height: int) -> tuple[float, ...]:
    """Standard deviations of the blurred copies: sqrt(2)^k / sqrt(2), k = 0, 1, ...

    There are ceil(2 log2(height / 4)), as in Geirhos et al. 2018, and at least one.

    Examples
    --------
    >>> [round(sigma, 2) for sigma in scales(32)]
    [0.71, 1.0, 1.41, 2.0, 2.83, 4.0]
    """
    number = max(1, math.ceil(2 * math.log2(height / 4)))
    return tuple(2 ** ((k - 1) / 2) for k in range(number))


def unit_noise(
    index: NDArray[np.int64], height: int, width: int, coherence: float, seed: int
) -> Tensor:
    """White noise for the displacements of the images with these numbers.

    The noise of a field is the same for every coherence for which there is such a field.

    Parameters
    ----------
    index : (n,) int64
    height, width : int
    coherence : float
    seed : int

    Returns
    -------
    (n, fields, 2, height, width) float32 Tensor
        Normal, for displacements down and to the right. Unless coherence is 0, the first field is
        the one that all bands share; unless it is 1, there is one for each band, the finest
        first.
    """

    def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float32]]:
        return (rng.standard_normal((n, 2, height, width), np.float32),)

    # The shared field is number 1, and those of the bands follow: a key must not end in 0.
    numbers = [1] if coherence > 0 else []
    if coherence < 1:
        numbers += range(2, len(scales(height)) + 3)
    noise = np.empty((len(index), len(numbers), 2, height, width), np.float32)
    for place, number in enumerate(numbers):
        (noise[:, place],) = in_blocks(index, (seed, _KEY, number), draw)
    return torch.from_numpy(noise)


def unit_fields(noise: Tensor) -> Tensor:
    """Noise blurred with the grain: each of standard deviation 1, at the edges too.

    Parameters
    ----------
    noise : (..., height, width) float64 Tensor
        White, of standard deviation 1.
    """
    height, width = noise.shape[-2:]
    grain = GRAIN * height / PUBLISHED_HEIGHT
    rows, columns = (
        _unit_rows(torch.from_numpy(blur_matrix(size, grain, "constant"))).to(noise)
        for size in (height, width)
    )
    return rows @ noise @ columns.T


def _unit_rows(matrix: Tensor) -> Tensor:
    """Rows of norm 1, which make noise of variance 1 of independent noise of variance 1."""
    return matrix / matrix.norm(dim=1, keepdim=True)


def displaced(images: Tensor, shift: Tensor) -> Tensor:
    """Each pixel taken from as many pixels further down and to the right as its shift says.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    shift : (n, 2, height, width) float64 Tensor
        In pixels.
    """
    height, width = images.shape[2:]
    row = torch.arange(height, dtype=images.dtype, device=images.device)[:, None] + shift[:, 0]
    column = torch.arange(width, dtype=images.dtype, device=images.device) + shift[:, 1]
    # The outer edges of the outermost pixels are at -1 and 1.
    places = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], -1)
    return F.grid_sample(images, places, "bilinear", "reflection", align_corners=False)
