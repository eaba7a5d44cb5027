"""Stimuli as a network takes its task images: one scale for a whole set, channels and size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from predictive_model.digest import image_keys
from predictive_model.importers.pixels import are_grey_values

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601

Scale = tuple[float, float]


def pixel_scale(stimuli: NDArray) -> Scale:
    """Which values of a set of stimuli are black and white for a network.

    The scale belongs to the set: a part of it is shown with that of the whole.

    Parameters
    ----------
    stimuli : (n, channels, height, width) uint8 or float32
        A whole set.

    Returns
    -------
    (float, float)
        0 and 255 of bytes, and of floats that are whole numbers in this range; 0 and 1 of floats
        between these; the smallest and the largest value of others, whose unit is unknown.

    Raises
    ------
    ValueError
        If there is no contrast, or a value is not finite.

    Examples
    --------
    >>> grey = np.arange(0, 64, dtype=np.uint8).reshape(1, 1, 8, 8)
    >>> pixel_scale(grey), pixel_scale(grey.astype(np.float32)), pixel_scale(grey / 255)
    ((0.0, 255.0), (0.0, 255.0), (0.0, 1.0))
    >>> pixel_scale(grey - np.float32(32))
    (-32.0, 31.0)
    """
    if stimuli.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(stimuli.min()), float(stimuli.max())
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"stimuli: values from {low:g} to {high:g}, expected finite and not all the same"
        )
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (0.0, 255.0) if are_grey_values(stimuli) else (low, high)


def prepare_stimuli(
    stimuli: NDArray,
    n_channels: int,
    size: tuple[int, int] | None = None,
    *,
    scale: Scale | None = None,
) -> Tensor:
    """Stimuli as a network takes its task images.

    Parameters
    ----------
    stimuli : (n, 1 or 3, height, width) uint8 or float32
    n_channels : int
        Channels of the network, 1 or 3. Grey stimuli are repeated for a colour network; colour
        becomes ITU-R 601 luma for a grey one.
    size : (int, int), optional
        Height and width to resize to, bilinear with antialiasing.
    scale : (float, float), optional
        Values that become 0 and 1: :func:`pixel_scale` of the set that these are part of, by
        default of these.

    Returns
    -------
    (n, n_channels, height, width) float32 Tensor in [0, 1], channels-last in memory
    """
    if stimuli.ndim != 4 or stimuli.shape[1] not in (1, 3):
        raise ValueError(
            f"stimuli: shape {stimuli.shape}, expected (n, 1 or 3 channels, height, width)"
        )
    scale = pixel_scale(stimuli) if scale is None else scale
    return as_network_input(torch.from_numpy(stimuli), n_channels, size, scale=scale)


def as_network_input(
    stimuli: Tensor, n_channels: int, size: tuple[int, int] | None, *, scale: Scale
) -> Tensor:
    """The same of stimuli on any device, of which the scale is known; see above."""
    low, high = scale
    images = (stimuli.to(torch.float32) - low) / (high - low)
    if n_channels == 1 and images.shape[1] == 3:
        luma = images.new_tensor(LUMA)
        images = torch.einsum("nchw,c->nhw", images, luma)[:, None]
    elif n_channels == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    if size is not None and images.shape[2:] != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)


def common_images(shown: Sequence[NDArray]) -> tuple[NDArray[np.int64], ...]:
    """Where the images stand that several sets have in common.

    Images are the same if their pixels are, wherever they stand in their sets, and whether they
    are stored as integers or as floats.

    Parameters
    ----------
    shown : sequence of (n, channels, height, width)
        One set or more, of any numbers of images.

    Returns
    -------
    tuple of (k,) int64
        For each set the places of the same k images, in the order of the first set.

    Examples
    --------
    >>> first = np.arange(3 * 64, dtype=np.uint8).reshape(3, 1, 8, 8)
    >>> second = first[[2, 0]].astype(np.float32)
    >>> [places.tolist() for places in common_images([first, second])]
    [[0, 2], [1, 0]]
    """
    places = [
        {(images.shape[1:], key): i for i, key in enumerate(image_keys(images))} for images in shown
    ]
    common = [image for image in places[0] if all(image in there for there in places[1:])]
    return tuple(np.array([there[image] for image in common], np.int64) for there in places)
