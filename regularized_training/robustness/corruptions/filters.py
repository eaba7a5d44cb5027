"""What several corruptions are made of: kernels, motion and zooms.

Each image is computed as if it were alone, so that its pixels do not depend on the batch.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regularized_training.robustness.blurring import along_both

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R 601


def luma(images: Tensor) -> Tensor:
    """Grey (n, 1, height, width) of colour (n, 3, height, width)."""
    red, green, blue = images.split(1, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def correlated(images: Tensor, kernel: Tensor) -> Tensor:
    """Correlate each channel with a kernel of odd size, mirrored at the outermost pixels."""
    n, channels, height, width = images.shape
    # As channels of one image, each by itself, which is many times quicker than as images.
    planes = mirrored(images.reshape(1, n * channels, height, width), len(kernel) // 2)
    kernels = kernel.to(images).expand(n * channels, 1, -1, -1)
    return F.conv2d(planes, kernels, groups=n * channels).view(images.shape)


def mirrored(images: Tensor, margin: int) -> Tensor:
    """Images with a margin of what is mirrored at their outermost pixels, however far it goes."""
    rows, columns = (_mirror(size, margin, images.device) for size in images.shape[2:])
    return images.index_select(2, rows).index_select(3, columns)


def _mirror(size: int, margin: int, device: torch.device) -> Tensor:
    period = max(2 * (size - 1), 1)
    index = torch.arange(-margin, size + margin, device=device) % period
    return torch.minimum(index, period - index).clamp(max=size - 1)


def motion_blurred(images: Tensor, radius: float, sigma: float, degrees: Tensor) -> Tensor:
    """Blur each image in a direction of its own, as ImageMagick's motion blur.

    A pixel is the mean of those that lie ahead of it, weighed by half a Gaussian of standard
    deviation `sigma`; `2 * radius + 1` of them. Beyond the edge the outermost pixels are repeated.

    Parameters
    ----------
    images : (n, channels, height, width) Tensor
        In [0, 1]; what comes back is rounded to one of 256 levels, as of a picture that is stored.
    degrees : (n,) float64 Tensor
        Clockwise from the horizontal.
    """
    n, channels, height, width = images.shape
    steps = torch.arange(2 * math.ceil(radius) + 1, dtype=torch.float64)
    falling = torch.exp(-(steps**2) / (2 * sigma**2))
    weights = (falling / falling.sum()).tolist()
    angle = torch.deg2rad(degrees.double())[:, None]
    right = torch.ceil(steps * angle.cos() - 0.5).long()
    down = torch.ceil(steps * angle.sin() - 0.5).long()
    margin = len(steps) - 1
    padded = F.pad(images, (margin,) * 4, mode="replicate").flatten()
    row, area = width + 2 * margin, (width + 2 * margin) * (height + 2 * margin)
    # Whole rows are copied, each from where it starts, which is quicker than pixel by pixel.
    rows = padded.as_strided((len(padded) - width + 1, width), (1, 1))
    first = torch.arange(height) * row + margin * (row + 1)
    first = (torch.arange(n * channels).view(n, channels, 1) * area + first).to(images.device)
    offset = (down * row + right).to(images.device)
    made = torch.zeros(n * channels * height, width, device=images.device, dtype=images.dtype)
    for weight, ahead in zip(weights, offset.T, strict=True):
        place = (first + ahead[:, None, None]).flatten()
        made.add_(rows.index_select(0, place), alpha=weight)
    return made.mul_(255).round_().div_(255).view(images.shape)


def zoomed(images: Tensor, factor: float) -> Tensor:
    """The middle of images, so much larger that it fills their size; bilinear."""
    down, across = (torch.from_numpy(zoom_matrix(size, factor)) for size in images.shape[2:])
    return along_both(images, down.to(images), across.to(images))


@lru_cache(maxsize=128)
def zoom_matrix(size: int, factor: float) -> NDArray[np.float64]:
    """A row of pixels from those in its middle, (size, size); the outermost of them stay so."""
    shown = math.ceil(size / factor)
    larger = round(shown * factor)
    place = np.arange(size) + (larger - size) // 2
    source = place * ((shown - 1) / max(larger - 1, 1)) + (size - shown) // 2
    first = np.floor(source).astype(np.int64)
    share = source - first
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size), first), 1 - share)
    np.add.at(matrix, (np.arange(size), np.minimum(first + 1, size - 1)), share)
    return matrix
