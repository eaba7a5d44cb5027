"""Any manipulation of Geirhos et al. 2018 by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.manipulations.colour import false_colour, grey
from regularized_training.robustness.manipulations.config import (
    COHERENCE,
    IN_COLOUR,
    Manipulation,
    require_levels,
)
from regularized_training.robustness.manipulations.contrast_and_noise import (
    with_contrast,
    with_uniform_noise,
)
from regularized_training.robustness.manipulations.eidolon import eidolon
from regularized_training.robustness.manipulations.eidolon import unit_noise as eidolon_noise
from regularized_training.robustness.manipulations.filters import high_pass, low_pass
from regularized_training.robustness.manipulations.fourier import (
    unit_phases,
    with_amplitude,
    with_phase_noise,
)
from regularized_training.robustness.manipulations.pixels import (
    from_bytes,
    in_parts,
    require_images,
    to_bytes,
)
from regularized_training.robustness.manipulations.rotation import rotated
from regularized_training.robustness.noise import add_noise, unit_noise


def manipulate(
    images: NDArray[Any] | Tensor,
    name: Manipulation,
    level: float,
    *,
    index: NDArray[np.int64],
    seed: int,
    mean_amplitude: Tensor | None = None,
) -> Tensor:
    """Images manipulated as in Geirhos et al. 2018.

    An image's random numbers come from the seed and its number alone, so that it comes out the
    same in any batch and any order, and those of one level are those of another, scaled.

    Parameters
    ----------
    images : (n, channels, height, width) uint8, or float in [0, 1]
        Of one channel or three, and of any size.
    name : str
        Of the manipulation. All but ``grey``, ``false_colour`` and ``rotation`` make images grey
        first; those of three channels have it in all three then.
    level : float
        See :func:`~regularized_training.robustness.manipulations.config.require_levels`.
    index : (n,) int64
        Numbers of the images.
    seed : int
    mean_amplitude : (height, width // 2 + 1) Tensor, optional
        For ``power_equalisation``, of the set that the images belong to: from
        :func:`~regularized_training.robustness.manipulations.fourier.mean_amplitude`.

    Returns
    -------
    (n, channels, height, width) uint8 Tensor
        The nearest grey levels; what lies beyond black and white is clipped.

    Raises
    ------
    ValueError
        If the images, their numbers, the name or the level are not such as described, grey images
        are to have false colours, or the mean amplitude is missing.

    Examples
    --------
    >>> images = np.zeros((2, 3, 4, 4), np.uint8)
    >>> manipulate(images, "contrast", 0.5, index=np.arange(2), seed=0).unique().tolist()
    [64]
    """
    require_levels((level,), name)
    given = require_images(images)
    numbers = _checked(index, len(given))
    channels, height, width = given.shape[1:]
    if name == "false_colour" and channels != 3:
        raise ValueError(
            f"false_colour: images of {channels} channel, expected 3; grey has no opponent colour"
        )
    if not len(given):
        return torch.zeros_like(given, dtype=torch.uint8)

    def make(part: Tensor, noise: Tensor) -> Tensor:
        x = from_bytes(part)
        x = x if name in IN_COLOUR else grey(x)
        made = _manipulated(x, name, level, noise.to(x.device), mean_amplitude)
        return to_bytes(made).expand(-1, channels, -1, -1)

    return in_parts(make, given, _noise(name, numbers, height, width, seed)).contiguous()


def _noise(
    name: Manipulation, index: NDArray[np.int64], height: int, width: int, seed: int
) -> Tensor:
    """What is random about a manipulation: (n, ...), (n, 0) if nothing is."""
    match name:
        case "uniform_noise":
            return unit_noise(index, (1, height, width), seed, "uniform")
        case "salt_and_pepper":
            return unit_noise(index, (1, height, width), seed, "salt_and_pepper")
        case "phase_noise":
            return unit_phases(index, height, width, seed)
        case "eidolon_1" | "eidolon_2" | "eidolon_3":
            return eidolon_noise(index, height, width, COHERENCE[name], seed)
        case _:
            return torch.zeros(len(index), 0)


def _manipulated(
    x: Tensor, name: Manipulation, level: float, noise: Tensor, amplitude: Tensor | None
) -> Tensor:
    match name:
        case "grey":
            return grey(x) if level else x
        case "false_colour":
            return false_colour(x) if level else x
        case "contrast":
            return with_contrast(x, level)
        case "uniform_noise":
            return with_uniform_noise(x, noise, level)
        case "salt_and_pepper":
            return add_noise(x, noise, level, "salt_and_pepper")
        case "low_pass":
            return low_pass(x, level)
        case "high_pass":
            return high_pass(x, level)
        case "phase_noise":
            return with_phase_noise(x, noise, level)
        case "power_equalisation":
            return with_amplitude(x, _required(amplitude)) if level else x
        case "rotation":
            return rotated(x, level)
        case _:
            return eidolon(x, noise, level, COHERENCE[name])


def _required(amplitude: Tensor | None) -> Tensor:
    if amplitude is None:
        raise ValueError(
            "mean_amplitude: none, expected that of the set the images belong to; compute it by "
            "manipulations.fourier.mean_amplitude"
        )
    return amplitude


def _checked(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    given = np.asarray(index)
    if given.shape != (n,) or given.dtype.kind not in "iu" or (n and given.min() < 0):
        raise ValueError(
            f"index: shape {given.shape}, type {given.dtype}, expected the numbers of {n} images, "
            "integers from 0"
        )
    return given.astype(np.int64)
