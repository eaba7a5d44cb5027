"""Random numbers of an image that depend on its number alone, drawn for many images at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

BLOCK = 128  # images drawn for at once; changing it changes all that is drawn

Number = TypeVar("Number", bound=np.generic)


def blocks(
    index: NDArray[np.int64],
    seed_key: tuple[int, ...],
    draw: Callable[[np.random.Generator, int], NDArray[Number]],
) -> NDArray[Number]:
    """What is drawn for the images with these numbers.

    It is drawn for blocks of images, so that no image is handled alone and what an image gets does
    not depend on which others are asked for.

    Parameters
    ----------
    index : (n,) int64
        Numbers of images, at least 0.
    seed_key : tuple of int
        Decides what is drawn, with the number of the block. Zeros at the end of a key change
        nothing, so that keys that are to differ must not do so by zeros alone.
    draw : callable
        From a generator and a number of images, which may be 0, an array whose first axis is these
        images.

    Returns
    -------
    (n, ...) array

    Examples
    --------
    >>> def throw(rng, n):
    ...     return rng.integers(1, 7, n)
    >>> many = blocks(np.arange(300), (0,), throw)
    >>> bool((blocks(np.array([299, 7]), (0,), throw) == many[[299, 7]]).all())
    True
    """
    like = draw(np.random.default_rng(seed_key), 0)
    found = np.empty((len(index), *like.shape[1:]), like.dtype)
    numbers, block_of = np.unique(index // BLOCK, return_inverse=True)
    for number, block in enumerate(numbers):
        drawn = draw(np.random.default_rng((*seed_key, int(block))), BLOCK)
        rows = block_of == number
        found[rows] = drawn[index[rows] % BLOCK]
    return found
