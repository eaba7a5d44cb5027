"""Images of classes from folders, archives, torchvision and scikit-learn, read once as bytes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image, ImageOps

from predictive_model.file_kinds import kind_of
from predictive_model.importers.archives import UnreadableError, read_members
from predictive_model.importers.decoding import PictureError, PictureReader
from predictive_model.text import decoded
from regularized_training.tasks.image_task import ImageTask, without_test_images
from regularized_training.tasks.labelled_files import (
    ANNOTATIONS,
    SUPERCLASSES,
    LabelledFiles,
    Parts,
    annotated,
    arrange,
    composed,
    parts_of,
    printable,
    split_of,
)
from regularized_training.tasks.labelled_task import TaskError, balanced_indices, superclasses_of

TorchvisionName = Literal["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "SVHN"]
# Where torchvision looks below its root, if not in a folder of the set's name; SVHN lies in it.
TORCHVISION_FOLDERS = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "SVHN": "",
}
MOST_OF_MEMORY = 1 / 3  # that images may take: they are copied once


def read_image_folder(
    path: str | Path,
    *,
    grey: bool,
    name: str | None = None,
    size: int | None = None,
    fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    progress: Callable[[int], None] | None = None,
    test_only: bool = False,
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
    fit : callable, optional
        Called with each image, (channels, height, width), in place of `size`; returns it fitted.
    progress : callable, optional
        Called with the number of images read so far.
    test_only : bool
        Read the test images alone, to test networks with that others trained.

    Raises
    ------
    FileNotFoundError
        If `path` is missing.
    TaskError
        If it holds no such folders, an image cannot be decoded, sizes differ, the classes of
        the train and test images differ, or the images take more than a third of the memory.
    """
    path = Path(path)
    choice, reader = LabelledFiles(), PictureReader()
    images: dict[str, dict[Parts, NDArray[np.uint8]]] = {}  # of each split
    class_of: dict[str, str] = {}  # of images in val, by name, where a list says so
    groups: tuple[bytes, Path] | None = None
    tops = set()
    n_read = n_bytes = 0
    room = psutil.virtual_memory().total * MOST_OF_MEMORY
    try:
        for name_, data in read_members(path, choice):
            parts = parts_of(name_)
            if parts[-1] == ANNOTATIONS:
                class_of = annotated(data, path / name_)
            elif parts[-1] == SUPERCLASSES:
                groups = data, path / name_
            else:
                at = split_of(parts)
                if test_only and parts[at] == "train":
                    continue
                tops.add(parts[:at])
                image = reader.read(data, f"{path}/{name_}", "L" if grey else "RGB")
                pixels = as_pixels(image, size)
                pixels = fit(pixels) if fit else pixels
                images.setdefault(parts[at], {})[parts[at + 1 :]] = pixels
                n_read, n_bytes = n_read + 1, n_bytes + pixels.nbytes
                if n_bytes > room:
                    raise TaskError(
                        f"{path}: the first {n_read:,} images take {n_bytes / 1e9:.1f} GB, a third "
                        "of the memory; unpack them to a folder and leave them there "
                        "(`--by-reference`, find_pictures), or give a smaller size"
                    )
                if progress is not None:
                    progress(n_read)
        reader.warn_of_decisions(path)
    except (UnreadableError, PictureError) as error:
        raise TaskError(printable(str(error))) from error
    found = arrange(path, choice, images, tops, class_of, test_only=test_only)
    test_images = stacked(found.test, f"{path}/{found.test_split}")
    train_images = test_images[:0] if test_only else stacked(found.train, f"{path}/train")
    task = ImageTask(
        name=name or path.name.split(".")[0],
        train_images=train_images,
        train_labels=found.train_labels,
        test_images=test_images,
        test_labels=found.test_labels,
        classes=found.classes,
        superclasses=read_superclasses(*groups, found.classes) if groups else (),
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
        groups = json.loads(decoded(content))
    except ValueError as error:
        raise TaskError(f"{file}: not JSON ({error})") from error
    if not isinstance(groups, dict) or not groups:
        raise TaskError(f'{file}: expected an object of names, such as {{"maple": "trees"}}')
    try:
        return superclasses_of(classes, {composed(name): group for name, group in groups.items()})
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
    TaskError
        If what is there is something else, such as a web page.
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
        except Exception as error:  # torchvision raises whatever it met
            raise _no_torchvision_set(name, Path(root), download, error) from error
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
    """The task without the training images that are test images; warns of how many those were.

    With a class that would have no others left it is read as it is, to be looked at: the warning
    says so, and a database refuses it.
    """
    notes: Sequence[str]
    try:
        task, notes = without_test_images(task)
    except TaskError as error:
        notes = [str(error)]
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


def as_pixels(image: Image.Image, size: int | None) -> NDArray[np.uint8]:
    """Pixels of a grey or colour image, (channels, height, width), cropped and resized if asked."""
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def stacked(images: Sequence[NDArray[np.uint8]], place: str) -> NDArray[np.uint8]:
    """Images in one array.

    Raises
    ------
    TaskError
        If their sizes differ; begins with `place`.
    """
    sizes = sorted({pixels.shape[1:] for pixels in images})
    if len(sizes) > 1:
        raise TaskError(
            f"{place}: images of {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}; pass `size` "
            "to crop and resize all of them to one"
        )
    return np.stack(images)


def _no_torchvision_set(
    name: str, root: Path, download: bool, error: Exception
) -> FileNotFoundError | TaskError:
    """Why a set of torchvision cannot be read: another file in its place, damage, or nothing."""
    folder = root / TORCHVISION_FOLDERS.get(name, name)
    files = folder.glob("*.mat") if folder == root else folder.rglob("*")
    found = [file for file in sorted(files) if file.is_file()]
    for file in found:
        if (kind := kind_of(file)) and not kind[0].startswith(("compressed", "a tar", "a MATLAB")):
            return TaskError(f"{file}: it is {kind[0]}; {kind[1]}")
    if not found:
        remedy = "the download failed" if download else "put it there or pass download=True"
        return FileNotFoundError(f"{name}: not found in {root}; {remedy} ({error})")
    return TaskError(
        f"{name}: what is in {folder} is incomplete or damaged ({error}); remove it, and put it "
        "there anew or pass download=True"
    )


def _torchvision_arrays(found: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, channels, height, width) and labels of a torchvision set."""
    images = np.asarray(found.data)
    labels = np.asarray(found.labels if hasattr(found, "labels") else found.targets, np.int64)
    if images.ndim == 3:  # the MNIST family
        images = images[:, None]
    elif images.shape[-1] == 3:  # CIFAR; SVHN has channels first
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images, labels
