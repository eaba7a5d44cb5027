"""People's labels as published, put in the order of an image set: safely, or not at all.

Published files name no images. They are in the official order of a data set, and say what is right;
so does an image set. Where both agree image by image, the order is the same. A set made from a
folder for each class is in the order of its classes, and matches within each class, if the images
of a class are in the official order: that no label can tell, so that it has to be said.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularized_training.behaviour.soft_labels import CLEAN, KINDS, SoftLabels
from regularized_training.tasks.labelled_task import TaskError, check_labels

CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
FEWEST_AGREE = 0.9  # of the majority's answers with the right labels; .992 of CIFAR-10H
LONGEST_NAME = 32  # of a label set


def official_places(
    official: ArrayLike, labels: ArrayLike, *, by_class: bool = False
) -> NDArray[np.int64]:
    """Place in the official order of each image of a set, by the right labels of both.

    Parameters
    ----------
    official : (n,) int
        Right labels in the official order.
    labels : (n,) int
        The same of the image set, in its order.
    by_class : bool
        Images of each class are in the official order, whatever is between them.

    Raises
    ------
    TaskError
        If they are not as many, or labels differ and `by_class` was not said or does not help.

    Examples
    --------
    >>> official_places([1, 0, 1], [1, 0, 1]).tolist()
    [0, 1, 2]
    >>> official_places([1, 0, 1], [0, 1, 1], by_class=True).tolist()
    [1, 0, 2]
    """
    given, ours = np.asarray(official), np.asarray(labels)
    if given.shape != ours.shape or given.ndim != 1:
        raise TaskError(
            f"labels: of {len(given)} images, but the image set has {len(ours)}; give the labels "
            "of all images of this part, or import the images with none left out"
        )
    if np.array_equal(given, ours):
        return np.arange(len(given))
    differ = int((given != ours).sum())
    n = int(max(given.max(), ours.max())) + 1
    counts = np.bincount(given, minlength=n), np.bincount(ours, minlength=n)
    if not np.array_equal(*counts):
        wrong = int(np.flatnonzero(counts[0] != counts[1])[0])
        raise TaskError(
            f"labels: {differ} of {len(given)} are not those of the image set, and of class "
            f"{wrong} there are {counts[0][wrong]}, in the set {counts[1][wrong]}; give the labels "
            "of these images"
        )
    if not by_class:
        raise TaskError(
            f"labels: {differ} of {len(given)} are not those of the image set, which is in another "
            "order; if the images of each class are in the official order, as in folders of "
            "classes with numbered files, say so by --by-class"
        )
    places = np.empty(len(given), np.int64)
    places[np.argsort(ours, kind="stable")] = np.argsort(given, kind="stable")
    return places


def soft_labels_of_set(
    path: Path | str, labels: NDArray[np.int64], classes: Sequence[str], *, by_class: bool = False
) -> SoftLabels:
    """People's answers to the test images of a set, in its order, as of CIFAR-10H.

    Parameters
    ----------
    path : Path
        An .npz file of ``counts`` (image, class), ``labels`` (image,) and perhaps ``classes``
        (class,), their names; or an .npy file of counts alone, as published.
    labels : (image,) int64
        Right labels of the set's test images.
    classes : sequence of str
        Of the set.
    by_class : bool
        As of :func:`official_places`; needs ``labels``.

    Raises
    ------
    TaskError
        If it is no such file, of other images or classes, an image has no answers, or what most
        people answer is too often not the label, as in another order.
    """
    arrays = _arrays(Path(path))
    if "counts" not in arrays:
        raise TaskError(f"{path}: lacks counts; it has {', '.join(sorted(arrays)) or 'nothing'}")
    counts = arrays["counts"]
    if counts.ndim != 2 or counts.dtype.kind not in "iu":
        raise TaskError(
            f"{path}: counts of shape {counts.shape} and type {counts.dtype}, expected whole "
            "numbers of answers, (image, class)"
        )
    if counts.shape != (len(labels), len(classes)):
        raise TaskError(
            f"{path}: counts of {counts.shape[0]} images and {counts.shape[1]} classes, but the "
            f"image set has {len(labels)} test images of {len(classes)}"
        )
    if len(empty := np.flatnonzero(counts.sum(1) == 0)):
        raise TaskError(
            f"{path}: {len(empty)} images have no answer, such as image {empty[0]}; expected at "
            "least one for each"
        )
    _check_classes(path, arrays, classes, needed=by_class)
    if "labels" in arrays:
        check_labels("labels", arrays["labels"], len(counts), len(classes))
        places = official_places(arrays["labels"], labels, by_class=by_class)
    elif by_class:
        raise TaskError(f"{path}: lacks labels, without which images have no place in a class")
    else:
        places = np.arange(len(labels))
    try:
        found = SoftLabels(counts[places], labels)
    except ValueError as error:
        raise TaskError(f"{path}: {error}") from error
    agree = float((found.counts.argmax(1) == labels).mean())
    if agree < FEWEST_AGREE:
        raise TaskError(
            f"{path}: most people's answer is the label of {agree:.1%} of the images, expected "
            f"{FEWEST_AGREE:.0%} or more; the images are in another order, or others"
        )
    return found


def label_sets_of_set(
    path: Path | str, labels: NDArray[np.int64], classes: Sequence[str], *, by_class: bool = False
) -> dict[str, NDArray[np.int64]]:
    """People's labels of the training images of a set, in its order, as of CIFAR-10N.

    Parameters
    ----------
    path : Path
        An .npz file of ``clean_label`` (image,), the right ones, any label sets (image,), and
        perhaps ``classes`` (class,), their names.
    labels : (image,) int64
        Right labels of the set's training images.
    classes : sequence of str
        Of the set.
    by_class : bool
        As of :func:`official_places`.

    Returns
    -------
    dict of str to (image,) int64
        Those of CIFAR-10N by their short names, ``aggregate``, ``random1`` to ``random3``,
        ``worst``.

    Raises
    ------
    TaskError
        If it is no such file, or of other images or classes.
    """
    arrays = _arrays(Path(path))
    if CLEAN not in arrays:
        raise TaskError(
            f"{path}: lacks {CLEAN}, the right labels, by which images are found; it has "
            f"{', '.join(sorted(arrays)) or 'nothing'}"
        )
    _check_classes(path, arrays, classes, needed=by_class)
    places = official_places(arrays[CLEAN], labels, by_class=by_class)
    short = {column: kind for kind, column in KINDS.items()}
    found = {}
    for name, values in arrays.items():
        if name in (CLEAN, "classes"):
            continue
        if len(name) > LONGEST_NAME:
            raise TaskError(
                f"{path}: {name} has {len(name)} letters, expected at most {LONGEST_NAME}"
            )
        check_labels(name, values, len(labels), len(classes))
        found[short.get(name, name)] = values[places].astype(np.int64)
    if not found:
        raise TaskError(f"{path}: no labels beside {CLEAN}, expected those of people")
    return found


def _check_classes(
    path: Path | str, arrays: dict[str, NDArray], classes: Sequence[str], *, needed: bool
) -> None:
    """Refuse classes of another order; a class has to be known by its name where labels differ."""
    if "classes" in arrays:
        expected = tuple(map(str, arrays["classes"].tolist()))
    elif needed:
        expected = CIFAR10
    else:
        return
    if expected != tuple(classes):
        raise TaskError(
            f"{path}: of the classes {', '.join(expected[:3])} ..., but the image set has "
            f"{', '.join(classes[:3])} ...; expected the same in the same order: import the images "
            "with these names, or give the file an array `classes`"
        )


def _arrays(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            return {"counts": found}
        with found:
            return dict(found)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise TaskError(f"{path}: no .npz or .npy file ({error})") from error
