from __future__ import annotations

import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regularized_training.batches import AugmentConfig, augment, batches, to_float
from regularized_training.image_files import luma, read_image_folder, read_torchvision
from regularized_training.tasks import ImageTask, TaskError, balanced_indices

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


@pytest.mark.parametrize("top", ["", "./", "pictures/", "a/b/"])
@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_archive_equals_its_folder(folder: Path, kind: str, top: str) -> None:
    expected = read_image_folder(folder, grey=True)
    assert_same(read_image_folder(pack(folder, kind, top), grey=True), expected)


def test_val_is_read_where_there_is_no_test(folder: Path, tmp_path: Path) -> None:
    other = write_images(tmp_path / "with_val", test="val")
    assert_same(read_image_folder(other, grey=True), read_image_folder(folder, grey=True))


def test_grey_is_the_luma_of_pillow(folder: Path) -> None:
    grey, colour = (read_image_folder(folder, grey=g) for g in (True, False))
    np.testing.assert_array_equal(grey.train_images, luma(colour.train_images))


def test_other_files_are_passed_over(folder: Path) -> None:
    expected = read_image_folder(folder, grey=True)
    (folder / "train" / "boxes.txt").write_text("0 0 1 1")
    (folder / "train" / "cat" / "boxes.txt").write_text("0 0 1 1")
    (folder / "train" / "cat" / "._0.png").write_bytes(b"left by macOS")
    (folder / "cover.png").write_bytes(b"not below a class")
    assert_same(read_image_folder(folder, grey=True), expected)


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
        write(top / "val" / "images" / file, shades[name])
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


def test_torchvision_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="CIFAR10: not found.*download=True"):
        read_torchvision("CIFAR10", tmp_path, grey=True)


# -- ImageTask -----------------------------------------------------------------------------


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
    assert_same(subset, small_digits.subset(105, None, seed=3))
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


# -- batches -------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
def test_augmentation_makes_all_crops_and_only_those(flip: bool) -> None:
    padding, size = 2, 5
    image = np.random.default_rng(0).integers(0, 256, (3, size, size + 1)).astype(np.uint8)
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
    shifts = range(2 * padding + 1)
    crops = [padded[:, y : y + size, x : x + size + 1] for y in shifts for x in shifts]
    if flip:
        crops += [crop[:, :, ::-1] for crop in crops]
    rng = torch.Generator().manual_seed(0)
    copies = torch.from_numpy(image).expand(1000, -1, -1, -1)
    made = augment(copies, rng, AugmentConfig(padding=padding, flip=flip))
    assert {m.numpy().tobytes() for m in made} == {crop.tobytes() for crop in crops}


def test_augmentation_keeps_images_apart_and_is_decided_by_its_generator() -> None:
    images = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 6, 6)
    config = AugmentConfig()
    made = [augment(images, torch.Generator().manual_seed(s), config) for s in (0, 0)]
    assert torch.equal(made[0], images)  # of one shade each, so any crop is the image itself
    ramp = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(8, -1, -1, -1)
    a, b, c = (augment(ramp, torch.Generator().manual_seed(s), config) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_no_padding_and_no_flip_leave_images_as_they_are() -> None:
    images = torch.randint(0, 256, (4, 3, 6, 7), dtype=torch.uint8)
    config = AugmentConfig(padding=0, flip=False)
    assert torch.equal(augment(images, torch.Generator(), config), images)


def test_padding_beyond_the_reflection_is_refused() -> None:
    images = torch.zeros(2, 1, 4, 9, dtype=torch.uint8)
    with pytest.raises(ValueError, match="padding: 4, expected 0 to 3"):
        augment(images, torch.Generator(), AugmentConfig(padding=4))


def test_an_epoch_shows_no_image_twice_in_batches_of_one_size() -> None:
    drawn = list(batches(23, 5, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in drawn] == [5, 5, 5, 5]
    assert len(torch.cat(drawn).unique()) == 20
    assert [len(batch) for batch in batches(3, 5, torch.Generator())] == [3]


def test_bytes_become_floats_from_zero_to_one() -> None:
    images = torch.tensor([[0, 51], [255, 102]], dtype=torch.uint8).expand(2, 3, 2, 2)
    floats = to_float(images)
    torch.testing.assert_close(floats[0, 0], torch.tensor([[0.0, 0.2], [1.0, 0.4]]))
    assert floats.is_contiguous(memory_format=torch.channels_last)


# -- label corruption ----------------------------------------------------------------------


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
