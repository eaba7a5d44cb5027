"""Image classification tasks whose pictures stay in their files and are read as they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from predictive_model.config import Config
from predictive_model.digest import array_digest, fingerprint
from regularized_training.tasks.labelled_task import LabelledTask, TaskError, without_tested
from regularized_training.tasks.manifest import Manifest
from regularized_training.tasks.validation import validation_by_keys


class PictureShape(Config):
    """What a network sees of pictures that have many sizes.

    Attributes
    ----------
    size : int
        Height and width of the images, in pixels.
    resize : int or None
        Pixels of a test picture's shorter side, of which the central square of `size` is taken; by
        default 8/7 of `size`, as 256 to 224.
    grey : bool
        One channel, ITU-R 601 luma, instead of three.
    """

    size: int = Field(default=224, ge=8, le=4096)
    resize: int | None = Field(default=None, ge=8, le=8192)
    grey: bool = False

    @property
    def shorter_side(self) -> int:
        """`resize`, or its default."""
        return round(self.size * 8 / 7) if self.resize is None else self.resize

    def model_post_init(self, context: object) -> None:
        """Refuse a central square that is larger than the picture."""
        if self.shorter_side < self.size:
            raise ValueError(
                f"resize: {self.resize}, expected at least {self.size}, the size that is cropped"
            )


@dataclass(frozen=True, eq=False)
class PictureTask(LabelledTask):
    """Pictures in files, and the classes to tell apart; as ImageTask, but for the pixels.

    :func:`~regularized_training.tasks.picture_files.find_pictures` makes it, and
    :func:`~regularized_training.tasks.source.image_source` gives its images.

    Parameters
    ----------
    name : str
    folder : Path
        Where the pictures are.
    manifest : Manifest
        Which pictures it has.
    train_pictures, test_pictures : (n,) int64
        Places in the manifest.
    train_labels, test_labels : (n,) int64
        Index into `classes`.
    classes : tuple of str
    superclasses : tuple of str
    shape : PictureShape
    validation_pictures, validation_labels : arrays, optional
        The validation part, once :meth:`with_validation` has taken it out of the training
        pictures. Which it has is decided by the SHA-256 of the files.
    label_sets : mapping of str to (n_train,) int64
        Other labels of the training pictures, by name, which are learned where a training says so.

    Raises
    ------
    TaskError
        If what is given contradicts itself.
    """

    held: ClassVar[str] = "pictures"

    name: str
    folder: Path
    manifest: Manifest = field(repr=False)
    train_pictures: NDArray[np.int64]
    train_labels: NDArray[np.int64]
    test_pictures: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] = ()
    shape: PictureShape = PictureShape()
    validation_pictures: NDArray[np.int64] | None = None
    validation_labels: NDArray[np.int64] | None = None
    label_sets: Mapping[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._check_classes()
        for split in self.splits:
            pictures = np.asarray(getattr(self, f"{split}_pictures"), np.int64)
            if pictures.ndim != 1 or not len(pictures):
                raise TaskError(
                    f"{split}_pictures: shape {pictures.shape}, expected (n,) places, at least one"
                )
            if pictures.min() < 0 or pictures.max() >= len(self.manifest):
                raise TaskError(
                    f"{split}_pictures: values from {pictures.min()} to {pictures.max()}, expected "
                    f"0 to {len(self.manifest) - 1}, a place in the manifest"
                )
            self._check_labels(split, len(pictures))
            object.__setattr__(self, f"{split}_pictures", pictures)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return 1 if self.shape.grey else 3, self.shape.size, self.shape.size

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides which images and labels come out, wherever the folder is."""
        arrays = [
            array_digest(getattr(self, f"{split}_pictures"), getattr(self, f"{split}_labels"))
            for split in self.splits
        ]
        return fingerprint(
            manifest=self.manifest.digest,
            arrays=arrays,
            classes=self.classes,
            shape=[*self.image_shape, self.shape.shorter_side],
        )

    def _validation_indices(self) -> NDArray[np.int64]:
        return validation_by_keys(self.manifest.keys[self.train_pictures], self.train_labels)


def without_test_pictures(task: PictureTask) -> tuple[PictureTask, tuple[str, ...]]:
    """The task without the training pictures that are test pictures too, and notes on equal ones.

    Pictures are equal if their files are: nothing is decoded, so that one that was saved anew is
    not noticed, as it is in an :class:`~regularized_training.tasks.image_task.ImageTask`.

    Raises
    ------
    TaskError
        If a class has no other training pictures.
    """
    keys = task.manifest.keys[np.concatenate([task.test_pictures, task.train_pictures])]
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return without_tested(task, first[group].astype(np.int64), "the file")
