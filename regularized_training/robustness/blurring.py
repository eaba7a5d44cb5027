"""Gaussian blur of images by matrices, one for each axis, as SciPy's ``gaussian_filter``.

Each image is computed as if it were alone, so that its pixels do not depend on the batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What lies beyond the edge: nothing, the outermost pixel, or the mirror image with the outermost
# pixel twice. SciPy's names.
Edge = Literal["constant", "nearest", "reflect"]


def blurred(images: Tensor, sigma: float, edge: Edge, truncate: float = 4) -> Tensor:
    """Images filtered with a Gaussian, of the same shape, type and device.

    Parameters
    ----------
    images : (n, channels, height, width) Tensor
    sigma : float
        Standard deviation in pixels.
    edge : str
    truncate : float
        Standard deviations after which the Gaussian ends.

    Examples
    --------
    >>> blurred(torch.full((1, 1, 5, 4), 0.5), 2.0, "nearest").sub(0.5).abs().max().item() < 1e-6
    True
    """
    down, across = (
        torch.from_numpy(blur_matrix(size, sigma, edge, truncate)) for size in images.shape[2:]
    )
    return along_both(images, down.to(images), across.to(images))


@lru_cache(maxsize=64)
def blur_matrix(size: int, sigma: float, edge: Edge, truncate: float = 4) -> NDArray[np.float64]:
    """What a Gaussian does to `size` pixels in a row, (size, size): each row makes one pixel."""
    radius = int(truncate * sigma + 0.5)
    offset = np.arange(-radius, radius + 1)
    weight = np.exp(-0.5 * (offset / sigma) ** 2) if radius else np.ones(1)
    source = np.arange(size)[:, None] + offset
    weights = np.broadcast_to(weight / weight.sum(), source.shape)
    if edge == "constant":
        weights = weights * ((source >= 0) & (source < size))
    if edge == "reflect":
        source = source % (2 * size)
        source = np.minimum(source, 2 * size - 1 - source)
    else:
        source = source.clip(0, size - 1)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), weights)
    return matrix


def along_both(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """``down @ image @ across.T`` of every channel of every image.

    Parameters
    ----------
    images : (n, channels, height, width) Tensor
    down : (new height, height) Tensor
    across : (new width, width) Tensor
    """
    return along_columns(along_rows(images, across), down)


def along_rows(images: Tensor, across: Tensor) -> Tensor:
    """``image @ across.T`` of every channel of every image."""
    n, channels, height, width = images.shape
    planes = images.reshape(n * channels, height, width)
    made = torch.bmm(planes, across.T.expand(len(planes), -1, -1))
    return made.view(n, channels, height, -1)


def along_columns(images: Tensor, down: Tensor) -> Tensor:
    """``down @ image`` of every channel of every image."""
    n, channels, height, width = images.shape
    planes = images.reshape(n * channels, height, width)
    made = torch.bmm(down.expand(len(planes), -1, -1), planes)
    return made.view(n, channels, -1, width)
