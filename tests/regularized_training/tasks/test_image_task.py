"""Tasks: what must fit together, subsets, superclasses and shuffled labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regularized_training.tasks.image_task import (
    ImageTask,
    require_no_test_images,
    without_test_images,
)
from regularized_training.tasks.labelled_task import TaskError, balanced_indices, labels_digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name: empty"),
        ({"classes": ("a", "a")}, "classes: 1 distinct names among 2"),
        ({"train_images": np.zeros((6, 8, 8), np.uint8)}, "train_images: shape"),
        ({"train_images": np.zeros((6, 2, 8, 8), np.uint8)}, "1 or 3 channels"),
        ({"test_images": np.zeros((4, 1, 8, 8), np.float32)}, "test_images: type float32"),
        ({"test_images": np.zeros((4, 1, 9, 8), np.uint8)}, "as in train_images"),
        ({"test_images": np.zeros((0, 1, 8, 8), np.uint8)}, "at least one image"),
        ({"train_labels": np.zeros(5, int)}, r"train_labels: shape \(5,\), expected \(6,\)"),
        ({"test_labels": np.zeros(4)}, "test_labels: type float64"),
        ({"test_labels": np.array([0, 1, 2, 0])}, "values from 0 to 2, expected 0 to 1"),
        ({"superclasses": ("a",)}, "superclasses: 1, expected one for each of the 2 classes"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {
        "name": "toy",
        "train_images": np.zeros((6, 1, 8, 8), np.uint8),
        "train_labels": np.array([0, 1, 0, 1, 0, 1]),
        "test_images": np.zeros((4, 1, 8, 8), np.uint8),
        "test_labels": np.array([0, 1, 0, 1]),
        "classes": ("a", "b"),
    }
    with pytest.raises(TaskError, match=message):
        ImageTask(**{**fields, **change})  # type: ignore[arg-type]


def test_subset_is_balanced_and_decided_by_its_seed(small_digits: ImageTask) -> None:
    subset = small_digits.subset(105, None, seed=3)
    counts = np.bincount(subset.train_labels, minlength=10)
    assert sorted(counts) == [10] * 5 + [11] * 5
    assert len(subset.test_labels) == 500
    again = small_digits.subset(105, None, seed=3)
    assert np.array_equal(subset.train_images, again.train_images)
    assert np.array_equal(subset.train_labels, again.train_labels)
    other = small_digits.subset(105, None, seed=4)
    assert not np.array_equal(subset.train_images, other.train_images)


def test_subset_cannot_be_larger_than_the_set(small_digits: ImageTask) -> None:
    with pytest.raises(TaskError, match="n_train: 2000, expected 1 to 1297"):
        small_digits.subset(2000, None)


def test_a_rare_class_gives_all_it_has() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    chosen = balanced_indices(labels, 43, seed=0)
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [20, 3, 20])
    np.testing.assert_array_equal(balanced_indices(labels, 103, seed=0), np.arange(103))


def test_superclasses_make_a_coarser_task_of_the_same_images(small_digits: ImageTask) -> None:
    parity = tuple("odd" if int(name) % 2 else "even" for name in small_digits.classes)
    coarse = replace(small_digits, superclasses=parity).of_superclasses()
    assert coarse.classes == ("even", "odd")
    assert np.array_equal(coarse.train_labels, small_digits.train_labels % 2)
    assert np.array_equal(coarse.test_labels, small_digits.test_labels % 2)
    assert np.array_equal(coarse.test_images, small_digits.test_images)
    assert coarse.name != small_digits.name
    with pytest.raises(TaskError, match="superclasses: 'digits' has none"):
        small_digits.of_superclasses()


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_shuffled_labels_keep_their_counts_and_leave_the_rest(fraction: float) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2000, 1, 8, 8)).astype(np.uint8)
    labels = np.arange(2000) % 10
    task = ImageTask("x", images, labels, images[:10], labels[:10], tuple("0123456789"))
    shuffled = task.with_shuffled_labels(fraction, seed=1)
    assert np.array_equal(np.bincount(shuffled.train_labels), np.bincount(labels))
    wrong = (shuffled.train_labels != labels).mean()
    # One in ten gets its own label back.
    assert wrong == pytest.approx(0.9 * fraction, abs=0.03)
    assert wrong <= fraction
    assert np.array_equal(shuffled.test_labels, task.test_labels)
    again = task.with_shuffled_labels(fraction, seed=1)
    assert np.array_equal(shuffled.train_labels, again.train_labels)


def test_a_fraction_is_one() -> None:
    images = np.zeros((2, 1, 8, 8), np.uint8)
    task = ImageTask("x", images, np.array([0, 1]), images, np.array([0, 1]), ("a", "b"))
    with pytest.raises(TaskError, match=r"fraction: 1\.5, expected 0 to 1"):
        task.with_shuffled_labels(1.5)


def task_of(train: list[int], test: list[int], train_labels: list[int]) -> ImageTask:
    """Pictures by their numbers; test pictures are of the classes 0 and 1 in turn."""
    pictures = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
    labels = np.array(train_labels), np.arange(len(test)) % 2
    return ImageTask("toy", pictures[train], labels[0], pictures[test], labels[1], ("a", "b"))


def test_no_training_image_is_a_test_image() -> None:
    task = task_of([0, 1, 2, 3, 4, 1], [5, 1, 3], [0, 1, 0, 1, 1, 1])
    with pytest.raises(TaskError, match="3 of 6 training images have .*1 with another.*leave them"):
        require_no_test_images(task)
    clean, notes = without_test_images(task)
    np.testing.assert_array_equal(clean.train_images, task.train_images[[0, 2, 4]])
    np.testing.assert_array_equal(clean.train_labels, [0, 0, 1])
    np.testing.assert_array_equal(clean.test_images, task.test_images)
    assert notes == (
        "3 of 6 training images have the pixels of test images (1 with another label), and are "
        "left out",
    )
    require_no_test_images(clean)


def test_equal_training_images_are_kept_and_those_of_two_labels_counted() -> None:
    task = task_of([0, 1, 0, 1, 2], [5, 6], [0, 1, 0, 0, 1])
    kept, notes = without_test_images(task)
    assert kept is task
    assert notes == (
        "2 training images have the pixels of another training image (1 with another label)",
    )
    assert without_test_images(task_of([0, 1], [2, 3], [0, 1]))[1] == ()


def test_a_class_that_would_have_no_training_image_left_is_named() -> None:
    with pytest.raises(TaskError, match="train_images: all those of 'b' are test images too"):
        without_test_images(task_of([0, 1, 2], [3, 2], [0, 0, 1]))


def test_other_labels_are_learned_of_the_images_that_the_right_ones_choose(
    small_digits: ImageTask,
) -> None:
    right = small_digits.train_labels
    wrong = (right + np.arange(len(right)) % 2) % 10
    task = small_digits.with_label_sets({"people": wrong, "other": right})
    for learned, plain in (
        (task.subset(40, 20), small_digits.subset(40, 20)),
        (task.with_validation(), small_digits.with_validation()),
    ):
        assert np.array_equal(learned.train_images, plain.train_images)
        named = learned.with_labels("people")
        assert np.array_equal(named.test_labels, plain.test_labels)
        if plain.validation_labels is not None:
            assert np.array_equal(named.validation_labels, plain.validation_labels)
        shift = (named.train_labels - plain.train_labels) % 10
        assert set(shift.tolist()) == {0, 1}
    everything = task.with_labels("people")
    assert np.array_equal(everything.train_labels, wrong) and not everything.label_sets
    assert np.array_equal(task.with_labels(None).train_labels, right)


def test_labels_are_known_by_their_name_and_content(small_digits: ImageTask) -> None:
    right = small_digits.train_labels
    task = small_digits.with_label_sets({"people": right, "short": right[:5]})
    assert set(task.knowing("people", labels_digest(right)).label_sets) == {"people"}
    assert task.knowing(None).label_sets == {} and small_digits.knowing(None) is small_digits
    with pytest.raises(TaskError, match="labels: 'worst', but the label sets of .* people, short"):
        task.knowing("worst")
    with pytest.raises(TaskError, match="others than when this training was planned"):
        task.knowing("people", labels_digest(right + 1))
    with pytest.raises(TaskError, match=r"labels short: shape \(5,\), expected"):
        task.with_labels("short")


def test_superclasses_of_other_labels_are_those_of_their_classes() -> None:
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 1, 4, 4)
    labels = np.array([0, 1, 2, 0, 1, 2])
    task = ImageTask("few", images, labels, images[:2] + 100, labels[:2], ("a", "b", "c"))
    task = replace(task, superclasses=("y", "x", "y")).with_label_sets({"people": labels[::-1]})
    assert task.of_superclasses().label_sets["people"].tolist() == [1, 0, 1, 1, 0, 1]
