"""Eidolons: images whose scales are each in disarray."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regularized_training.robustness.draws import blocks
from regularized_training.robustness.manipulations.filters import blur, blur_matrix

GRAIN = 10.0  # pixels of an image PUBLISHED_HEIGHT high
PUBLISHED_HEIGHT = 256  # pixels, of the images for which reach and grain are given

_KEY = 2  # tells these random numbers from those of other manipulations


def eidolon(
    images: Tensor, index: NDArray[np.int64], reach: float, coherence: float, seed: int
) -> Tensor:
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
    index : (n,) int64
        Numbers of the images, which decide their noise with the seed.
    reach : float
        0 leaves the images as they are.
    coherence : float
        Between 0 and 1. 1 displaces the image as a whole.
    seed : int

    Returns
    -------
    (n, 1, height, width) Tensor

    Examples
    --------
    >>> images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    >>> eidolon(images, np.arange(2), 0.0, 0.3, seed=0).allclose(images)
    True
    """
    height = images.shape[2]
    pixels = reach * height / PUBLISHED_HEIGHT
    # The shared field is number 1, those of the bands follow: a key must not end in 0.
    shared = unit_field(index, images, (seed, _KEY, 1)) if coherence else None
    if shared is not None and coherence == 1:
        return displaced(images, pixels * shared)  # the sum of all bands, displaced alike

    made, finer = torch.zeros_like(images), images
    blurs = [*scales(height), None]
    for number, sigma in enumerate(blurs, start=2):
        coarser = torch.zeros_like(images) if sigma is None else blur(images, sigma, "mirror")
        field = unit_field(index, images, (seed, _KEY, number))
        if shared is not None:
            field = (1 - coherence) * field + coherence * shared
        made += displaced(finer - coarser, pixels * field)
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


def unit_field(index: NDArray[np.int64], images: Tensor, seed_key: tuple[int, ...]) -> Tensor:
    """Displacements down and to the right: Gaussian noise, blurred with the grain.

    Parameters
    ----------
    index : (n,) int64
        Numbers of the images.
    images : (n, 1, height, width) float64 Tensor
        Which say of what size the field is, and on what device.
    seed_key : tuple of int

    Returns
    -------
    (n, 2, height, width) float64 Tensor
        Each of standard deviation 1, at the edges too.
    """
    height, width = images.shape[2:]

    def draw(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        return rng.standard_normal((n, 2, height, width), np.float32)

    noise = torch.from_numpy(blocks(index, seed_key, draw)).to(images)
    grain = GRAIN * height / PUBLISHED_HEIGHT
    rows, columns = (
        _unit_rows(blur_matrix(size, grain, "nothing")).to(images) for size in (height, width)
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
