"""Less contrast, and noise on what is left of it."""

from __future__ import annotations

from torch import Tensor

NOISE_CONTRAST = 0.3  # of images under uniform noise, so that less of it is clipped


def with_contrast(images: Tensor, contrast: float) -> Tensor:
    """Contrast of Geirhos et al. 2018: (1 - c) / 2 + c x.

    Examples
    --------
    >>> import torch
    >>> with_contrast(torch.tensor([0.0, 1.0]), 0.5).tolist()
    [0.25, 0.75]
    """
    return (1 - contrast) / 2 + contrast * images


def with_uniform_noise(images: Tensor, noise: Tensor, width: float) -> Tensor:
    """Uniform noise between -width and width on images of contrast 0.3, not clipped.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    noise : (n, 1, height, width) Tensor
        Between -1 and 1.
    width : float
    """
    return with_contrast(images, NOISE_CONTRAST) + width * noise.to(images)
