"""What importers do to images: average squares of pixels, and keep whole grey values small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.recording import RecordingError


def check_downsample(factor: int, shape: tuple[int, ...]) -> None:
    """Refuse a factor that does not divide the height and width of images.

    Raises
    ------
    RecordingError
        If squares of ``factor`` x ``factor`` pixels do not tile the last two axes of ``shape``.
    """
    height, width = shape[-2:]
    if factor < 1 or height % factor or width % factor:
        raise RecordingError(
            f"downsample: {factor}, expected a whole number from 1 that divides the images' "
            f"{height} x {width} pixels"
        )


def downsample(images: NDArray, factor: int) -> NDArray:
    """Average squares of ``factor`` x ``factor`` pixels.

    Parameters
    ----------
    images : (..., height, width)
    factor : int
        1 leaves the images as they are.

    Returns
    -------
    (..., height / factor, width / factor) float32, or ``images`` itself where factor is 1

    Examples
    --------
    >>> downsample(np.array([[0, 2], [4, 6]], np.uint8), 2)
    array([[3.]], dtype=float32)
    """
    check_downsample(factor, images.shape)
    if factor == 1:
        return images
    *lead, height, width = images.shape
    squares = images.reshape(*lead, height // factor, factor, width // factor, factor)
    return squares.mean(axis=(-3, -1), dtype=np.float32)


def are_grey_values(images: NDArray) -> bool:
    """Whether floats are whole numbers from 0 to 255, which uint8 holds without loss."""
    if not np.issubdtype(images.dtype, np.floating):
        return images.dtype == np.uint8
    return bool(
        np.isfinite(images).all()
        and images.min(initial=0) >= 0
        and images.max(initial=0) <= 255
        and (images == np.floor(images)).all()
    )


def as_grey_values(images: NDArray) -> tuple[NDArray, str]:
    """Images on the scale from 0, black, to 255, white, and what was done to bring them there.

    Whole values from 0 to 255 become uint8. Of any type, values from 0 to 1 are multiplied by 255,
    and of unsigned integers of 16 bits the upper 8 are kept. All others, such as z-scored ones,
    are left as they are, as float32.

    Examples
    --------
    >>> as_grey_values(np.array([0.0, 0.5, 1.0]))
    (array([  0. , 127.5, 255. ], dtype=float32), 'values from 0 to 1 were taken to 0 to 255')
    """
    low, high = images.min(initial=0), images.max(initial=0)
    if low >= 0 and 0 < high <= 1:
        scaled = images.astype(np.float32) * 255
        kept = scaled.astype(np.uint8) if are_grey_values(scaled) else scaled
        return kept, "values from 0 to 1 were taken to 0 to 255"
    if images.dtype == np.uint16 and high >= 4096:
        return (images >> 8).astype(np.uint8), "of 16 bits the upper 8 were kept"
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return images.astype(np.uint8), ""
    if are_grey_values(images):
        return images.astype(np.uint8), ""
    if low < 0 or high > 255:
        return images.astype(np.float32), (
            f"values from {low:g} to {high:g} were left as they are, for encoders of images on "
            "that scale"
        )
    return images.astype(np.float32), ""
