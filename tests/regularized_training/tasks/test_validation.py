"""The validation part: a tenth by class, the same pictures for good, and none of them elsewhere."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regularized_training.tasks.image_files import read_image_folder
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.validation import validation_indices


def pictures(images: NDArray[np.uint8]) -> set[bytes]:
    return {image.tobytes() for image in images}


def distinct(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (len(labels), 1, 4, 4), dtype=np.uint8)


def test_it_is_a_tenth_of_each_class(small_digits: ImageTask) -> None:
    held_out = validation_indices(small_digits.train_images, small_digits.train_labels)
    found = np.bincount(small_digits.train_labels[held_out])
    there = np.bincount(small_digits.train_labels)
    assert np.abs(found - there / 10).max() <= 0.5


def test_the_order_of_the_images_does_not_matter(small_digits: ImageTask) -> None:
    images, labels = small_digits.train_images, small_digits.train_labels
    order = np.random.default_rng(0).permutation(len(labels))
    first = validation_indices(images, labels)
    again = order[validation_indices(images[order], labels[order])]
    assert np.array_equal(first, np.sort(again))


def test_copies_of_a_picture_are_on_one_side() -> None:
    labels = np.repeat([0, 1], 100)
    images = distinct(labels)
    images[1:200:2] = images[0:200:2]  # each picture twice
    held_out = validation_indices(images, labels)
    assert list(np.bincount(labels[held_out])) == [10, 10]
    rest = np.setdiff1d(np.arange(200), held_out)
    assert not pictures(images[held_out]) & pictures(images[rest])


def test_a_picture_of_two_classes_stays_in_training() -> None:
    labels = np.repeat([0, 1], 20)
    images = distinct(labels)
    images[20:] = images[:20]  # every picture in both
    images[[3, 30]] = distinct(np.zeros(2, np.int64)) // 2
    held_out = validation_indices(images, labels)
    assert set(held_out) <= {3, 10, 23, 30}  # those that one class has alone


def test_rare_classes_have_one_if_they_can_spare_it() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2])
    assert list(labels[validation_indices(distinct(labels), labels)]) == [1, 2]
    alike = np.zeros((6, 1, 4, 4), np.uint8)
    assert not len(validation_indices(alike, labels))


def test_a_folder_and_its_archive_have_the_same(tmp_path: Path) -> None:
    labels = np.arange(80) % 2
    folder = tmp_path / "set"
    for place, (image, label) in enumerate(zip(distinct(labels), labels, strict=True)):
        split = "test" if place < 4 else "train"
        file = folder / split / "ab"[label] / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(file)
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for place, file in enumerate(sorted(folder.rglob("*.png"), reverse=True)):
            content = file.read_bytes()
            parent = file.parent.relative_to(tmp_path)
            member = tarfile.TarInfo(f"{parent}/{place:03}.png")  # in another order
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    one, other = (
        read_image_folder(path, grey=True).with_validation()
        for path in (folder, tmp_path / "set.tar")
    )
    assert not np.array_equal(one.train_images, other.train_images)
    assert one.validation_images is not None and other.validation_images is not None
    assert len(one.validation_images) == 8
    assert pictures(one.validation_images) == pictures(other.validation_images)


def test_it_is_taken_out_of_the_training_images(small_digits: ImageTask) -> None:
    task = small_digits.with_validation()
    assert task.validation_images is not None
    assert not pictures(task.train_images) & pictures(task.validation_images)
    assert len(task.train_images) + len(task.validation_images) == len(small_digits.train_images)
    fewer = task.subset(100, 50)
    assert fewer.validation_images is task.validation_images
    shuffled = task.with_shuffled_labels(1.0)
    assert np.array_equal(shuffled.validation_labels, task.validation_labels)
    with pytest.raises(TaskError, match="taken out already"):
        task.with_validation()


def test_what_has_no_two_pictures_of_a_class_has_none() -> None:
    task = ImageTask(
        name="two",
        train_images=distinct(np.arange(2)),
        train_labels=np.arange(2),
        test_images=distinct(np.arange(2)),
        test_labels=np.arange(2),
        classes=("a", "b"),
    )
    with pytest.raises(TaskError, match="none can be held out; give it more"):
        task.with_validation()
