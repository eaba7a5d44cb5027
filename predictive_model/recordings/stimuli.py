"""Natural stimuli: cut from the photographs that scikit-learn ships, or any images made to fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from predictive_model.recordings.recording import check_images

# Photographs of natural scenes are alike at every scale; these are the scales that are cut.
DOWNSAMPLING = tuple(np.geomspace(1, 6, 10))
MINIMAL_CONTRAST = 15.0  # standard deviation in grey levels; sky and wall fall below it
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601


def natural_stimuli(n: int, shape: tuple[int, int] = (36, 64), seed: int = 0) -> NDArray[np.uint8]:
    """Distinct grey patches of the two photographs that scikit-learn ships.

    Each patch has a random scale (the photograph averaged over areas 1 to 6 pixels wide, so that
    patches show scenes as well as textures), position and mirroring. Flat patches are left out.
    The first patches do not depend on ``n``. As there are two photographs only, patches
    overlap: they are stimuli for simulated neurons, not a set to test generalisation with.

    Parameters
    ----------
    n : int
        Number of patches.
    shape : (height, width)
        At most 427 x 640, the size of the photographs.
    seed : int

    Returns
    -------
    (n, 1, height, width) uint8

    Raises
    ------
    ValueError
        If the shape does not fit, or the photographs have fewer than ``n`` distinct patches of it.
    """
    if n < 1:
        raise ValueError(f"n: {n}, expected at least 1")
    rng = np.random.default_rng(seed)
    levels = list(_photographs(shape))
    at_once = max(64, 1024 * 36 * 64 // (shape[0] * shape[1]))  # bounds the memory
    found: dict[bytes, NDArray[np.uint8]] = {}
    while len(found) < n:
        before = len(found)
        for patch in _draw_patches(levels, at_once, shape, rng):
            found.setdefault(patch.tobytes(), patch)
        if len(found) == before:
            raise ValueError(
                f"n: {n} distinct patches of {shape[0]} x {shape[1]} pixels with contrast were "
                f"asked for, {before} were found; ask for fewer or smaller ones"
            )
    return np.stack(list(found.values())[:n])[:, None]


def fit_images(images: NDArray, shape: tuple[int, int]) -> NDArray:
    """Grey images of a wanted shape: cropped centrally to its proportions, then resized.

    Nothing is stretched. Images that are only cropped keep their pixels; resizing is bicubic and
    averages where it makes smaller.

    Parameters
    ----------
    images : (n, 1 or 3, height, width) uint8 or float32
        Colour is turned into ITU-R 601 luma.
    shape : (height, width)

    Returns
    -------
    (n, 1, height, width) of the type of `images`

    Raises
    ------
    ValueError
        If the images are not grey or colour, one is blank, or the shape is empty.

    Examples
    --------
    >>> colour = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64)).astype(np.uint8)
    >>> fit_images(colour, (36, 64)).shape
    (2, 1, 36, 64)
    """
    check_images(images)
    return fit_pictures(images, shape)


def fit_pictures(images: NDArray, shape: tuple[int, int], *, grey: bool = True) -> NDArray:
    """The same as :func:`fit_images`, of pictures of which some may be blank.

    Without ``grey`` those of colour stay so: (n, channels, height, width).
    """
    if min(shape) < 1:
        raise ValueError(f"shape: {shape}, expected (height, width), each at least 1")
    height, width = images.shape[2:]
    rows = min(height, max(1, round(width * shape[0] / shape[1])))
    columns = min(width, max(1, round(height * shape[1] / shape[0])))
    y, x = (height - rows) // 2, (width - columns) // 2
    images = images[:, :, y : y + rows, x : x + columns]
    whole = images.dtype == np.uint8
    channels = 1 if grey else images.shape[1]
    out = np.empty((len(images), channels, *shape), images.dtype)
    for start in range(0, len(images), 256):  # bounds the memory of the floats
        part = images[start : start + 256].astype(np.float32)
        if part.shape[1] > channels:
            part = np.tensordot(part, LUMA, (1, 0))[:, None]
        if part.shape[2:] != tuple(shape):
            part = F.interpolate(
                torch.from_numpy(part), shape, mode="bicubic", antialias=True, align_corners=False
            ).numpy()
        out[start : start + 256] = part.round().clip(0, 255) if whole else part
    return out


def _photographs(shape: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """The photographs in grey at every scale at which a patch of the shape fits in."""
    for photograph in load_sample_images().images:
        grey = (photograph @ LUMA).astype(np.float32)
        if not all(0 < s <= g for s, g in zip(shape, grey.shape, strict=True)):
            raise ValueError(
                f"shape: {shape}, expected at least (1, 1) and at most {grey.shape}, the size of "
                "the photographs"
            )
        for factor in DOWNSAMPLING:
            size = [int(g / factor) for g in grey.shape]
            if all(s <= g for s, g in zip(shape, size, strict=True)):
                rows, columns = (
                    _area_averages(g, s) for g, s in zip(grey.shape, size, strict=True)
                )
                yield rows @ grey @ columns.T


def _area_averages(n_from: int, n_to: int) -> NDArray[np.float32]:
    """(n_to, n_from) weights of each pixel in the averages over ``n_to`` equal intervals."""
    edges = np.linspace(0, n_from, n_to + 1)
    pixels = np.arange(n_from)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (overlap.clip(0) * n_to / n_from).astype(np.float32)


def _draw_patches(
    levels: list[NDArray[np.float32]], n: int, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Those of ``n`` random patches that have contrast."""
    level = rng.integers(len(levels), size=n)
    position = rng.random((n, 2))
    flipped = rng.random((n, 2)) < 0.5
    patches = np.empty((n, *shape), np.float32)
    for i, photograph in enumerate(levels):
        here = level == i
        windows = np.lib.stride_tricks.sliding_window_view(photograph, shape)
        y, x = (position[here] * windows.shape[:2]).astype(int).T
        patches[here] = windows[y, x]
    for axis in (0, 1):
        patches[flipped[:, axis]] = np.flip(patches[flipped[:, axis]], axis + 1)
    patches = patches[patches.std(axis=(1, 2)) >= MINIMAL_CONTRAST]
    return patches.round().clip(0, 255).astype(np.uint8)
