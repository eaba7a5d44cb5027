"""Weather of Hendrycks and Dietterich 2019: snow, frost, fog and brightness.

What their arguments are says :mod:`~regularized_training.robustness.corruptions.noise`. Frost is
not that of their photographs, whose licence is not stated, but synthetic ice.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.corruptions.filters import (
    luma,
    motion_blurred,
    zoomed,
)
from regularized_training.robustness.corruptions.noise import Draws, Size
from regularized_training.robustness.corruptions.severities import Parameters

# Of the photographs' crops: mean and spread of their brightness, how much they vary within, their
# colours, pale or blue, relative to the brightness, and how power falls with spatial frequency.
ICE_BRIGHTNESS, ICE_SPREAD, ICE_CONTRAST = 0.65, 0.15, 0.085
ICE_TINTS = ((-0.06, 0.0, 0.05), (-0.24, 0.05, 0.13))
BLUE_ICE = 0.3  # fraction of crops
ICE_EXPONENT = 1.7


def draw_snow(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """Flakes, and the direction in degrees in which they fall."""
    return rng.standard_normal((n, 1, *size), np.float32), rng.uniform(-135, -45, n)


def snow(images: Tensor, p: Parameters, flakes: Tensor, degrees: Tensor) -> Tensor:
    """Whiten images, and add flakes that fall.

    ``p`` is the flakes' mean and standard deviation, by how much they are magnified, the threshold
    below which there are none, radius and standard deviation of their motion in pixels, and how
    much is left of the image's own colours.
    """
    mean, deviation, magnified, threshold, radius, sigma, left = p
    layer = zoomed(flakes * deviation + mean, magnified)
    layer = torch.where(layer < threshold, 0.0, layer).clamp(0, 1)
    layer = (layer * 255).floor() / 255
    layer = motion_blurred(layer, radius, sigma, degrees)
    pale = torch.maximum(images, luma(images) * 1.5 + 0.5)
    return left * images + (1 - left) * pale + layer + layer.flip(2, 3)


def draw_frost(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """Ice for each image, (n, 3, height, width): see :func:`ice`."""
    noise = rng.standard_normal((n, *size))
    return (ice(noise, rng.standard_normal(n), rng.random(n)),)


def frost(images: Tensor, p: Parameters, ice: Tensor) -> Tensor:
    """``p[0]`` times the image, and ``p[1]`` times ice."""
    return p[0] * images + p[1] * ice


def ice(
    noise: NDArray[np.float64], brightness: NDArray[np.float64], tint: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Synthetic ice: ridges in noise whose power falls with spatial frequency.

    Brightness, tint, contrast and spectrum are those of crops of the photographs that were used
    for CIFAR-10-C and Tiny-ImageNet-C.

    Parameters
    ----------
    noise : (n, height, width)
        White.
    brightness, tint : (n,)
        Standard normal, and uniform from 0 to 1.

    Returns
    -------
    (n, 3, height, width) float32, in [0, 1]
    """
    n, height, width = noise.shape
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(noise) * frequency ** (-ICE_EXPONENT / 2)
    smooth = np.fft.irfft2(spectrum, s=(height, width))
    ridges = -np.abs(smooth) + 0.5 * smooth  # bright along lines, as needles of ice
    ridges -= ridges.mean((1, 2), keepdims=True)
    ridges /= np.maximum(ridges.std((1, 2), keepdims=True), 1e-6)
    mean = np.clip(ICE_BRIGHTNESS + ICE_SPREAD * brightness, 0.3, 0.85)
    pale, blue = np.asarray(ICE_TINTS)
    colour = mean[:, None] + np.where(tint[:, None] < BLUE_ICE, blue, pale)
    made = colour[:, :, None, None] + ICE_CONTRAST * ridges[:, None]
    return np.clip(made, 0, 1).astype(np.float32)


def draw_fog(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """What the clouds' height is varied by, (n, side ** 2 - 1), see :func:`clouds`."""
    n_points = cloud_side(size) ** 2 - 1
    return (2 * rng.random((n, n_points), np.float32) - 1,)


def fog(images: Tensor, p: Parameters, varied: Tensor) -> Tensor:
    """Add ``p[0]`` times clouds, and scale the sum to the image's brightest pixel.

    Clouds are rougher the smaller ``p[1]`` is, by which their variation falls with each octave.
    """
    height, width = images.shape[2:]
    brightest = images.amax((1, 2, 3), keepdim=True)
    haze = clouds(varied, cloud_side((height, width)), p[1])[:, None, :height, :width]
    return (images + p[0] * haze) * (brightest / (brightest + p[0]))


def cloud_side(size: Size) -> int:
    """Side of the smallest square of a power of two that holds images of a size, at least 2."""
    return 1 << max((max(size) - 1).bit_length(), 1)


def clouds(varied: Tensor, side: int, decay: float) -> Tensor:
    """Plasma fractal by the diamond-square algorithm on a torus, scaled to between 0 and 1.

    Parameters
    ----------
    varied : (n, side ** 2 - 1) Tensor
        From -1 to 1, in the order in which points are set: squares, then diamonds, coarse to fine.
    side : int
        A power of two.
    decay : float
        Variation of points is ``decay ** -2`` times that of the points one octave coarser.

    Returns
    -------
    (n, side, side) Tensor
    """
    n, used = len(varied), 0
    made = torch.zeros(n, side, side, device=varied.device, dtype=varied.dtype)
    step, strength = side, 100.0**2

    def between(neighbours: Tensor) -> Tensor:
        nonlocal used
        count = (side // step) ** 2
        drawn = varied[:, used : used + count].view(neighbours.shape)
        used += count
        return neighbours / 4 + strength * drawn

    while step >= 2:
        half = step // 2
        corners = made[:, ::step, ::step]
        beside = corners + corners.roll(-1, 1)
        made[:, half::step, half::step] = between(beside + beside.roll(-1, 2))
        middle, corners = made[:, half::step, half::step], made[:, ::step, ::step]
        above = middle + middle.roll(1, 1) + corners + corners.roll(-1, 2)
        made[:, ::step, half::step] = between(above)
        left = middle + middle.roll(1, 2) + corners + corners.roll(-1, 1)
        made[:, half::step, ::step] = between(left)
        step, strength = half, strength / decay**2
    made -= made.amin((1, 2), keepdim=True)
    return made / made.amax((1, 2), keepdim=True)


def brightness(images: Tensor, p: Parameters) -> Tensor:
    """Add ``p[0]`` to the value of hue, saturation and value, which is at most 1."""
    value = images.amax(1, keepdim=True)
    brighter = (value + p[0]).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-6)), brighter)
