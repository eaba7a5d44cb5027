"""Images as numbers in [0, 1] to compute with, and as bytes again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Of a grey level, far above the rounding of sums and far below anything seen: a value half way
# between two grey levels goes up, however its sum was rounded.
_TIE = 1e-6


def from_bytes(images: NDArray | Tensor) -> Tensor:
    """Images as float64 in [0, 1].

    Parameters
    ----------
    images : (n, channels, height, width) uint8, or float in [0, 1]
        Of one channel or three.

    Raises
    ------
    ValueError
        If they are none such.
    """
    given = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    if given.ndim != 4 or given.shape[1] not in (1, 3) or 0 in given.shape[2:]:
        raise ValueError(
            f"images: shape {tuple(given.shape)}, expected (n, 1 or 3, height, width) with at "
            "least one pixel"
        )
    if given.dtype == torch.uint8:
        return given.double() / 255
    if not given.is_floating_point():
        raise ValueError(f"images: type {given.dtype}, expected uint8, or float in 0 to 1")
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("images: floats that are not all in 0 to 1; divide by 255, or give uint8")
    return given.double()


def to_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8, the nearest grey level; what lies outside is clipped.

    Examples
    --------
    >>> to_bytes(torch.tensor([-1.0, 0.5, 1.0, 2.0], dtype=torch.float64)).tolist()
    [0, 128, 255, 255]
    """
    return (images.clamp(0, 1) * 255 + 0.5 + _TIE).floor_().to(torch.uint8)
