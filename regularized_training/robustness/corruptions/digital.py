"""Digital corruptions of Hendrycks and Dietterich 2019: contrast, pixels, JPEG, and so on.

What their arguments are says :mod:`~regularized_training.robustness.corruptions.noise`.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from regularized_training.robustness.blurring import along_columns, along_rows, blurred
from regularized_training.robustness.corruptions.noise import Draws, Size
from regularized_training.robustness.corruptions.severities import Parameters

ROUNDING = 1e-4  # of a grey level: what is half-way between two but for rounding errors


def contrast(images: Tensor, p: Parameters) -> Tensor:
    """Move all pixels towards their channel's mean, of which ``p[0]`` of the distance is left."""
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * p[0] + mean


def saturate(images: Tensor, p: Parameters) -> Tensor:
    """Multiply the saturation of hue, saturation and value by ``p[0]``, and add ``p[1]``.

    Where there is no hue, a pixel is made redder, if anything.
    """
    value = images.amax(1, keepdim=True)
    distance = value - images
    saturation = distance.amax(1, keepdim=True) / value.clamp(min=1e-6)
    wanted = (saturation * p[0] + p[1]).clamp(0, 1)
    redder = value * wanted * torch.tensor([0.0, 1, 1], device=images.device).view(1, 3, 1, 1)
    of_hue = distance * (wanted / saturation.clamp(min=1e-6))
    return value - torch.where(saturation > 0, of_hue, redder)


def pixelate(images: Tensor, p: Parameters) -> Tensor:
    """Shrink images to ``p[0]`` of their size and enlarge them again, both by a box filter."""
    pixels = (images * 255).round()
    height, width = images.shape[2:]
    small = [max(int(size * p[0]), 1) for size in (height, width)]
    shrink = [
        torch.from_numpy(_box(size, new)).to(pixels)
        for size, new in zip((height, width), small, strict=True)
    ]
    # One axis after the other, each rounded to one of 256 levels.
    pixels = (along_rows(pixels, shrink[1]) + 0.5 + ROUNDING).floor()
    pixels = (along_columns(pixels, shrink[0]) + 0.5 + ROUNDING).floor()
    rows, columns = (
        ((torch.arange(size, device=pixels.device) + 0.5) * new / size).long()
        for size, new in zip((height, width), small, strict=True)
    )
    return pixels.index_select(2, rows).index_select(3, columns) / 255


@lru_cache(maxsize=32)
def _box(size: int, new: int) -> NDArray[np.float64]:
    """Each of fewer pixels as the mean of those whose centres it covers, (new, size)."""
    scale = size / new
    distance = (np.arange(size) + 0.5 - (np.arange(new)[:, None] + 0.5) * scale) / scale
    covered = ((distance > -0.5) & (distance <= 0.5)).astype(float)
    return covered / covered.sum(1, keepdims=True)


def jpeg_compression(images: Tensor, p: Parameters) -> Tensor:
    """Store images as JPEG of quality ``p[0]`` and read them again."""
    pixels = (images * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    made = np.empty_like(pixels)
    for picture, read in zip(pixels, made, strict=True):
        stored = io.BytesIO()
        Image.fromarray(picture).save(stored, "JPEG", quality=int(p[0]))
        read[:] = Image.open(stored)
    return torch.from_numpy(made).permute(0, 3, 1, 2).to(images.device).float() / 255


def draw_elastic_transform(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """How far three corners and all pixels move, from -1 to 1."""
    corners, pixels = rng.random((n, 3, 2), np.float32), rng.random((n, 2, *size), np.float32)
    return 2 * corners - 1, 2 * pixels - 1


def elastic_transform(images: Tensor, p: Parameters, corners: Tensor, pixels: Tensor) -> Tensor:
    """Move three points at random, the image with them, and then its pixels, neighbours alike.

    ``p`` is how far pixels move, the standard deviation of the Gaussian by which this is smooth,
    and how far the three points move, all as fractions of the image's size.
    """
    height, width = images.shape[2:]
    size = min(height, width)
    alpha, sigma, moved = (size * one for one in p)
    images = _sampled(images, _affine_source(corners, (height, width), moved), edge="mirror")
    if alpha:
        smooth = blurred(pixels.double(), sigma, "reflect", truncate=3)
        across, down = (alpha * smooth).float().unbind(1)
        y, x = _pixels((height, width), images.device)
        images = _sampled(images, torch.stack([x + across, y + down], -1), edge="repeat")
    return images


def _affine_source(corners: Tensor, size: Size, moved: float) -> Tensor:
    """Where each pixel comes from, (n, height, width, 2), horizontal first."""
    centre = torch.tensor([size[0] // 2, size[1] // 2], dtype=torch.float64, device=corners.device)
    reach = max(min(size) // 3, 1)
    sides = torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64, device=corners.device)
    before = centre + reach * sides
    after = before + moved * corners.double()
    ones = torch.ones(len(after), 3, 1, dtype=torch.float64, device=corners.device)
    back = torch.linalg.solve(torch.cat([after, ones], 2), before.expand(len(after), -1, -1))
    y, x = _pixels(size, corners.device)
    across, down, constant = (row[:, None, None, :] for row in back.unbind(1))
    return (x.double()[..., None] * across + y.double()[..., None] * down + constant).float()


def _pixels(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    y = torch.arange(size[0], dtype=torch.float32, device=device)
    x = torch.arange(size[1], dtype=torch.float32, device=device)
    return y[:, None].expand(size), x.expand(size)


def _sampled(images: Tensor, source: Tensor, *, edge: str) -> Tensor:
    """Images at places between pixels, bilinear; mirrored at the outermost pixels, or beyond."""
    height, width = images.shape[2:]
    size = torch.tensor([width, height], dtype=torch.float32, device=images.device)
    if edge == "mirror":
        grid = 2 * source / (size - 1).clamp(min=1) - 1
    else:
        grid = (2 * source + 1) / size - 1
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=edge == "mirror")
