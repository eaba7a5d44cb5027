"""Hashes of arrays and of what a computation depends on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def picture_digests(images: NDArray) -> list[str]:
    """Hash of each picture's pixels, which those of one shape and type share only if equal.

    Parameters
    ----------
    images : (n, ...) array
    """
    return [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images]
