"""Noise on the phases of an image, and the same amplitudes for all images.

Spectra are halves, as those of real images are: all vertical frequencies, and horizontal ones from
0 up to the highest.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.draws import in_blocks
from regularized_training.robustness.manipulations.colour import grey
from regularized_training.robustness.manipulations.pixels import (
    from_bytes,
    in_parts,
    require_images,
)

_KEY = (1, 1)  # tells these random numbers from those of other manipulations
_ABSENT = 1e-10  # amplitude for each pixel below which there is only rounding, and no phase


def unit_phases(index: NDArray[np.int64], height: int, width: int, seed: int) -> Tensor:
    """Noise of width 1 for the phases of the images with these numbers.

    Opposite frequencies have opposite noise, as they must for the image to stay real. A frequency
    that is its own opposite, such as 0, has none.

    Parameters
    ----------
    index : (n,) int64
    height, width : int
    seed : int

    Returns
    -------
    (n, height, width // 2 + 1) float64 Tensor
        Uniform between -1 and 1.
    """

    def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float32]]:
        return (2 * rng.random((n, height, width // 2 + 1), np.float32) - 1,)

    (drawn,) = in_blocks(index, (seed, *_KEY), draw)
    noise = torch.from_numpy(drawn).double()
    # In these columns a frequency and its opposite are both present.
    both = [0] if width % 2 else [0, width // 2]
    row = torch.arange(height)
    opposite = -row % height
    sign = torch.sign(opposite - row).double()[:, None]
    noise[:, :, both] = sign * noise[:, torch.minimum(row, opposite)][:, :, both]
    return noise


def with_phase_noise(images: Tensor, unit: Tensor, degrees: float) -> Tensor:
    """Phase noise of Geirhos et al. 2018: phases changed by up to so many degrees.

    Their program leaves alone the highest frequencies of images of an even size, and takes no
    others; here all frequencies of any size have noise.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    unit : (n, height, width // 2 + 1) float64 Tensor
        From :func:`unit_phases`.
    degrees : float

    Returns
    -------
    (n, 1, height, width) Tensor, of the same amplitudes, not clipped
    """
    angle = math.radians(degrees) * unit[:, None]
    turn = torch.polar(torch.ones_like(angle), angle)
    return torch.fft.irfft2(torch.fft.rfft2(images) * turn, s=images.shape[2:])


def mean_amplitude(images: NDArray | Tensor) -> Tensor:
    """Mean amplitude spectrum of a set of images, made grey.

    Parameters
    ----------
    images : (n, channels, height, width) uint8, or float in [0, 1]

    Returns
    -------
    (height, width // 2 + 1) float64 Tensor

    Raises
    ------
    ValueError
        If there are no images.

    Examples
    --------
    >>> mean_amplitude(np.full((2, 1, 2, 2), 255, np.uint8)).tolist()
    [[4.0, 0.0], [0.0, 0.0]]
    """
    given = require_images(images)
    if not len(given):
        raise ValueError("images: none, expected those whose amplitudes are to be averaged")

    def total(part: Tensor) -> Tensor:
        return torch.fft.rfft2(grey(from_bytes(part))).abs().sum(0)  # (1, rows, columns)

    return in_parts(total, given).sum(0) / len(given)


def with_amplitude(images: Tensor, amplitude: Tensor) -> Tensor:
    """Power equalisation of Geirhos et al. 2018: own phases, and amplitudes of a whole set.

    Parameters
    ----------
    images : (n, 1, height, width) float64 Tensor
    amplitude : (height, width // 2 + 1) float64 Tensor
        From :func:`mean_amplitude`.

    Returns
    -------
    (n, 1, height, width) Tensor, not clipped
        A frequency that an image does not have has no phase, and gets phase 0.
    """
    height, width = images.shape[2:]
    if amplitude.shape != (height, width // 2 + 1):
        raise ValueError(
            f"mean_amplitude: shape {tuple(amplitude.shape)}, expected "
            f"{(height, width // 2 + 1)} for images of {height} x {width} pixels"
        )
    spectrum = torch.fft.rfft2(images)
    present = spectrum.abs() > _ABSENT * height * width
    spectrum = torch.where(present, spectrum, torch.ones_like(spectrum))
    made = spectrum / spectrum.abs() * amplitude.to(images)
    return torch.fft.irfft2(made, s=(height, width))
