"""Image sets as they come: folders, archives, Tiny ImageNet, torchvision, digits."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from predictive_model.importers.archives import ReadingNote
from regularized_training.tasks.image_files import (
    luma,
    read_image_folder,
    read_superclasses,
    read_torchvision,
)
from regularized_training.tasks.image_task import ImageTask, require_no_test_images
from regularized_training.tasks.labelled_task import TaskError

CLASSES = ("cat", "dog", "train")  # the vehicle: CIFAR-100 has such a class
COUNTS = {"train": 4, "test": 2}


def write_images(folder: Path, test: str = "test") -> Path:
    rng = np.random.default_rng(0)
    for split, n in COUNTS.items():
        for name in CLASSES:
            below = folder / (test if split == "test" else split) / name
            below.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (10, 12, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(below / f"{i}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "pictures")


def pack(folder: Path, kind: str, top: str) -> Path:
    path = folder.with_name(f"packed{kind}")
    if kind == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*"), reverse=True):
                archive.write(file, f"{top}{file.relative_to(folder)}")
    else:
        compression = kind.removeprefix(".tar").removeprefix(".")
        with tarfile.open(path, f"w:{compression}") as tar:  # type: ignore[call-overload]
            for file in sorted(folder.rglob("*"), reverse=True):
                tar.add(file, f"{top}{file.relative_to(folder)}", recursive=False)
    return path


def assert_same(a: ImageTask, b: ImageTask) -> None:
    assert a.classes == b.classes
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


# -- folders and archives ------------------------------------------------------------------


def test_folder_holds_the_pixels_and_classes_that_were_written(folder: Path) -> None:
    task = read_image_folder(folder, grey=False)
    assert task.classes == CLASSES
    assert task.image_shape == (3, 10, 12)
    np.testing.assert_array_equal(task.train_labels, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(task.test_labels, np.repeat([0, 1, 2], 2))
    dog = np.asarray(Image.open(folder / "train" / "dog" / "2.png"))
    np.testing.assert_array_equal(task.train_images[4 + 2].transpose(1, 2, 0), dog)


def test_a_training_image_that_is_a_test_image_in_another_file_type_is_left_out(
    folder: Path,
) -> None:
    whole = read_image_folder(folder, grey=False)
    with Image.open(folder / "test" / "cat" / "1.png") as picture:
        picture.save(folder / "train" / "dog" / "2.bmp")
    (folder / "train" / "dog" / "2.png").unlink()
    message = (
        r"pictures: 1 of 12 training .* test images \(1 with another label\), and are left out"
    )
    with pytest.warns(UserWarning, match=message):
        task = read_image_folder(folder, grey=False)
    np.testing.assert_array_equal(task.train_images, np.delete(whole.train_images, 6, axis=0))
    np.testing.assert_array_equal(task.test_images, whole.test_images)


def test_a_class_all_of_whose_images_are_test_images_can_be_looked_at_alone(folder: Path) -> None:
    for i, test in enumerate(sorted((folder / "test" / "cat").iterdir())):
        for train in sorted((folder / "train" / "cat").iterdir())[i:]:
            train.write_bytes(test.read_bytes())
    with pytest.warns(UserWarning, match="train_images: all those of 'cat' are test images too"):
        task = read_image_folder(folder, grey=False)
    with pytest.raises(TaskError, match="all those of 'cat' are test images too"):
        require_no_test_images(task)


@pytest.mark.parametrize("top", ["", "./", "pictures/", "a/b/"])
@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_archive_equals_its_folder(folder: Path, kind: str, top: str) -> None:
    expected = read_image_folder(folder, grey=True)
    assert_same(read_image_folder(pack(folder, kind, top), grey=True), expected)


def test_images_that_memory_cannot_hold_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = psutil.virtual_memory()._replace(total=3 * 10 * 10 * 12 * 3 - 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(TaskError, match="pictures: the first 10 images take .*`--by-reference`"):
        read_image_folder(folder, grey=False)
    assert len(read_image_folder(folder, grey=True).train_labels) == 12


def test_val_is_read_where_there_is_no_test(folder: Path, tmp_path: Path) -> None:
    other = write_images(tmp_path / "with_val", test="val")
    assert_same(read_image_folder(other, grey=True), read_image_folder(folder, grey=True))


def test_grey_is_the_luma_of_pillow(folder: Path) -> None:
    grey, colour = (read_image_folder(folder, grey=g) for g in (True, False))
    np.testing.assert_array_equal(grey.train_images, luma(colour.train_images))


def test_other_files_are_passed_over_and_counted_if_they_may_have_been_meant(
    folder: Path,
) -> None:
    expected = read_image_folder(folder, grey=True)
    (folder / "train" / "boxes.txt").write_text("0 0 1 1")
    (folder / "train" / "cat" / "boxes.txt").write_text("0 0 1 1")
    (folder / "train" / "cat" / "._0.png").write_bytes(b"left by macOS")
    (folder / "train" / "cat" / "Thumbs.db").write_bytes(b"left by Windows")
    (folder / "train" / "__MACOSX").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReadingNote)
        assert_same(read_image_folder(folder, grey=True), expected)
    (folder / "cover.png").write_bytes(b"not below a class")
    (folder / "train" / "cat" / "7.heic").write_bytes(b"of a telephone")
    (folder / "train" / "cat" / ".7.png").write_bytes(b"hidden")
    (folder / "train" / "dog" / "more.zip").write_bytes(b"an archive within")
    (folder / "train" / "fox.lnk").write_bytes(b"a shortcut of Windows to a class")
    for split in ("train", "test"):
        (folder / split / "fox").mkdir()
    with pytest.warns(ReadingNote) as notes:
        assert_same(read_image_folder(folder, grey=True), expected)
    said = "; ".join(str(note.message) for note in notes)
    for passed_over in (
        "1 (outside {train,test}/CLASS), such as cover.png",
        "1 (hidden), such as train/cat/.7.png",
        "2 (no pictures by their names), such as train/cat/7.heic",
        "1 (archives within, to be unpacked), such as train/dog/more.zip",
    ):
        assert passed_over in said
    assert "2 folders of classes hold no picture, such as test/fox" in said


def test_names_of_any_case_and_kind_of_picture_are_seen(folder: Path) -> None:
    n = len(read_image_folder(folder, grey=True).train_images)
    for name in ("7.PNG", "8.JPEG", "9.jfif", "10.Tif"):
        format = {".PNG": "PNG", ".Tif": "TIFF"}.get(Path(name).suffix, "JPEG")
        Image.new("RGB", (12, 10), "red").save(folder / "train" / "cat" / name, format)
    assert len(read_image_folder(folder, grey=True).train_images) == n + 4


@pytest.mark.parametrize("kind", ["", ".tar", ".zip"])
def test_one_class_in_two_forms_of_unicode_is_one(folder: Path, kind: str) -> None:
    """macOS decomposes names: e and an accent, where others write one letter."""
    (folder / "train" / "cat").rename(folder / "train" / "Café")
    (folder / "test" / "cat").rename(folder / "test" / "Cafe\u0301")
    (folder / "superclasses.json").write_bytes(
        json.dumps({"Cafe\u0301": "a", "dog": "b", "train": "b"}).encode("utf-8-sig")
    )
    task = read_image_folder(pack(folder, kind, "") if kind else folder, grey=True)
    assert task.classes == ("Café", "dog", "train")
    np.testing.assert_array_equal(np.bincount(task.test_labels), [2, 2, 2])
    assert task.superclasses == ("a", "b", "b")


def test_a_class_whose_name_is_not_utf8_is_named(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    for split in ("train", "test"):
        (folder / split / "cat").rename(folder / split / name)
    for source in (folder, pack(folder, ".tar", "")):
        with pytest.raises(TaskError, match=r"class caf\\xe9 .*Latin-1 reads it as 'café'.*conv"):
            read_image_folder(source, grey=True)


def test_classes_that_differ_only_in_case_are_pointed_at(folder: Path) -> None:
    (folder / "test" / "dog").rename(folder / "test" / "Dog")
    with pytest.raises(TaskError, match="2 classes, such as 'Dog'.*in capital or other letters"):
        read_image_folder(folder, grey=True)


def test_classes_and_splits_may_be_links(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    (linked / "train").mkdir(parents=True)
    (linked / "test").symlink_to(folder / "test")
    for name in CLASSES:
        (linked / "train" / name).symlink_to(folder / "train" / name)
    assert_same(read_image_folder(linked, grey=True), read_image_folder(folder, grey=True))


def test_a_picture_that_is_in_icloud_is_named(folder: Path) -> None:
    (folder / "train" / "cat" / ".0.png.icloud").write_bytes(b"bplist00")
    with pytest.raises(TaskError, match=r"train/cat/\.0\.png\.icloud: is in iCloud"):
        read_image_folder(folder, grey=True)


def test_where_there_is_no_image_what_is_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "n01440764.tar").write_bytes(b"")  # as ImageNet comes
    with pytest.raises(TaskError, match=r"found train/n01440764.tar \(archives within, to be unp"):
        read_image_folder(tmp_path, grey=True)


def test_how_pictures_were_read_is_said(folder: Path) -> None:
    deep = np.arange(120, dtype=np.uint16).reshape(10, 12) * 512
    Image.fromarray(deep).save(folder / "train" / "cat" / "0.png")
    with pytest.warns(ReadingNote, match="1 pictures have 16 bits a channel.*cat/0.png"):
        task = read_image_folder(folder, grey=True)
    np.testing.assert_array_equal(task.train_images[0, 0], deep >> 8)


def test_progress_counts_every_image(folder: Path) -> None:
    counts: list[int] = []
    read_image_folder(folder, grey=True, progress=counts.append)
    assert counts == list(range(1, 19))


@pytest.mark.parametrize("kind", ["", ".zip", ".tar.xz"])
def test_unreadable_image_is_named(folder: Path, kind: str) -> None:
    damaged = folder / "test" / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    path = pack(folder, kind, "") if kind else folder
    with pytest.raises(TaskError, match=r"test.dog.1\.png: cannot be decoded"):
        read_image_folder(path, grey=True)


def test_two_sizes_need_a_size(folder: Path) -> None:
    Image.new("RGB", (30, 20)).save(folder / "train" / "cat" / "9.png")
    with pytest.raises(TaskError, match="images of 2 sizes.*pass `size`"):
        read_image_folder(folder, grey=True)
    assert read_image_folder(folder, grey=True, size=8).image_shape == (1, 8, 8)


def test_train_and_test_need_the_same_classes(folder: Path) -> None:
    (folder / "test" / "dog").rename(folder / "test" / "wolf")
    with pytest.raises(TaskError, match="2 classes, such as 'dog'.*same classes in both"):
        read_image_folder(folder, grey=True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_split_is_named(folder: Path, split: str) -> None:
    shutil.rmtree(folder / split)
    with pytest.raises(TaskError, match=f"no images below ({split}|val)/<class>/"):
        read_image_folder(folder, grey=True)


def test_two_sets_in_one_folder_are_refused(folder: Path) -> None:
    shutil.copytree(folder / "train", folder / "more" / "train")
    with pytest.raises(TaskError, match="several train or test folders, in ., more"):
        read_image_folder(folder, grey=True)


@pytest.mark.parametrize("kind", [".zip", ".tar.gz", ".tar.xz"])
def test_truncated_archive_is_not_taken_for_a_smaller_one(folder: Path, kind: str) -> None:
    path = pack(folder, kind, "")
    whole = path.read_bytes()
    for kept in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(TaskError, match="not a complete folder, tar or zip file"):
            read_image_folder(path, grey=True)


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_image_folder(tmp_path / "nowhere", grey=True)


# -- Tiny ImageNet -------------------------------------------------------------------------


def write_tiny_imagenet(top: Path) -> dict[str, str]:
    """As it comes, with a shade of grey for each class; returns the classes of ``val``'s images."""

    def write(file: Path, shade: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), shade).save(file)

    shades = {"n01443537": 40, "n01629819": 120, "n01641577": 200}
    for name, shade in shades.items():
        for i in range(3):
            write(top / "train" / name / "images" / f"{name}_{i}.JPEG", shade + i)
        boxes = "".join(f"{name}_{i}.JPEG\t0\t0\t7\t7\n" for i in range(3))
        (top / "train" / name / f"{name}_boxes.txt").write_text(boxes)
    order = [*shades, *reversed(shades)]
    class_of = {f"val_{i}.JPEG": name for i, name in enumerate(order)}
    for file, name in class_of.items():
        write(top / "val" / "images" / file, shades[name] - 2)
    lines = "".join(f"{file}\t{name}\t0\t32\t44\t62\n" for file, name in class_of.items())
    (top / "val" / "val_annotations.txt").write_text(lines)
    for i in range(4):  # to which nobody has the answers
        write(top / "test" / "images" / f"test_{i}.JPEG", 10)
    (top / "wnids.txt").write_text("\n".join(shades))
    (top / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\n")
    return class_of


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    write_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    return tmp_path / "tiny-imagenet-200"


@pytest.mark.parametrize("with_test", [True, False])
def test_tiny_imagenet_is_tested_by_the_images_whose_classes_are_listed(
    tiny: Path, with_test: bool
) -> None:
    if not with_test:
        shutil.rmtree(tiny / "test")
    task = read_image_folder(tiny, grey=True)
    assert task.classes == ("n01443537", "n01629819", "n01641577")
    shades = np.array([40, 120, 200])
    np.testing.assert_array_equal(task.train_labels, np.repeat([0, 1, 2], 3))
    np.testing.assert_array_equal(np.bincount(task.test_labels), [2, 2, 2])
    for images, labels in (
        (task.train_images, task.train_labels),
        (task.test_images, task.test_labels),
    ):
        assert np.abs(images.mean((1, 2, 3)) - shades[labels]).max() < 5


@pytest.mark.parametrize("top", ["", "tiny-imagenet-200/"])
@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
def test_an_archive_of_tiny_imagenet_equals_its_folder(tiny: Path, kind: str, top: str) -> None:
    expected = read_image_folder(tiny, grey=False)
    assert_same(read_image_folder(pack(tiny, kind, top), grey=False), expected)


def test_a_list_of_classes_beside_folders_of_them_changes_nothing(
    folder: Path, tmp_path: Path
) -> None:
    other = write_images(tmp_path / "with_val", test="val")
    (other / "val" / "val_annotations.txt").write_text("nothing.png\tdog\n")
    assert_same(read_image_folder(other, grey=True), read_image_folder(folder, grey=True))
    (folder / "val_annotations.txt").write_text("nothing.png\tdog\n")
    assert_same(read_image_folder(folder, grey=True), read_image_folder(other, grey=True))


@pytest.mark.parametrize("kind", ["", ".tar"])
@pytest.mark.parametrize(
    "broken", [b"val_0.JPEG n01443537 0 32\n", b"\xff\xfe\x00v", b"val_0.JPEG\tn01443537\nval_1"]
)
def test_a_list_of_classes_that_is_none_is_named(tiny: Path, kind: str, broken: bytes) -> None:
    (tiny / "val" / "val_annotations.txt").write_bytes(broken)
    path = pack(tiny, kind, "") if kind else tiny
    message = r"val_annotations\.txt: expected lines of an image's name, a tab and its class"
    with pytest.raises(TaskError, match=message):
        read_image_folder(path, grey=True)


@pytest.mark.parametrize(
    ("line", "unknown"), [("val_0.JPEG\tn09999999\t0\t0", "n09999999"), ("", "images")]
)
def test_images_listed_under_no_class_that_was_learned_are_refused(
    tiny: Path, line: str, unknown: str
) -> None:
    file = tiny / "val" / "val_annotations.txt"
    rest = file.read_text().splitlines()[1:]
    file.write_text("\n".join([line, *rest]))
    with pytest.raises(TaskError, match=f"1 classes, such as {unknown!r}"):
        read_image_folder(tiny, grey=True)


# -- other sources -------------------------------------------------------------------------


def test_luma_equals_pillow_to_the_bit() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 40)).astype(np.uint8)
    for image, grey in zip(colour, luma(colour), strict=True):
        pillow = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
        np.testing.assert_array_equal(grey[0], pillow)


