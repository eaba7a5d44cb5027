"""Quarter turns."""

from __future__ import annotations

import torch
from torch import Tensor


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Images turned anticlockwise by a multiple of 90 degrees; no pixel is interpolated.

    Parameters
    ----------
    images : (n, channels, height, width) Tensor
    degrees : float
        0, 90, 180 or 270.

    Raises
    ------
    ValueError
        If the images would change their shape.

    Examples
    --------
    >>> rotated(torch.tensor([[[[1, 2], [3, 4]]]]), 90).tolist()
    [[[[2, 4], [1, 3]]]]
    """
    height, width = images.shape[2:]
    if degrees % 180 and height != width:
        raise ValueError(
            f"rotation: {degrees:g} degrees of images of {height} x {width} pixels, expected "
            "square ones; crop them, or leave 90 and 270 out"
        )
    return torch.rot90(images, round(degrees / 90), (2, 3))
