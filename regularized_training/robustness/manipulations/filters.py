"""Low-pass and high-pass filters: Gaussians, as matrices over rows and over columns."""

from __future__ import annotations

import math

from torch import Tensor

from regularized_training.robustness.blurring import blurred

MEAN = 0.4423  # of the published images: what lies beyond their edges, and where they are centred


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
    >>> import torch
    >>> low_pass(torch.full((1, 1, 5, 4), MEAN).double(), 2.0).sub(MEAN).abs().max().item() < 1e-7
    True
    """
    if sigma == 0:
        return images
    return MEAN + blurred(images - MEAN, sigma, "constant")


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
