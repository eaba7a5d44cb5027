"""Labelled images from arrays, and sets of test images alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regularized_training.tasks.image_arrays import read_image_arrays
from regularized_training.tasks.image_files import luma, read_image_folder
from regularized_training.tasks.labelled_task import TaskError
from tests.picture_sets import write_pictures

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 3, 8, 8), np.uint8)
TEST: dict[str, Any] = {
    "test_images": IMAGES,
    "test_labels": np.array([0, 1, 2, 0, 1, 2]),
    "classes": ["cat", "dog", "owl"],
}


def write(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "pets.npz", **arrays)
    return folder / "pets.npz"


def test_test_images_alone_are_a_task(tmp_path: Path) -> None:
    task = read_image_arrays(write(tmp_path, **TEST))
    assert (task.name, task.classes) == ("pets", ("cat", "dog", "owl"))
    np.testing.assert_array_equal(task.test_images, IMAGES)
    assert task.image_shape == (3, 8, 8)
    assert len(task.train_labels) == 0
    grey = read_image_arrays(write(tmp_path, **TEST), grey=True)
    np.testing.assert_array_equal(grey.test_images, luma(IMAGES))
    assert grey.image_shape == (1, 8, 8)
    with pytest.raises(TaskError, match="none can be held out"):
        task.with_validation()


def test_training_images_are_read_without_those_of_the_test(tmp_path: Path) -> None:
    more = RNG.integers(0, 256, (4, 3, 8, 8), np.uint8)
    train = {"train_images": np.concatenate([more, IMAGES[:1]]), "train_labels": [0, 1, 2, 0, 0]}
    with pytest.warns(UserWarning, match="1 of 5 training images have the pixels of test images"):
        task = read_image_arrays(write(tmp_path, **TEST, **train))
    np.testing.assert_array_equal(task.train_images, more)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": np.arange(3)}, r"classes is int64 \(3,\), expected names"),
        ({"classes": ["cat", "dog"]}, "test_labels: values from 0 to 2, expected 0 to 1"),
        ({"test_images": IMAGES.astype(float)}, "test_images: type float64, expected uint8"),
        ({"test_images": IMAGES.transpose(0, 2, 3, 1)}, r"test_images: shape \(6, 8, 8, 3\)"),
        ({"train_images": IMAGES[:2]}, "no array train_labels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        read_image_arrays(write(tmp_path, **(TEST | change)))


def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file; expected arrays"):
        read_image_arrays(tmp_path / "gone.npz")
    (tmp_path / "page.npz").write_text("<html>")
    with pytest.raises(TaskError, match=r"page.npz: cannot be read as arrays"):
        read_image_arrays(tmp_path / "page.npz")
    with pytest.raises(TaskError, match="no array test_labels, .* found test_images, labels"):
        read_image_arrays(write(tmp_path, test_images=IMAGES, labels=[0]))


def test_a_folder_may_have_test_images_alone(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "few")
    whole = read_image_folder(folder, grey=False, size=16)
    alone = read_image_folder(folder, grey=False, size=16, test_only=True)
    np.testing.assert_array_equal(alone.test_images, whole.test_images)
    assert alone.classes == whole.classes
    assert len(alone.train_labels) == 0
    (folder / "train").rename(tmp_path / "elsewhere")
    again = read_image_folder(folder, grey=False, size=16, test_only=True)
    np.testing.assert_array_equal(again.test_images, whole.test_images)
    with pytest.raises(TaskError, match="expected train and test, or the option --test-only"):
        read_image_folder(folder, grey=False, size=16)
