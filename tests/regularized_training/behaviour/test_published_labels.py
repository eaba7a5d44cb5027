"""Labels of people find the images that they are of, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from regularized_training.behaviour.published_labels import (
    label_sets_of_set,
    official_places,
    soft_labels_of_set,
)
from regularized_training.tasks.labelled_task import TaskError

CLASSES = ("cat", "dog", "owl")
OFFICIAL = np.array([2, 0, 1, 0, 2, 1, 1, 0, 2], np.int64)
BY_CLASS = np.sort(OFFICIAL)
COUNTS = 8 * np.eye(3, dtype=np.uint8)[OFFICIAL] + np.arange(9, dtype=np.uint8)[:, None] % 4


def saved(folder: Path, **arrays: NDArray) -> Path:
    np.savez(folder / "people.npz", **arrays)
    return folder / "people.npz"


def test_images_are_found_in_the_same_order_or_within_their_classes() -> None:
    assert official_places(OFFICIAL, OFFICIAL).tolist() == list(range(9))
    places = official_places(OFFICIAL, BY_CLASS, by_class=True)
    assert places.tolist() == [1, 3, 7, 2, 5, 6, 0, 4, 8]
    mixed = np.array([0, 2, 1, 1, 0, 2, 0, 1, 2])
    np.testing.assert_array_equal(OFFICIAL[official_places(OFFICIAL, mixed, by_class=True)], mixed)


def test_another_order_has_to_be_said_and_other_images_are_refused() -> None:
    with pytest.raises(TaskError, match="labels: 6 of 9 are not those .* say so by --by-class"):
        official_places(OFFICIAL, BY_CLASS)
    with pytest.raises(TaskError, match="of 9 images, but the image set has 8"):
        official_places(OFFICIAL, OFFICIAL[:8])
    one_wrong = np.where(np.arange(9) == 4, 0, OFFICIAL)
    with pytest.raises(TaskError, match="1 of 9 .* of class 0 there are 3, in the set 4"):
        official_places(OFFICIAL, one_wrong, by_class=True)


def test_answers_come_in_the_order_of_the_set(tmp_path: Path) -> None:
    file = saved(tmp_path, counts=COUNTS, labels=OFFICIAL, classes=np.array(CLASSES))
    found = soft_labels_of_set(file, OFFICIAL, CLASSES)
    np.testing.assert_array_equal(found.counts, COUNTS)
    found = soft_labels_of_set(file, BY_CLASS, CLASSES, by_class=True)
    np.testing.assert_array_equal(found.counts, COUNTS[[1, 3, 7, 2, 5, 6, 0, 4, 8]])
    np.save(tmp_path / "counts.npy", COUNTS)
    found = soft_labels_of_set(tmp_path / "counts.npy", OFFICIAL, CLASSES)
    np.testing.assert_array_equal(found.labels, OFFICIAL)


def test_answers_of_another_order_are_noticed_by_what_most_people_say(tmp_path: Path) -> None:
    np.save(tmp_path / "counts.npy", COUNTS)
    with pytest.raises(TaskError, match="is the label of 33.3% of the images, expected 90% or m"):
        soft_labels_of_set(tmp_path / "counts.npy", BY_CLASS, CLASSES)
    with pytest.raises(TaskError, match="lacks labels, without which images have no place"):
        file = saved(tmp_path, counts=COUNTS, classes=np.array(CLASSES))
        soft_labels_of_set(file, BY_CLASS, CLASSES, by_class=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": COUNTS[:8]}, "counts of 8 images and 3 classes, but the image set has 9 test"),
        ({"counts": COUNTS[:, :2]}, "of 9 images and 2 classes, but the image set has 9 test im"),
        ({"counts": COUNTS / 9}, "type float64, expected whole numbers"),
        ({"counts": COUNTS * (np.arange(9)[:, None] != 3)}, "1 images have no answer, such as ima"),
        ({"counts": COUNTS.astype(np.int64) - 1}, "some are negative"),
        ({"labels": 2 - OFFICIAL}, "6 of 9 are not those of the image set"),
        ({"classes": np.array(["dog", "cat", "owl"])}, "of the classes dog, cat, owl .*same order"),
    ],
)
def test_answers_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, NDArray], message: str
) -> None:
    given = {"counts": COUNTS, "labels": OFFICIAL, "classes": np.array(CLASSES)}
    with pytest.raises(TaskError, match=message):
        soft_labels_of_set(saved(tmp_path, **given | changes), OFFICIAL, CLASSES)


def test_where_classes_are_matched_their_names_have_to_be_known(tmp_path: Path) -> None:
    file = saved(tmp_path, counts=COUNTS, labels=OFFICIAL)
    with pytest.raises(TaskError, match="of the classes airplane, automobile, bird ..., but the"):
        soft_labels_of_set(file, BY_CLASS, CLASSES, by_class=True)


def test_label_sets_come_in_the_order_of_the_set_by_their_short_names(tmp_path: Path) -> None:
    worst = (OFFICIAL + (np.arange(9) % 2)) % 3
    given = {"clean_label": OFFICIAL, "classes": np.array(CLASSES)}
    file = saved(tmp_path, **given, worse_label=worst, mine=OFFICIAL)
    assert set(label_sets_of_set(file, OFFICIAL, CLASSES)) == {"worst", "mine"}
    found = label_sets_of_set(file, BY_CLASS, CLASSES, by_class=True)
    np.testing.assert_array_equal(found["mine"], BY_CLASS)
    np.testing.assert_array_equal(found["worst"], worst[[1, 3, 7, 2, 5, 6, 0, 4, 8]])
    for arrays, message in (
        ({"worse_label": worst}, "lacks clean_label, the right labels"),
        (given, "no labels beside clean_label"),
        (given | {"worse_label": worst + 1}, "worse_label: values from .* expected 0 to 2"),
        (given | {"worse_label": worst[:8]}, r"worse_label: shape \(8,\), expected \(9,\)"),
    ):
        with pytest.raises(TaskError, match=message):
            label_sets_of_set(saved(tmp_path, **arrays), OFFICIAL, CLASSES)
    (tmp_path / "text.npz").write_text("no array")
    with pytest.raises(TaskError, match=r"text.npz: no .npz or .npy file"):
        label_sets_of_set(tmp_path / "text.npz", OFFICIAL, CLASSES)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, counts=COUNTS, labels=OFFICIAL)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(TaskError, match="no .npz or .npy file"):
        soft_labels_of_set(file, OFFICIAL, CLASSES)
