"""Low-pass and high-pass filters: Gaussians, as matrices over rows and over columns."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

MEAN = 0.4423  # of the published images: what lies beyond their edges, and where they are centred
TRUNCATE = 4  # standard deviations, where a Gaussian ends

Edge = Literal["nothing", "mirror"]


def low_pass(images: Tensor, sigma: float) -> Tensor:
    """Low-pass filter of Geirhos et al. 2018: a Gaussian that sees 0.4423 beyond the edges.

    The same as SciPy's ``gaussian_filter(image, sigma, mode="constant", cval=0.4423)``. The
    published images are 224 pixels high; to blur as much of an object in others, scale sigma with
    their height.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    sigma : float
        Standard deviation in pixels; 0 leaves the images as they are.

    Examples
    --------
    >>> low_pass(torch.full((1, 1, 5, 4), MEAN).double(), 2.0).sub(MEAN).abs().max().item() < 1e-7
    True
    """
    if sigma == 0:
        return images
    return MEAN + blur(images - MEAN, sigma, "nothing")


def high_pass(images: Tensor, sigma: float) -> Tensor:
    """High-pass filter of Geirhos et al. 2018: less the low-pass image, then of mean 0.4423.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    sigma : float
        Of the low-pass filter; infinity leaves the images as they are.

    Returns
    -------
    (n, 1, height, width) Tensor, not clipped
    """
    if math.isinf(sigma):
        return images
    rest = images - low_pass(images, sigma)
    return rest - rest.mean((2, 3), keepdim=True) + MEAN


def blur(images: Tensor, sigma: float, edge: Edge) -> Tensor:
    """Images filtered with a Gaussian of so many pixels, (n, channels, height, width) float64."""
    height, width = images.shape[2:]
    rows, columns = (blur_matrix(size, sigma, edge).to(images.device) for size in (height, width))
    return rows @ images @ columns.T


def blur_matrix(size: int, sigma: float, edge: Edge) -> Tensor:
    """What a Gaussian does to `size` pixels in a row.

    Parameters
    ----------
    size : int
    sigma : float
        Standard deviation in pixels.
    edge : str
        Beyond the edge there is nothing, 0, or the mirror image with the outermost pixel twice.

    Returns
    -------
    (size, size) float64 Tensor
        Each row makes one pixel.

    Examples
    --------
    >>> blur_matrix(5, 1.0, "mirror").sum(1).allclose(torch.ones(5).double())
    True
    """
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2) if radius else torch.ones_like(offsets)
    weights = (weights / weights.sum()).expand(size, -1)
    pixels = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)
    if edge == "mirror":
        pixels = pixels.remainder(2 * size)
        pixels = torch.minimum(pixels, 2 * size - 1 - pixels)
    else:
        weights = weights * ((pixels >= 0) & (pixels < size))
        pixels = pixels.clamp(0, size - 1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, pixels, weights)
