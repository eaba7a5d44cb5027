"""What a recording refuses of single arrays: their shapes, types and values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RecordingError(ValueError):
    """A recording that cannot be used: says which array, what was found and what to do."""


def check_name(name: str) -> None:
    """Refuse a name that could not be a key, a file name and a module name part at once."""
    allowed = "letters, digits, '_', '-' and '.', at most 64, no '.' first"
    if not isinstance(name, str) or not 0 < len(name) <= 64 or name.startswith("."):
        raise RecordingError(f"name: {name!r}, expected {allowed}")
    if not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name):
        raise RecordingError(f"name: {name!r}, expected only {allowed}")


def checked_groups(groups: NDArray, n_images: int) -> NDArray[np.str_]:
    """Names of the groups of images, (n,) texts, none of them empty."""
    groups = np.asarray(groups)
    if groups.shape != (n_images,) or groups.dtype.kind not in "USiu":
        raise RecordingError(
            f"image_groups: shape {groups.shape} of {groups.dtype}, expected ({n_images},) names, "
            "one for each image"
        )
    groups = groups.astype(str)
    if (unnamed := np.flatnonzero(groups == "")).size:
        raise RecordingError(
            f"image_groups: {len(unnamed)} images are in none, the first is number {unnamed[0]}; "
            "name a group for each image"
        )
    return groups


def checked_degrees(degrees: float) -> float:
    """A width of images that is an angle."""
    if not 0 < degrees <= 360:
        raise RecordingError(
            f"degrees: {degrees:g}, expected degrees of visual angle that the images are wide, "
            "above 0 and at most 360"
        )
    return float(degrees)


def check_images(images: NDArray) -> None:
    """Refuse images that are not (n, channels, height, width) uint8 or finite float32.

    An image without any contrast is refused too: its similarity to others is undefined.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise RecordingError(
            f"images: shape {images.shape}, expected (n, channels, height, width) with 1 or 3 "
            "channels; grey images need an axis of length 1"
        )
    if images.dtype not in (np.uint8, np.float32):
        raise RecordingError(f"images: type {images.dtype}, expected uint8 or float32")
    flat = images.reshape(len(images), -1)
    if images.dtype == np.float32 and not np.isfinite(flat).all():
        bad = np.flatnonzero(~np.isfinite(flat).all(1))
        raise RecordingError(
            f"images: {len(bad)} hold values that are not finite, the first is number {bad[0]}; "
            "remove them and their trials"
        )
    constant = np.flatnonzero(flat.min(1) == flat.max(1))
    if len(constant):
        raise RecordingError(
            f"images: {len(constant)} are constant, the first is number {constant[0]}; remove "
            "blank images and their trials"
        )


def float_array(
    field: str, values: NDArray, ndim: int, *, rows: str = "trials"
) -> NDArray[np.float32]:
    """An array of real, finite numbers as float32; errors count its bad rows."""
    values = np.asarray(values)
    if values.ndim != ndim:
        raise RecordingError(f"{field}: shape {values.shape}, expected {ndim} dimensions")
    if not (np.issubdtype(values.dtype, np.number) and not np.iscomplexobj(values)):
        raise RecordingError(f"{field}: type {values.dtype}, expected real numbers")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    bad = ~np.isfinite(values).all(axis=tuple(range(1, ndim)))
    if bad.any():
        raise RecordingError(
            f"{field}: {int(bad.sum())} {rows} hold values that are not finite, the first is "
            f"{rows[:-1]} {int(np.flatnonzero(bad)[0])}; leave those {rows} out of every array"
        )
    return values


def check_distinct(field: str, values: NDArray) -> None:
    """Refuse a value that stands in an array twice."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) != len(values):
        raise RecordingError(
            f"{field}: {distinct[counts > 1][0]} stands there {counts.max()} times; expected "
            "distinct values"
        )
