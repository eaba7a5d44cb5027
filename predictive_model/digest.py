"""Hashes of arrays, of pictures, and of what a computation depends on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGES_AT_ONCE = 1024  # bounds the memory of floats
# White of each scale, and how far values may lie from a whole grey level: half precision keeps
# those from 0 to 1 to a sixteenth of a level.
SCALES = ((1, 0.1), (255, 1e-3))
LOOK = 64  # pixels


def fingerprint(**parts: Any) -> str:
    """Hash of everything a computation depends on, as hexadecimal digits.

    Parts may be anything JSON can hold; describe arrays by :func:`array_digest`.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def array_digest(*arrays: Any) -> str:
    """Hash of arrays' shapes, types and contents; ``None`` counts as a value of its own."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def image_keys(images: NDArray) -> list[bytes]:
    """A digest of each image's pixels: two images are equal if their digests are.

    A picture is its grey values, however they are stored: as uint8, as floats from 0 to 255 or as
    floats from 0 to 1. Floats that are no grey values of either scale count as they are.

    Parameters
    ----------
    images : (n, ...) of any real type
    """
    if not len(images):
        return []
    # Black and white are 0 and 1, or 0 and 255: the set says which.
    unit = images.min() >= 0 and images.max() <= 1
    return [
        hashlib.blake2b(image.data, digest_size=16).digest()
        for start in range(0, len(images), IMAGES_AT_ONCE)
        for image in _as_bytes(images[start : start + IMAGES_AT_ONCE], unit=bool(unit))
    ]


def equal_pictures(images: NDArray) -> NDArray[np.int64]:
    """Number of the first image that has the same pixels, for each image.

    Parameters
    ----------
    images : (n, ...) of any real type
        Compared by :func:`image_keys`.

    Returns
    -------
    (n,) int64

    Examples
    --------
    >>> equal_pictures(np.array([[7, 9], [0, 3], [7, 9]], np.uint8))
    array([0, 1, 0])
    """
    first: dict[bytes, int] = {}
    found = (first.setdefault(key, number) for number, key in enumerate(image_keys(images)))
    return np.fromiter(found, np.int64, len(images))


def _as_bytes(images: NDArray, *, unit: bool) -> list[NDArray]:
    """Each image flat: its grey values as uint8, where it has any, and else its float32."""
    flat = images.reshape(len(images), -1)
    if images.dtype == np.uint8 and not unit:
        return list(np.ascontiguousarray(flat))
    flat = flat.astype(np.float32) + np.float32(0)  # of two zeros, -0 and 0, one
    out: list[NDArray] = list(flat)
    within = flat.min(1) >= 0
    for white, rounding in SCALES[:1] if unit else SCALES:  # the last has the last word
        for number in np.flatnonzero(within & (flat.max(1) <= white)):
            grey = flat[number] * np.float32(255 / white)
            few = grey[:LOOK]  # most images that are no grey values show it here
            if np.abs(few - few.round()).max() > rounding:
                continue
            whole = grey.round()
            blank = whole.min() == whole.max() and grey.min() < grey.max()  # by rounding alone
            if not blank and np.abs(grey - whole).max() <= rounding:
                out[number] = whole.astype(np.uint8)
    return out
