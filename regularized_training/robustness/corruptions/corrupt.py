"""Images with corruptions of Hendrycks and Dietterich 2019."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.corruptions import blur, digital, noise, spatter, weather
from regularized_training.robustness.corruptions.config import ALL, SEVERITIES, Corruption
from regularized_training.robustness.corruptions.filters import luma
from regularized_training.robustness.corruptions.noise import Draws, Size
from regularized_training.robustness.corruptions.severities import Parameters, parameters
from regularized_training.robustness.draws import Draw, in_blocks

PART_BYTES = 2**22  # of float images that are corrupted at a time; they stay in a core's cache
ROUNDING = 1e-3  # of a grey level: what is one but for rounding errors is not cut to the one below


@dataclass(frozen=True)
class _Kind:
    """How a corruption is made, and what it draws, if anything."""

    corrupt: Callable[..., Tensor]
    draw: Callable[[np.random.Generator, int, Size, Parameters], Draws] | None = None


_KINDS: dict[Corruption, _Kind] = {
    "gaussian_noise": _Kind(noise.gaussian_noise, noise.draw_gaussian_noise),
    "shot_noise": _Kind(noise.shot_noise, noise.draw_shot_noise),
    "impulse_noise": _Kind(noise.impulse_noise, noise.draw_impulse_noise),
    "speckle_noise": _Kind(noise.speckle_noise, noise.draw_gaussian_noise),
    "defocus_blur": _Kind(blur.defocus_blur),
    "glass_blur": _Kind(blur.glass_blur, blur.draw_glass_blur),
    "motion_blur": _Kind(blur.motion_blur, blur.draw_motion_blur),
    "zoom_blur": _Kind(blur.zoom_blur),
    "gaussian_blur": _Kind(blur.gaussian_blur),
    "snow": _Kind(weather.snow, weather.draw_snow),
    "frost": _Kind(weather.frost, weather.draw_frost),
    "fog": _Kind(weather.fog, weather.draw_fog),
    "brightness": _Kind(weather.brightness),
    "spatter": _Kind(spatter.spatter, spatter.draw_spatter),
    "contrast": _Kind(digital.contrast),
    "elastic_transform": _Kind(digital.elastic_transform, digital.draw_elastic_transform),
    "pixelate": _Kind(digital.pixelate),
    "jpeg_compression": _Kind(digital.jpeg_compression),
    "saturate": _Kind(digital.saturate),
}


def corrupt(
    images: NDArray[np.uint8] | Tensor,
    corruption: Corruption,
    severity: int,
    index: NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Images with a corruption: the same picture of an image whatever comes with it in a batch.

    Grey images are corrupted as colour ones whose channels are alike, and turned grey again, as
    if colour photographs had been.

    Parameters
    ----------
    images : (n, 1 or 3, height, width) uint8
    corruption : str
    severity : int
        1 to 5.
    index : (n,) int64, optional
        Numbers of the images, which decide what is drawn for them; 0, 1, ... by default.
    seed : int
    device : str or torch.device
        Where it is computed. What is drawn is the same on all.

    Returns
    -------
    (n, 1 or 3, height, width) uint8 Tensor, on the device

    Raises
    ------
    ValueError
        If there is no such corruption or severity, or images have another shape or type.

    Examples
    --------
    >>> grey = np.full((2, 1, 32, 32), 128, np.uint8)
    >>> corrupt(grey, "brightness", 5)[0, 0, 0, 0].item()  # .3 of 255 brighter
    204
    """
    images = torch.as_tensor(images)
    _check(images, corruption, severity)
    index = np.arange(len(images)) if index is None else np.asarray(index)
    if index.shape != (len(images),):
        raise ValueError(f"index: shape {index.shape}, expected ({len(images)},), one per image")
    key = (seed, ALL.index(corruption), severity)

    def drawn(draw: Draw) -> Draws:
        return in_blocks(index, key, draw)

    return _corrupted(images, corruption, severity, drawn, device)


def corrupt_at_random(
    images: Tensor, corruption: Corruption, severity: int, rng: np.random.Generator
) -> Tensor:
    """The same with draws that are new every time, for images to learn from.

    Parameters
    ----------
    images : (n, 1 or 3, height, width) uint8 Tensor
    corruption : str
    severity : int
    rng : numpy Generator

    Returns
    -------
    (n, 1 or 3, height, width) uint8 Tensor, on the device of the images
    """
    _check(images, corruption, severity)
    n = len(images)
    return _corrupted(images, corruption, severity, lambda draw: draw(rng, n), images.device)


def _corrupted(
    images: Tensor,
    corruption: Corruption,
    severity: int,
    drawn: Callable[[Draw], Draws],
    device: str | torch.device,
) -> Tensor:
    height, width = images.shape[2:]
    kind, p = _KINDS[corruption], parameters(corruption, severity, min(height, width))
    draws: Draws = ()
    if kind.draw is not None:
        draw = kind.draw
        draws = drawn(lambda rng, n: draw(rng, n, (height, width), p))
    parts = [torch.empty((0, *images.shape[1:]), dtype=torch.uint8, device=device)]
    size = max(1, PART_BYTES // (12 * height * width))
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        clean = images[rows].to(device).float().div(255).expand(-1, 3, -1, -1)
        chosen = [torch.from_numpy(part[rows]).to(device) for part in draws]
        made = kind.corrupt(clean, p, *chosen).clamp(0, 1)
        if images.shape[1] == 1:
            parts.append(luma(as_pixels(made).float()).add_(0.5).floor_().to(torch.uint8))
        else:
            parts.append(as_pixels(made))
    return torch.cat(parts)


def as_pixels(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8; what is between two levels is the lower, as in those published."""
    return (images * 255 + ROUNDING).floor_().clamp_(0, 255).to(torch.uint8)


def _check(images: Tensor, corruption: str, severity: int) -> None:
    if corruption not in _KINDS:
        raise ValueError(f"corruption: {corruption!r}, expected one of {', '.join(_KINDS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity: {severity}, expected 1 to {len(SEVERITIES)}")
    if images.dtype != torch.uint8:
        raise ValueError(
            f"images: type {images.dtype}, expected uint8, 0 for black and 255 for white; multiply "
            "images in [0, 1] by 255 and round them"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(
            f"images: shape {tuple(images.shape)}, expected (n, 1 or 3, height, width), not empty"
        )
