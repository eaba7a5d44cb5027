"""Batches of training images: random order, crops, mirror images and rotations, bytes to floats."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from regularized_training.tasks.config import AugmentConfig


def augment(images: Tensor, rng: torch.Generator, config: AugmentConfig) -> Tensor:
    """Crop each image at random out of its reflect-padded copy, mirror half of them, and turn them.

    Rows are picked, then columns within them: nothing is padded, no image is handled alone, and
    what goes to the device is a number for each row and each column of an image, not for each
    pixel.

    Parameters
    ----------
    images : (batch, channels, height, width) Tensor
        Of any type, on any device.
    rng : torch.Generator
        On the CPU, so that every device sees the same crops.
    config : AugmentConfig
        Its padding must be less than the height and the width.

    Returns
    -------
    (batch, channels, height, width) Tensor, of the same type and on the same device

    Examples
    --------
    >>> images = torch.arange(2 * 36, dtype=torch.uint8).view(2, 1, 6, 6)
    >>> rng = torch.Generator().manual_seed(0)
    >>> augment(images, rng, AugmentConfig(padding=2, rotation=15)).shape
    torch.Size([2, 1, 6, 6])
    """
    padding = config.padding
    batch, channels, height, width = images.shape
    if padding >= min(height, width):
        raise ValueError(
            f"padding: {padding}, expected 0 to {min(height, width) - 1}; images of {height} x "
            f"{width} pixels cannot be reflected further"
        )
    shift = torch.randint(-padding, padding + 1, (2, batch, 1), generator=rng)
    rows = _reflect(torch.arange(height) + shift[0], height)
    columns = _reflect(torch.arange(width) + shift[1], width)
    if config.flip:
        mirrored = torch.rand(batch, 1, generator=rng) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    # Of each image and channel; whole rows are copied, which is quicker than pixel by pixel.
    plane = torch.arange(batch * channels, device=images.device).view(batch, channels, 1)
    picked = (plane * height + rows[:, None]).flatten()
    made = images.reshape(-1, width).index_select(0, picked).view(images.shape)
    made = made.gather(3, columns[:, None, None].expand(images.shape))
    if config.rotation:
        degrees = config.rotation * (2 * torch.rand(batch, generator=rng) - 1)
        made = _rotated(made, degrees)
    return made


def _rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image about its centre: bilinear, reflected at its outermost pixels.

    The same on every device but for rounding. Nothing here needs a gradient, whose computation
    would differ from run to run on a GPU.
    """
    batch, _, height, width = images.shape
    dtype = images.dtype if images.is_floating_point() else torch.float32
    angle = torch.deg2rad(degrees.double())
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Coordinates run from -1 to 1 over the width and over the height.
    ratio = max(height - 1, 1) / max(width - 1, 1)
    maps = torch.stack([cos, -sin * ratio, none, sin / ratio, cos, none], 1).view(batch, 2, 3)
    places = F.affine_grid(
        maps.to(images.device, dtype), [batch, 1, height, width], align_corners=True
    )
    made = F.grid_sample(
        images.to(dtype), places, "bilinear", padding_mode="reflection", align_corners=True
    )
    return made if images.is_floating_point() else made.round_().to(images.dtype)


def batches(n: int, batch_size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Indices of one epoch in random order, in batches of equal size.

    What does not fill a batch is left out of this epoch, so that every step is the same size; with
    fewer than `batch_size` images the epoch is one smaller batch.
    """
    batch_size = min(batch_size, n)
    for batch in torch.randperm(n, generator=rng).split(batch_size):
        if len(batch) == batch_size:
            yield batch


def to_float(images: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1], channels-last in memory: (batch, channels, height, width)."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Reflect indices up to ``size - 1`` outside 0 ... size - 1 without repeating the edge."""
    return (size - 1) - ((size - 1) - index.abs()).abs()
