"""Labelled images from an ``.npz`` file of arrays."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictive_model.file_kinds import why_unreadable
from regularized_training.tasks.image_files import luma
from regularized_training.tasks.image_task import ImageTask, check_images, without_test_images
from regularized_training.tasks.labelled_task import TaskError

NEEDED = ("test_images", "test_labels", "classes")
TRAINING = ("train_images", "train_labels")


def read_image_arrays(file: Path, *, grey: bool = False) -> ImageTask:
    """Read ``test_images``, ``test_labels``, ``classes`` and, if there are any, training images.

    ``test_images`` and ``train_images`` are (n, channels, height, width) uint8, ``test_labels`` and
    ``train_labels`` (n,) index ``classes``, names in their order. Training images with the pixels
    of a test image are left out, and a warning counts them.

    Parameters
    ----------
    file : Path
    grey : bool
        Convert colour to ITU-R 601 luma.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TaskError
        If it cannot be read, lacks an array, or one does not fit.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected arrays (.npz)")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files if name in (*NEEDED, *TRAINING)}
            others = sorted(set(arrays.files) - set(found))
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        why = why_unreadable(file, error, "write it with numpy.savez", expected="a zip")
        raise TaskError(f"{file}: cannot be read as arrays: {why}") from error
    some_of_training = TRAINING if set(TRAINING) & set(found) else ()
    if missing := [name for name in (*NEEDED, *some_of_training) if name not in found]:
        raise TaskError(
            f"{file}: no array {missing[0]}, expected {', '.join(NEEDED)} and perhaps "
            f"{' and '.join(TRAINING)}; found {', '.join([*found, *others])}"
        )
    if found["classes"].ndim != 1 or found["classes"].dtype.kind != "U":
        raise TaskError(
            f"{file}: classes is {found['classes'].dtype} {found['classes'].shape}, expected names "
            "in their order"
        )
    images = found["test_images"]
    check_images("test_images", images)
    none: dict[str, NDArray[Any]] = {
        "train_images": images[:0],
        "train_labels": np.empty(0, np.int64),
    }
    task = ImageTask(
        name=file.stem,
        classes=tuple(map(str, found.pop("classes").tolist())),
        **(none | found),
    )
    if grey:
        task = task._with(train_images=luma(task.train_images), test_images=luma(task.test_images))
    task, notes = without_test_images(task)
    for one in notes:
        warnings.warn(f"{task.name}: {one}", stacklevel=2)
    return task
