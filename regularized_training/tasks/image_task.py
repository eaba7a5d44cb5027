"""Image classification tasks: images held in memory as bytes, and the classes to tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import equal_pictures
from regularized_training.tasks.labelled_task import (
    LabelledTask,
    TaskError,
    without_tested,
)
from regularized_training.tasks.validation import validation_indices


@dataclass(frozen=True, eq=False)
class ImageTask(LabelledTask):
    """Images and the classes to tell apart.

    Parameters
    ----------
    name : str
        Name of the set, such as ``cifar10-grey``.
    train_images, test_images : (n, channels, height, width) uint8
        All of one size, with 1 or 3 channels. There may be no training images, where networks are
        only tested that others trained.
    train_labels, test_labels : (n,) int64
        Index into `classes`.
    classes : tuple of str
        Distinct names.
    superclasses : tuple of str
        The superclass of each class, in the order of `classes`; empty where there are none.
    validation_images, validation_labels : arrays, optional
        The validation part, once :meth:`with_validation` has taken it out of the training images.
    label_sets : mapping of str to (n_train,) int64
        Other labels of the training images, by name, which are learned where a training says so.

    Raises
    ------
    TaskError
        If an array has the wrong shape, type or values, or contradicts another.
    """

    held: ClassVar[str] = "images"

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] = ()
    validation_images: NDArray[np.uint8] | None = None
    validation_labels: NDArray[np.int64] | None = None
    label_sets: Mapping[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._check_classes()
        for split in self.splits:
            images = np.ascontiguousarray(getattr(self, f"{split}_images"))
            check_images(f"{split}_images", images, may_be_none=split == "train")
            self._check_labels(split, len(images))
            object.__setattr__(self, f"{split}_images", images)
            if images.shape[1:] != self.train_images.shape[1:]:
                raise TaskError(
                    f"{split}_images: (channels, height, width) is {images.shape[1:]}, expected "
                    f"{self.train_images.shape[1:]} as in train_images"
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        c, h, w = self.train_images.shape[1:]
        return c, h, w

    def _validation_indices(self) -> NDArray[np.int64]:
        return validation_indices(self.train_images, self.train_labels)


def without_test_images(task: ImageTask) -> tuple[ImageTask, tuple[str, ...]]:
    """The task without the training images that are test images too, and notes on equal images.

    Images are equal if their pixels are. The test part, by which networks are compared, stays as it
    is, and so do equal images within the training part.

    Raises
    ------
    TaskError
        If a class has no other training images.
    """
    return without_tested(task, equal_pictures(task.test_images, task.train_images), "the pixels")


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


def check_images(field: str, images: NDArray, *, may_be_none: bool = False) -> None:
    """Refuse images of another shape or type, or none; TaskError begins with the field's name."""
    sizes = images.shape[1:] if may_be_none else images.shape
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in sizes:
        raise TaskError(
            f"{field}: shape {images.shape}, expected (n, channels, height, width), at least one "
            "image, 1 or 3 channels; grey images need an axis of length 1"
        )
    if images.dtype != np.uint8:
        raise TaskError(f"{field}: type {images.dtype}, expected uint8, 0 for black, 255 for white")
