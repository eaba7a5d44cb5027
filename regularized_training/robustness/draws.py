"""Random draws that belong to an image, whichever others are asked for with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BLOCK = 128  # images that are drawn for at once; changing it changes what is drawn

Draw = Callable[[np.random.Generator, int], tuple[NDArray, ...]]


def in_blocks(index: NDArray[np.int64], key: tuple[int, ...], draw: Draw) -> tuple[NDArray, ...]:
    """Draws of the images with these numbers.

    They are made for blocks of images, each with a generator of its own, so that no image is
    handled alone and what is drawn for one does not depend on which others are asked for.

    Parameters
    ----------
    index : (batch,) int64
        Numbers of images, at least 0.
    key : tuple of int
        Decides what is drawn, with a block's number. Zeros at the end of a key change nothing, so
        that keys that are to differ must not do so by zeros alone.
    draw : callable
        ``draw(rng, n)`` gives arrays whose first axis has n images, which may be none.

    Returns
    -------
    tuple of (batch, ...) arrays

    Examples
    --------
    >>> normal = lambda rng, n: (rng.standard_normal((n, 2)),)
    >>> both, = in_blocks(np.array([5, 300]), (0,), normal)
    >>> alone, = in_blocks(np.array([300]), (0,), normal)
    >>> np.array_equal(both[1:], alone)
    True
    """
    like = draw(np.random.default_rng(key), 0)
    made = [np.empty((len(index), *part.shape[1:]), part.dtype) for part in like]
    blocks, block_of = np.unique(index // BLOCK, return_inverse=True)
    for number, block in enumerate(blocks):
        drawn = draw(np.random.default_rng((*key, int(block))), BLOCK)
        rows = block_of == number
        for whole, part in zip(made, drawn, strict=True):
            whole[rows] = part[index[rows] % BLOCK]
    return tuple(made)
