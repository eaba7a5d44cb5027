"""Image classification tasks: images held in memory as bytes, and the classes to tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import equal_pictures


class TaskError(ValueError):
    """Images or labels that cannot be used: says which, what was found and what to do."""


@dataclass(frozen=True, eq=False)
class ImageTask:
    """Images and the classes to tell apart.

    Parameters
    ----------
    name : str
        Name of the set, such as ``cifar10-grey``.
    train_images, test_images : (n, channels, height, width) uint8
        All of one size, with 1 or 3 channels.
    train_labels, test_labels : (n,) int64
        Index into `classes`.
    classes : tuple of str
        Distinct names.
    superclasses : tuple of str
        The superclass of each class, in the order of `classes`; empty where there are none.

    Raises
    ------
    TaskError
        If an array has the wrong shape, type or values, or contradicts another.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise TaskError("name: empty, expected a name for the set")
        classes = tuple(self.classes)
        if len(classes) < 2 or len(set(classes)) != len(classes):
            raise TaskError(
                f"classes: {len(set(classes))} distinct names among {len(classes)}, expected at "
                "least 2 and every name once"
            )
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "superclasses", tuple(self.superclasses))
        if self.superclasses and len(self.superclasses) != len(classes):
            raise TaskError(
                f"superclasses: {len(self.superclasses)}, expected one for each of the "
                f"{len(classes)} classes"
            )
        for split in ("train", "test"):
            images = np.ascontiguousarray(getattr(self, f"{split}_images"))
            _check_images(f"{split}_images", images)
            labels = np.asarray(getattr(self, f"{split}_labels"))
            _check_labels(f"{split}_labels", labels, len(images), len(classes))
            object.__setattr__(self, f"{split}_images", images)
            object.__setattr__(self, f"{split}_labels", labels.astype(np.int64))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise TaskError(
                f"test_images: (channels, height, width) is {self.test_images.shape[1:]}, expected "
                f"{self.train_images.shape[1:]} as in train_images"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        c, h, w = self.train_images.shape[1:]
        return c, h, w

    def of_superclasses(self) -> ImageTask:
        """The coarser task: the same images, to tell apart their superclasses.

        Raises
        ------
        TaskError
            If the classes have no superclasses.
        """
        if not self.superclasses:
            raise TaskError(f"superclasses: {self.name!r} has none; give every class its own")
        names = tuple(sorted(set(self.superclasses)))
        place = np.array([names.index(name) for name in self.superclasses], np.int64)
        return replace(
            self,
            name=f"{self.name}-superclasses",
            train_labels=place[self.train_labels],
            test_labels=place[self.test_labels],
            classes=names,
            superclasses=(),
        )

    def subset(self, n_train: int | None, n_test: int | None, seed: int = 0) -> ImageTask:
        """The same task with fewer images, as evenly over the classes as they allow.

        Parameters
        ----------
        n_train, n_test : int or None
            How many images to keep; None keeps all.
        seed : int
            Chooses the images.

        Raises
        ------
        TaskError
            If there are fewer images than asked for.
        """
        kept = self
        for split, n in (("train", n_train), ("test", n_test)):
            if n is not None:
                images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
                if not 1 <= n <= len(labels):
                    raise TaskError(
                        f"n_{split}: {n}, expected 1 to {len(labels)}, the number of {split} "
                        f"images of {self.name!r}"
                    )
                index = balanced_indices(labels, n, seed)
                kept = replace(
                    kept, **{f"{split}_images": images[index], f"{split}_labels": labels[index]}
                )
        return kept

    def with_shuffled_labels(self, fraction: float, seed: int = 0) -> ImageTask:
        """The same task with the labels of a fraction of the training images shuffled.

        Label corruption of Federer et al. 2020: every class keeps its number of labels. By chance
        an image may get its own label back, so that fewer than `fraction` are wrong.

        Parameters
        ----------
        fraction : float
            Of the training images, 0 to 1.
        seed : int

        Raises
        ------
        TaskError
            If `fraction` is not from 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise TaskError(f"fraction: {fraction:g}, expected 0 to 1")
        rng = np.random.default_rng(seed)
        n = len(self.train_labels)
        chosen = rng.permutation(n)[: round(fraction * n)]
        labels = self.train_labels.copy()
        labels[chosen] = labels[rng.permutation(chosen)]
        return replace(self, train_labels=labels)


def without_test_images(task: ImageTask) -> tuple[ImageTask, tuple[str, ...]]:
    """The task without the training images that are test images too, and notes on equal images.

    Images are equal if their pixels are. The test part, by which networks are compared, stays as it
    is, and so do equal images within the training part.

    Raises
    ------
    TaskError
        If a class has no other training images.
    """
    notes = []
    n_train, n_test = len(task.train_labels), len(task.test_labels)
    first = equal_pictures(np.concatenate([task.test_images, task.train_images]))[n_test:]
    tested = first < n_test
    if tested.any():
        left = task.train_labels[~tested]
        if len(gone := np.setdiff1d(task.train_labels, left)):
            raise TaskError(
                f"train_images: all those of {task.classes[gone[0]]!r} are test images too; give "
                "the class other images to train on, or to be tested with"
            )
        other = task.train_labels[tested] != task.test_labels[first[tested]]
        notes.append(
            f"{int(tested.sum())} of {n_train} training images have the pixels of test images"
            f"{_labelled_otherwise(other)}, and are left out"
        )
        task = replace(task, train_images=task.train_images[~tested], train_labels=left)
    _, once, group = np.unique(first[~tested], return_index=True, return_inverse=True)
    if len(once) < len(group):
        other = task.train_labels != task.train_labels[once][group]
        notes.append(
            f"{len(group) - len(once)} training images have the pixels of another training image"
            f"{_labelled_otherwise(other)}"
        )
    return task, tuple(notes)


def require_no_test_images(task: ImageTask) -> None:
    """Refuse a task whose test part would see training images.

    Raises
    ------
    TaskError
        If an image is in both parts.
    """
    kept, notes = without_test_images(task)
    if len(kept.train_labels) < len(task.train_labels):
        raise TaskError(
            f"train_images: {notes[0].rpartition(',')[0]}; leave them out with "
            "regularized_training.tasks.image_task.without_test_images"
        )


def _labelled_otherwise(contradicted: NDArray[np.bool_]) -> str:
    n = int(contradicted.sum())
    return f" ({n} with another label)" if n else ""


def superclasses_of(classes: Sequence[str], groups: Mapping[str, str]) -> tuple[str, ...]:
    """The superclass of each class, in the order of the classes.

    Parameters
    ----------
    classes : sequence of str
    groups : mapping of str to str
        The superclass of each class, by its name.

    Raises
    ------
    TaskError
        If a class has none, or one is named that is not among the classes.

    Examples
    --------
    >>> superclasses_of(["maple", "train"], {"train": "vehicle", "maple": "tree"})
    ('tree', 'vehicle')
    """
    missing, unknown = sorted(set(classes) - set(groups)), sorted(set(groups) - set(classes))
    if missing:
        raise TaskError(
            f"superclasses: none for {len(missing)} of {len(classes)} classes, such as "
            f"{missing[0]!r}; give every class one"
        )
    if unknown:
        raise TaskError(
            f"superclasses: of {len(unknown)} classes that the images do not have, such as "
            f"{unknown[0]!r}; expected {classes[0]!r} and the other names of classes"
        )
    wrong = [group for group in groups.values() if not isinstance(group, str) or not group]
    if wrong:
        raise TaskError(f"superclasses: {wrong[0]!r}, expected names")
    return tuple(groups[name] for name in classes)


def balanced_indices(labels: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Sorted indices of `n` random items, as evenly over the classes as they allow.

    Parameters
    ----------
    labels : (m,) int64
    n : int
        Number of items to choose, 0 to m.
    seed : int

    Returns
    -------
    (n,) int64
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    # Deal out one item of each class, then a second one of each, and so on.
    by_class = np.argsort(shuffled, kind="stable")
    _, first, counts = np.unique(shuffled[by_class], return_index=True, return_counts=True)
    place_in_class = np.empty(len(labels), np.int64)
    place_in_class[by_class] = np.arange(len(labels)) - np.repeat(first, counts)
    return np.sort(order[np.argsort(place_in_class, kind="stable")[:n]])


def _check_images(field: str, images: NDArray) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise TaskError(
            f"{field}: shape {images.shape}, expected (n, channels, height, width), at least one "
            "image, 1 or 3 channels; grey images need an axis of length 1"
        )
    if images.dtype != np.uint8:
        raise TaskError(f"{field}: type {images.dtype}, expected uint8, 0 for black, 255 for white")


def _check_labels(field: str, labels: NDArray, n_images: int, n_classes: int) -> None:
    if labels.shape != (n_images,):
        raise TaskError(
            f"{field}: shape {labels.shape}, expected ({n_images},), one label for each image"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TaskError(f"{field}: type {labels.dtype}, expected integers, an index into classes")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise TaskError(
            f"{field}: values from {labels.min()} to {labels.max()}, expected 0 to "
            f"{n_classes - 1} for {n_classes} classes"
        )
