"""Images of classes from folders, archives, torchvision and scikit-learn, read once as bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regularized_training.tasks.image_task import (
    ImageTask,
    TaskError,
    balanced_indices,
    superclasses_of,
    without_test_images,
)

TorchvisionName = Literal["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "SVHN"]

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
ANNOTATIONS = "val_annotations.txt"  # of Tiny ImageNet
SUPERCLASSES = "superclasses.json"
SPLIT_FOLDERS = ("train", "test", "val")  # `val` is read as the test images where `test` is missing


def read_image_folder(
    path: str | Path,
    *,
    grey: bool,
    name: str | None = None,
    size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImageTask:
    """Read ``{train,test}/<class>/*`` from a folder, a tar file or a zip file.

    Archives are read in one pass and nothing is written to disk. A folder above ``train`` and
    ``test`` is tolerated, ``val`` is read where there is no ``test``, and files whose names are
    not those of images are passed over. Images are ordered by their path, classes by name, so a
    folder and an archive of it give the same task. Training images with the pixels of a test image
    are left out, and a warning counts them.

    Tiny ImageNet is read as it comes: its ``val`` has no folders of classes but a list of them,
    and stands for ``test``, whose classes are secret. A file ``superclasses.json`` beside the
    folders gives the superclass of each class.

    Parameters
    ----------
    path : path
        A folder, ``.tar`` (also ``.gz``, ``.bz2``, ``.xz``) or ``.zip``.
    grey : bool
        Read one channel, ITU-R 601 luma, instead of three.
    name : str, optional
        Name of the task; by default that of the file.
    size : int, optional
        Crop each image centrally to a square and resize it to this many pixels a side.
    progress : callable, optional
        Called with the number of images read so far.

    Raises
    ------
    FileNotFoundError
        If `path` is missing.
    TaskError
        If it holds no such folders, an image cannot be decoded, sizes differ or the classes of
        the train and test images differ.
    """
    path = Path(path)
    found: dict[str, list[tuple[tuple[str, ...], NDArray[np.uint8]]]] = {}
    class_of: dict[str, str] = {}  # of images in val, by name, where a list says so
    groups: tuple[bytes, Path] | None = None
    tops = set()
    n_read = 0
    for parts, data in _members(path):
        if parts[-1] == ANNOTATIONS:
            class_of = _annotated(data, path.joinpath(*parts))
            continue
        if parts[-1] == SUPERCLASSES:
            groups = data, path.joinpath(*parts)
            continue
        split_at = next((i for i, part in enumerate(parts) if part in SPLIT_FOLDERS), len(parts))
        if len(parts) < split_at + 3:  # train/<class>/<file> at least
            continue
        tops.add(parts[:split_at])
        pixels = _decode(data, path.joinpath(*parts), grey, size)
        found.setdefault(parts[split_at], []).append((parts[split_at + 1 :], pixels))
        n_read += 1
        if progress is not None:
            progress(n_read)
    listed = bool(class_of) and "val" in found
    if listed:
        found["val"] = [
            ((class_of.get(below[-1], below[0]), below[-1]), pixels)
            for below, pixels in found["val"]
        ]
    test = "val" if listed or "test" not in found else "test"
    for split in ("train", test):
        if split not in found:
            raise TaskError(f"{path}: no images below {split}/<class>/, expected train and test")
    if len(tops) > 1:
        places = ", ".join(sorted("/".join(top) or "." for top in tops))
        raise TaskError(f"{path}: several train or test folders, in {places}; expected one set")
    classes = tuple(sorted({below[0] for below, _ in found["train"]}))
    missing = {below[0] for below, _ in found[test]} ^ set(classes)
    if missing:
        raise TaskError(
            f"{path}: {len(missing)} classes, such as {min(missing)!r}, are only in one of train "
            f"and {test}; expected the same classes in both"
        )
    train_images, train_labels = _stack(found["train"], classes, f"{path}/train")
    test_images, test_labels = _stack(found[test], classes, f"{path}/{test}")
    task = ImageTask(
        name=name or path.name.split(".")[0],
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        classes=classes,
        superclasses=read_superclasses(*groups, classes) if groups else (),
    )
    return _without_test_images(task)


def read_superclasses(content: bytes, file: Path | str, classes: Sequence[str]) -> tuple[str, ...]:
    """The superclass of each class, in the order of the classes, from a JSON object of names.

    Raises
    ------
    TaskError
        If it is none or does not fit the classes; names `file`.
    """
    try:
        groups = json.loads(content)
    except ValueError as error:
        raise TaskError(f"{file}: not JSON ({error})") from error
    if not isinstance(groups, dict) or not groups:
        raise TaskError(f'{file}: expected an object of names, such as {{"maple": "trees"}}')
    try:
        return superclasses_of(classes, groups)
    except TaskError as error:
        raise TaskError(f"{file}: {error}") from error


def read_torchvision(
    name: TorchvisionName, root: str | Path, *, grey: bool, download: bool = False
) -> ImageTask:
    """Read one of torchvision's sets of small images.

    Parameters
    ----------
    name : {"CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "SVHN"}
    root : path
        Where torchvision keeps it.
    grey : bool
        Convert colour to ITU-R 601 luma. MNIST and FashionMNIST have one channel either way.
    download : bool
        Fetch it where it is missing.

    Raises
    ------
    FileNotFoundError
        If it is not below `root` and was not to be, or could not be, downloaded.
    """
    from torchvision import datasets  # half a second to import, and seldom needed

    if name not in get_args(TorchvisionName):
        raise TaskError(f"name: {name!r}, expected one of {', '.join(get_args(TorchvisionName))}")
    make = getattr(datasets, name)
    sets = []
    for train in (True, False):
        chosen = {"split": "train" if train else "test"} if name == "SVHN" else {"train": train}
        try:
            sets.append(make(str(root), download=download, **chosen))
        except (RuntimeError, OSError) as error:
            remedy = "the download failed" if download else "put it there or pass download=True"
            raise FileNotFoundError(f"{name}: not found in {root}; {remedy} ({error})") from error
    images, labels = zip(*(_torchvision_arrays(found) for found in sets), strict=True)
    if grey:
        images = tuple(luma(part) for part in images)
    task = ImageTask(
        name=f"{name.lower()}-grey" if grey else name.lower(),
        train_images=images[0],
        train_labels=labels[0],
        test_images=images[1],
        test_labels=labels[1],
        classes=tuple(getattr(sets[0], "classes", "0123456789")),  # SVHN does not name its digits
    )
    return _without_test_images(task)


def digits(size: int = 32) -> ImageTask:
    """Handwritten digits that come with scikit-learn: 1,297 train and 500 test images.

    Always available and small enough to learn in seconds. Digits change their meaning when
    mirrored: train on them with ``AugmentConfig(flip=False)``.

    Parameters
    ----------
    size : int
        Pixels a side; the originals have 8.
    """
    from sklearn.datasets import load_digits  # a second to import, and seldom needed

    source = load_digits()
    pixels = np.round(source.images * (255 / 16)).astype(np.uint8)
    resized = [Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC) for p in pixels]
    images = np.stack([np.asarray(image) for image in resized])[:, None]
    labels = source.target.astype(np.int64)
    test = balanced_indices(labels, 500, seed=0)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return ImageTask(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=tuple("0123456789"),
    )


def _without_test_images(task: ImageTask) -> ImageTask:
    """The task without the training images that are test images; warns of how many those were."""
    task, notes = without_test_images(task)
    for note in notes:
        warnings.warn(f"{task.name}: {note}", stacklevel=3)
    return task


def luma(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ITU-R 601 luma, to the bit as Pillow's ``convert("L")`` computes it.

    Parameters
    ----------
    images : (n, 1 or 3, height, width) uint8
        Grey images are returned as they are.

    Returns
    -------
    (n, 1, height, width) uint8
    """
    if images.shape[1] == 1:
        return images
    out = np.empty((len(images), 1, *images.shape[2:]), np.uint8)
    weights = np.array([19595, 38470, 7471], np.uint32)
    for start in range(0, len(images), 1024):  # bounds the memory of the 32-bit copy
        part = np.tensordot(images[start : start + 1024].astype(np.uint32), weights, (1, 0))
        out[start : start + 1024, 0] = (part + 0x8000) >> 16
    return out


def _members(path: Path) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Path and bytes of every image file and list of classes or superclasses, in any order."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected a set of images there")
    if path.is_dir():
        for file in path.rglob("*"):
            parts = file.relative_to(path).parts
            if _is_wanted(parts) and file.is_file():
                yield parts, file.read_bytes()
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    if _is_wanted(parts := _parts(entry)):
                        yield parts, archive.read(entry)
            return
        # One pass, as seeking back in compressed data means decompressing it again. The file is
        # not left to tarfile to decompress: that would take a truncated one for a shorter one.
        with (
            _open_decompressed(path) as decompressed,
            tarfile.open(fileobj=decompressed, mode="r|") as stream,
        ):
            for info in stream:
                parts = _parts(info.name)
                data = stream.extractfile(info) if _is_wanted(parts) else None
                if data is not None:
                    yield parts, data.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error) as error:
        raise TaskError(
            f"{path}: not a complete folder, tar or zip file ({error}); copy or download it again"
        ) from error


def _annotated(data: bytes, file: Path) -> dict[str, str]:
    """Class of each image, from lines of a file's name, its class, and a box."""
    try:
        lines = [line.split("\t") for line in data.decode("utf-8").splitlines() if line.strip()]
        return {fields[0]: fields[1] for fields in lines}
    except (UnicodeDecodeError, IndexError) as error:
        raise TaskError(
            f"{file}: expected lines of an image's name, a tab and its class ({error})"
        ) from error


def _parts(entry: str) -> tuple[str, ...]:
    """Folders and name of an archive's entry."""
    return tuple(part for part in entry.split("/") if part not in ("", "."))


def _open_decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\xfd7zXZ"):
        return lzma.open(path)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if start.startswith(b"BZh"):
        return bz2.open(path)
    return path.open("rb")


def _is_wanted(parts: tuple[str, ...]) -> bool:
    """Whether a path names an image or a list of classes or superclasses, and is not hidden.

    macOS adds hidden ``._name.jpg`` that are no images.
    """
    if not parts or any(part.startswith(".") for part in parts):
        return False
    name = parts[-1]
    return name.lower().endswith(IMAGE_SUFFIXES) or name in (ANNOTATIONS, SUPERCLASSES)


def _decode(data: bytes, member: Path, grey: bool, size: int | None) -> NDArray[np.uint8]:
    """Pixels of an image file, (channels, height, width)."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            image: Image.Image = file.convert("L" if grey else "RGB")
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise TaskError(
            f"{member}: cannot be decoded ({error}); replace or remove this image"
        ) from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _stack(
    images: list[tuple[tuple[str, ...], NDArray[np.uint8]]], classes: tuple[str, ...], place: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images in the order of their paths, and the class of each."""
    images.sort(key=lambda found: found[0])
    sizes = sorted({pixels.shape[1:] for _, pixels in images})
    if len(sizes) > 1:
        raise TaskError(
            f"{place}: images of {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}; pass `size` "
            "to crop and resize all of them to one"
        )
    index = {name: i for i, name in enumerate(classes)}
    labels = np.array([index[below[0]] for below, _ in images], np.int64)
    return np.stack([pixels for _, pixels in images]), labels


def _torchvision_arrays(found: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, channels, height, width) and labels of a torchvision set."""
    images = np.asarray(found.data)
    labels = np.asarray(found.labels if hasattr(found, "labels") else found.targets, np.int64)
    if images.ndim == 3:  # the MNIST family
        images = images[:, None]
    elif images.shape[-1] == 3:  # CIFAR; SVHN has channels first
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images, labels
