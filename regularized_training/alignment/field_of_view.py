"""Images at the size at which they were seen: placed in a network's field of view, on grey.

A brain saw images that were d degrees of visual angle wide. A network to which a field of view of D
degrees is ascribed sees them as wide as d / D of its own images, in the middle of a grey screen; of
images that are wider than its field it sees the middle (Brain-Score, ``place_on_screen``).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regularized_training.teachers.stimuli import Scale, as_network_input, pixel_scale

BATCH = 64
MID_GREY = 0.5


def place_in_field(
    images: Tensor,
    degrees: float,
    field: float,
    size: tuple[int, int],
    *,
    background: float = MID_GREY,
) -> Tensor:
    """Images on a grey screen, as wide as they were seen.

    Parameters
    ----------
    images : (n, channels, height, width) float Tensor
    degrees : float
        Of visual angle, that the images are wide; their proportions are kept.
    field : float
        Degrees that the screen is wide.
    size : (int, int)
        Height and width of the screen, in pixels.
    background : float

    Returns
    -------
    (n, channels, *size) Tensor
        On the device and of the type of ``images``, channels-last in memory.

    Raises
    ------
    ValueError
        If an angle is not positive, or images would be narrower than a pixel.

    Examples
    --------
    >>> placed = place_in_field(torch.ones(2, 1, 8, 8), 4.0, 8.0, (16, 16))
    >>> placed.shape, float(placed[0, 0, 8, 8]), float(placed[0, 0, 0, 0]), float(placed.mean())
    (torch.Size([2, 1, 16, 16]), 1.0, 0.5, 0.625)
    """
    if not (degrees > 0 and field > 0):
        raise ValueError(f"degrees: {degrees:g} in a field of {field:g}, expected both above 0")
    n, channels, height, width = images.shape
    shown = [round(size[1] * degrees / field * side / width) for side in (height, width)]
    if min(shown) < 1:
        raise ValueError(
            f"degrees: {degrees:g} in a field of {field:g} are {shown[0]} x {shown[1]} of "
            f"{size[0]} x {size[1]} pixels, expected at least one; give a smaller field"
        )
    if shown != [height, width]:
        images = F.interpolate(images, shown, mode="bilinear", antialias=True)
    out = images.new_full((n, channels, *size), background)
    out = out.contiguous(memory_format=torch.channels_last)
    own_rows, rows = _middle(shown[0], size[0])
    own_columns, columns = _middle(shown[1], size[1])
    out[:, :, rows, columns] = images[:, :, own_rows, own_columns]
    return out


def shown_to_network(
    images: NDArray,
    n_channels: int,
    size: tuple[int, int],
    *,
    degrees: float | None = None,
    field: float | None = None,
    scale: Scale | None = None,
    device: str | torch.device = "cpu",
    batch: int = BATCH,
) -> Iterator[Tensor]:
    """Images as a network takes them, batch by batch.

    Parameters
    ----------
    images : (n, 1 or 3, height, width) uint8 or float32
    n_channels : int
        Of the network's images, see :func:`~regularized_training.teachers.stimuli.prepare_stimuli`.
    size : (int, int)
        Height and width of the network's images.
    degrees, field : float, optional
        Width of the images, and of the network's field of view; by default the same for both, so
        that images are as wide as the network's and keep their proportions.
    scale : (float, float), optional
        Values that are black and white, by default of the set.
    device : str or torch.device
    batch : int

    Yields
    ------
    (batch, n_channels, *size) float32 Tensor in [0, 1]
    """
    scale = pixel_scale(images) if scale is None else scale
    width, of_network = (1.0, 1.0) if degrees is None or field is None else (degrees, field)
    for part in torch.from_numpy(images).split(batch):
        seen = as_network_input(part.to(device), n_channels, None, scale=scale)
        yield place_in_field(seen, width, of_network, size)


def _middle(of_image: int, of_screen: int) -> tuple[slice, slice]:
    """Where an image's side is in itself, and where on a screen, both in the middle."""
    n = min(of_image, of_screen)
    own, there = (of_image - n) // 2, (of_screen - n) // 2
    return slice(own, own + n), slice(there, there + n)