def test_digits_are_legible(small_digits: ImageTask) -> None:
    assert small_digits.train_images.shape == (1297, 1, 16, 16)
    np.testing.assert_array_equal(np.bincount(small_digits.test_labels), np.full(10, 50))
    # The nearest of ten mean digits is the right one nine times in ten.
    train = small_digits.train_images.reshape(1297, -1).astype(float)
    test = small_digits.test_images.reshape(500, -1).astype(float)
    means = np.stack([train[small_digits.train_labels == k].mean(0) for k in range(10)])
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == small_digits.test_labels).mean() > 0.85


def test_mnist_is_read_from_torchvisions_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    written = {}
    for prefix, n in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        labels = rng.integers(0, 10, n).astype(np.uint8)
        images_header, labels_header = (
            struct.pack(">4i", 2051, n, 28, 28),
            struct.pack(">2i", 2049, n),
        )
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(images_header + images.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(labels_header + labels.tobytes())
        written[prefix] = images, labels
    task = read_torchvision("MNIST", tmp_path, grey=True)
    np.testing.assert_array_equal(task.train_images[:, 0], written["train"][0])
    np.testing.assert_array_equal(task.test_labels, written["t10k"][1])
    assert len(task.classes) == 10


def test_a_web_page_in_place_of_mnist_is_told_from_a_set_that_is_not_there(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        for rest in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            (raw / f"{prefix}-{rest}").write_bytes(b"<!DOCTYPE html><html>Forbidden</html>")
    with pytest.raises(TaskError, match="images-idx3-ubyte: it is a web page"):
        read_torchvision("MNIST", tmp_path, grey=True)
    for file in raw.iterdir():
        file.write_bytes(b"\x01\x02\x03\x04")
    with pytest.raises(TaskError, match="MNIST: what is in .* is incomplete or damaged"):
        read_torchvision("MNIST", tmp_path, grey=True)


def test_torchvision_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="CIFAR10: not found.*download=True"):
        read_torchvision("CIFAR10", tmp_path, grey=True)


# -- superclasses --------------------------------------------------------------------------

GROUPS = {"cat": "animal", "dog": "animal", "train": "vehicle"}


@pytest.mark.parametrize("kind", ["", ".tar", ".zip"])
def test_superclasses_beside_the_images_are_read(folder: Path, kind: str) -> None:
    (folder / "superclasses.json").write_text(json.dumps(GROUPS))
    source = pack(folder, kind, "set/") if kind else folder
    task = read_image_folder(source, grey=True)
    assert task.superclasses == ("animal", "animal", "vehicle")
    assert task.classes == CLASSES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cat": "animal"}, "none for 2 of 3 classes, such as 'dog'"),
        (GROUPS | {"bus": "vehicle"}, "classes that the images do not have, such as 'bus'"),
        (GROUPS | {"cat": 3}, "3, expected names"),
        ([], "expected an object of names"),
    ],
)
def test_superclasses_that_do_not_fit_the_classes_are_refused(
    folder: Path, content: object, message: str
) -> None:
    (folder / "superclasses.json").write_text(json.dumps(content))
    with pytest.raises(TaskError, match=message):
        read_image_folder(folder, grey=True)


def test_a_file_of_superclasses_that_is_not_json_is_named() -> None:
    with pytest.raises(TaskError, match=r"groups\.json: not JSON"):
        read_superclasses(b"cat: animal", "groups.json", CLASSES)
