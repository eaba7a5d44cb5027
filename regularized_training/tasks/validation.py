"""The validation part of a task: a tenth of its training images, decided by the pictures alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import image_keys

ONE_IN = 10  # training images of a class


def validation_indices(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which training images are the validation part: the same pictures in whatever order they come.

    Of each class a tenth, and at least one where it has two different pictures: those whose pixels
    have the lowest hashes. Copies of a picture go together, so that a class may have a few fewer,
    and a picture that is in two classes stays in training.

    Parameters
    ----------
    images : (n, channels, height, width) uint8
        All training images of a task.
    labels : (n,) int64

    Returns
    -------
    (m,) int64
        Sorted places among `images`; empty where every class has one picture only.
    """
    keys = [key.hex() for key in image_keys(images)]
    return validation_by_keys(np.array(keys, "S"), labels)


def validation_by_keys(keys: NDArray, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """As :func:`validation_indices`, of pictures that are known by their hashes alone.

    Parameters
    ----------
    keys : (n,) fixed-width bytes
        Hash of each picture: of its pixels or, where they stay in files, of its file.
    labels : (n,) int64

    Returns
    -------
    (m,) int64
    """
    if not len(labels):
        return np.empty(0, np.int64)
    # Pictures come in the order of their hashes.
    _, picture, copies = np.unique(keys, return_inverse=True, return_counts=True)
    lowest, highest = np.full(len(copies), labels.max()), np.full(len(copies), labels.min())
    np.minimum.at(lowest, picture, labels)
    np.maximum.at(highest, picture, labels)
    chosen = np.zeros(len(copies), bool)
    alone = np.flatnonzero(lowest == highest)
    alone = alone[np.argsort(lowest[alone], kind="stable")]
    of_class = lowest[alone]
    for label, n in zip(*np.unique(labels, return_counts=True), strict=True):
        first, end = np.searchsorted(of_class, [label, label + 1])
        own = alone[first:end]
        room = max(1, (n + ONE_IN // 2) // ONE_IN) if len(own) > 1 else 0
        for one in own:
            if copies[one] <= room:
                chosen[one] = True
                room -= copies[one]
    return np.flatnonzero(chosen[picture])
