"""Which pictures a folder or shards hold, that files are read once, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regularized_training.tasks import picture_files
from regularized_training.tasks.image_files import read_image_folder
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.manifest import Manifest
from regularized_training.tasks.picture_files import find_pictures
from regularized_training.tasks.picture_task import PictureShape, PictureTask
from regularized_training.tasks.source import image_source
from regularized_training.tasks.validation import validation_by_keys
from tests.picture_sets import CLASSES, add, write_pictures, write_shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "few")


def files_of(task: PictureTask, split: str) -> list[str]:
    index = getattr(task, f"{split}_pictures")
    return [task.manifest.place(i).name.rpartition("/")[2] for i in index]


def test_pictures_and_classes_are_those_that_are_read_into_memory(folder: Path) -> None:
    task = find_pictures(folder)
    in_memory = read_image_folder(folder, grey=False, size=16)
    assert (task.name, task.classes) == (in_memory.name, in_memory.classes) == ("few", CLASSES)
    np.testing.assert_array_equal(task.train_labels, in_memory.train_labels)
    np.testing.assert_array_equal(task.test_labels, in_memory.test_labels)
    names = sorted(path.name for path in (folder / "train" / "owl").iterdir())
    assert files_of(task, "train")[-8:] == names


def test_the_manifest_has_size_and_sha256_of_every_file(folder: Path) -> None:
    task = find_pictures(folder)
    for i in (*task.train_pictures, *task.test_pictures):
        place = task.manifest.place(i)
        content = (folder / place.name).read_bytes()
        assert place.size == len(content)
        assert task.manifest.sha256[i].tobytes() == hashlib.sha256(content).digest()


def test_a_manifest_comes_back_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    for task in (find_pictures(folder), find_pictures(write_shards(tmp_path / "s", folder))):
        again = Manifest.from_bytes(task.manifest.to_bytes())
        assert again.digest == task.manifest.digest
        assert [again.place(i) for i in range(len(again))] == [
            task.manifest.place(i) for i in range(len(again))
        ]
        again.check(task.folder)


def test_shards_hold_the_pictures_that_their_folder_holds(folder: Path, tmp_path: Path) -> None:
    as_files = find_pictures(folder, shape=PictureShape(size=16))
    sharded = find_pictures(write_shards(tmp_path / "shards", folder), shape=PictureShape(size=16))
    assert sharded.classes == as_files.classes

    def contents(task: PictureTask) -> set[tuple[bytes, int]]:
        keys = task.manifest.keys[task.train_pictures]
        return set(zip(keys.tolist(), task.train_labels.tolist(), strict=True))

    assert contents(sharded) == contents(as_files)
    seen = [
        {
            image.numpy().tobytes()
            for images, _ in image_source(t).part_batches("test", 4)
            for image in images
        }
        for t in (sharded, as_files)
    ]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 9


def test_numbers_are_names_of_classes_where_shards_have_no_list(
    folder: Path, tmp_path: Path
) -> None:
    shards = write_shards(tmp_path / "shards", folder)
    (shards / "classes.txt").unlink()
    assert find_pictures(shards).classes == ("0", "1", "2")


def test_digests_are_of_the_pictures_and_not_of_where_they_are(
    folder: Path, tmp_path: Path
) -> None:
    first = find_pictures(folder)
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / "few")
    assert find_pictures(copied).digest == first.digest
    assert find_pictures(copied, shape=PictureShape(size=32)).digest != first.digest
    other = write_pictures(tmp_path / "other")
    (other / "train" / "cat" / "cat_1.JPEG").write_bytes(
        (other / "train" / "cat" / "cat_2.JPEG").read_bytes()
    )
    with pytest.warns(UserWarning, match="1 training images have the file of another"):
        assert find_pictures(other).digest != first.digest
    assert first.with_validation().digest != first.digest
    assert first.with_shuffled_labels(0.5).digest != first.digest


def test_what_is_known_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find_pictures(folder)
    (folder / "train" / "cat" / "cat_9.png").write_bytes(
        (folder / "train" / "cat" / "cat_0.png").read_bytes() + b"\0"
    )
    read: list[str] = []
    read_place = picture_files.read_place
    monkeypatch.setattr(
        picture_files, "read_place", lambda f, p: read.append(p.name) or read_place(f, p)
    )
    again = find_pictures(folder, known=first.manifest)
    assert read == ["train/cat/cat_9.png"]
    assert len(again.manifest) == len(first.manifest) + 1


def test_training_pictures_that_are_test_pictures_are_left_out(folder: Path) -> None:
    shutil.copy(folder / "val" / "cat" / "cat_0.png", folder / "train" / "dog" / "a.png")
    with pytest.warns(UserWarning, match=r"few: 1 of 25 .* the file of test .*another label"):
        task = find_pictures(folder)
    assert "a.png" not in files_of(task, "train")
    assert len(task.train_labels) == 24


def test_the_validation_part_is_a_tenth_by_the_files_hashes_in_whatever_order(
    folder: Path, tmp_path: Path
) -> None:
    many = write_pictures(tmp_path / "many", {"train": 12, "val": 1})
    task = find_pictures(many)
    held_out = sorted(files_of(task.with_validation(), "validation"))
    shuffled = np.random.default_rng(0).permutation(len(task.train_labels))
    other = replace(
        task,
        train_pictures=task.train_pictures[shuffled],
        train_labels=task.train_labels[shuffled],
    )
    assert sorted(files_of(other.with_validation(), "validation")) == held_out
    lowest = [
        min(
            task.train_pictures[task.train_labels == i],
            key=lambda p: task.manifest.sha256[p].tobytes(),
        )
        for i in range(3)
    ]
    assert [task.manifest.place(i).name.rpartition("/")[2] for i in lowest] == held_out


def test_hashes_that_end_in_zeros_are_told_apart() -> None:
    hashes = np.zeros((4, 32), np.uint8)
    hashes[:, 0], hashes[[1, 3], 31] = [1, 1, 2, 2], 1
    keys = hashes.view("S32")[:, 0]
    # Were they not, each class would have one picture only, and none held out.
    assert validation_by_keys(keys, np.array([0, 0, 1, 1])).tolist() == [0, 2]


# -- refused -------------------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_pictures(tmp_path / "nowhere")


def test_broken_pictures_are_named_and_counted_before_any_training(folder: Path) -> None:
    for name in ("dog_1.JPEG", "dog_2.JPEG"):
        file = folder / "train" / "dog" / name
        file.write_bytes(file.read_bytes()[:-100])
    (folder / "train" / "owl" / "owl_3.png").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(TaskError, match=r"train/dog/dog_1\.JPEG: cannot be .*; 2 others cannot"):
        find_pictures(folder)


def test_classes_that_differ_between_train_and_val_are_refused(folder: Path) -> None:
    (folder / "val" / "dog").rename(folder / "val" / "Dog")
    with pytest.raises(TaskError, match="2 classes, such as 'Dog', .* train and val; expected"):
        find_pictures(folder)


def test_a_folder_without_test_pictures_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    with pytest.raises(TaskError, match="no images below val/<class>/"):
        find_pictures(folder)


def test_a_moved_folder_and_changed_files_are_refused_when_the_set_is_opened(folder: Path) -> None:
    task = find_pictures(folder)
    task.manifest.check(folder)
    file = folder / "train" / "dog" / "dog_1.JPEG"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(TaskError, match=r"few: 1 of its .* train/dog/dog_1\.JPEG \(.* expected "):
        task.manifest.check(folder)
    shutil.rmtree(folder / "train")
    with pytest.raises(TaskError, match="few: 24 of its files have changed or are missing, such"):
        task.manifest.check(folder)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(TaskError, match="few: no such folder; move it back"):
        task.manifest.check(folder)


def test_a_shard_that_was_cut_short_is_refused_when_the_set_is_opened(
    folder: Path, tmp_path: Path
) -> None:
    shards = write_shards(tmp_path / "shards", folder)
    task = find_pictures(shards)
    shard = shards / "train-001.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    with pytest.raises(TaskError, match=r"shards: 1 of its files .* train-001\.tar \(9,000 bytes"):
        task.manifest.check(shards)
    with pytest.raises(TaskError, match=r"train-001\.tar: not a whole tar file"):
        find_pictures(shards)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("compressed", r"train-000\.tar: not a whole tar file without compression"),
        ("unlabelled", r"train-9\.tar/x\.jpg: has no class; expected x\.cls beside it"),
        ("text", r"train-9\.tar: x\.cls: b'cat', expected the number of a class"),
        ("beyond", r"classes\.txt: 3 names, expected one for each number from 0 to 3"),
        ("split", r"part-9\.tar: of which split is not known"),
        ("names", r"classes\.txt: expected another name in each line"),
    ],
)
def test_shards_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, spoil: str, message: str
) -> None:
    shards = write_shards(tmp_path / "shards", folder)
    if spoil == "compressed":
        shard = shards / "train-000.tar"
        shard.write_bytes(gzip.compress(shard.read_bytes()))
    elif spoil == "names":
        (shards / "classes.txt").write_text("cat\ncat\nowl\n")
    else:
        name = "part-9.tar" if spoil == "split" else "train-9.tar"
        with tarfile.open(shards / name, "w") as tar:
            add(tar, "x.jpg", (folder / "train" / "dog" / "dog_1.JPEG").read_bytes())
            if spoil != "unlabelled":
                add(tar, "x.cls", {"text": b"cat", "beyond": b"3"}.get(spoil, b"1"))
    with pytest.raises(TaskError, match=message):
        find_pictures(shards)


def test_a_centre_that_is_larger_than_the_resized_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="resize: 200, expected at least 224"):
        PictureShape(resize=200)
    assert PictureShape().shorter_side == 256
