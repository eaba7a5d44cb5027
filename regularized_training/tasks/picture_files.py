"""Which pictures are in a folder, of which class, for sets that are read as they are needed."""

from __future__ import annotations

import os
import re
import tarfile
import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np

from predictive_model.importers.archives import (
    UnreadableError,
    file_size,
    folder_members,
    read_file,
)
from predictive_model.importers.decoding import SUFFIXES, PictureError, PictureReader
from predictive_model.text import decoded
from regularized_training.tasks.image_files import read_superclasses
from regularized_training.tasks.labelled_files import (
    ANNOTATIONS,
    SUPERCLASSES,
    Arranged,
    LabelledFiles,
    Parts,
    annotated,
    arrange,
    composed,
    parts_of,
    printable,
    split_of,
)
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.manifest import Manifest, Place, in_threads, label_of, read_place
from regularized_training.tasks.picture_task import (
    PictureShape,
    PictureTask,
    without_test_pictures,
)

CLASSES = "classes.txt"  # beside shards: names of their classes, in the order of their numbers
TAR_BLOCK = 512
# What a shard's path has to have as a word, to be of a split.
SPLITS = {"train": "train", "training": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "val"
)


def find_pictures(
    folder: str | Path,
    *,
    name: str | None = None,
    shape: PictureShape | None = None,
    known: Manifest | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PictureTask:
    """Find the pictures of a folder, and read each file once for its SHA-256.

    The folder holds ``{train,test}/CLASS/IMAGE``, and what is said of folders by
    :func:`~regularized_training.tasks.image_files.read_image_folder` holds here too, but that equal
    pictures are found by their files. Or it holds shards: tar files that are not compressed, with
    ``train``, ``test`` or ``val`` as a word of their path, such as ``train/000.tar`` or
    ``imagenet-val-000.tar``, in which each ``KEY.jpg`` has a ``KEY.cls`` beside it, the number of
    its class. ``classes.txt`` beside shards has their names, a line for each number.

    Pictures are not decoded where beginning and end of a file tell that it is whole.

    Parameters
    ----------
    folder : path
    name : str, optional
        Name of the task; by default the folder's.
    shape : PictureShape, optional
        What networks see of the pictures.
    known : Manifest, optional
        Files of the same name and size are not read again.
    progress : callable, optional
        Called with the numbers of pictures read so far, and of all.

    Raises
    ------
    FileNotFoundError
        If `folder` is missing.
    TaskError
        If it holds no such files, pictures are damaged, or the classes of train and test differ.

    Examples
    --------
    >>> task = find_pictures("imagenet", shape=PictureShape(size=224))  # doctest: +SKIP
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    choice = LabelledFiles()
    try:
        shards, groups = [], b""
        found: dict[str, dict[Parts, Place]] = {}
        tops: set[Parts] = set()
        class_of: dict[str, str] = {}
        for file_name, file in folder_members(folder):
            if file_name.lower().endswith(".tar"):
                shards.append(file_name)
            elif choice(file_name):
                parts = parts_of(file_name)
                if parts[-1] == ANNOTATIONS:
                    class_of = annotated(read_file(file), file)
                elif parts[-1] == SUPERCLASSES:
                    groups = read_file(file)
                else:
                    at = split_of(parts)
                    tops.add(parts[:at])
                    found.setdefault(parts[at], {})[parts[at + 1 :]] = Place(file_name)
        if shards and not found:
            choice, found, tops = LabelledFiles(), _in_shards(folder, sorted(shards)), {()}
        arranged = arrange(folder, choice, found, tops, class_of)
        del found
        manifest = _read_once(folder, arranged, known, progress)
    except (UnreadableError, PictureError) as error:
        raise TaskError(printable(str(error))) from error
    n_train = len(arranged.train)
    task = PictureTask(
        name=name or folder.name,
        folder=folder,
        manifest=manifest,
        train_pictures=np.arange(n_train),
        train_labels=arranged.train_labels,
        test_pictures=np.arange(n_train, len(manifest)),
        test_labels=arranged.test_labels,
        classes=arranged.classes,
        superclasses=(
            read_superclasses(groups, folder / SUPERCLASSES, arranged.classes) if groups else ()
        ),
        shape=shape or PictureShape(),
    )
    task, notes = without_test_pictures(task)
    for note in notes:
        warnings.warn(f"{task.name}: {note}", stacklevel=2)
    return task


def _read_once(
    folder: Path,
    arranged: Arranged[Place],
    known: Manifest | None,
    progress: Callable[[int, int], None] | None,
) -> Manifest:
    """Read every file, or ask only for its size where it is known, and say what was found."""
    places = arranged.train + arranged.test
    reader = PictureReader()
    recorded = {} if known is None else {known.place(i): i for i in range(len(known))}

    def look(place: Place) -> tuple[int, bytes, str]:
        if known is not None:
            size = place.size if place.shard else file_size(folder / place.name)
            i = recorded.get(Place(place.name, place.shard, place.offset, size))
            if i is not None:
                return size, known.sha256[i].tobytes(), ""
        content = read_place(folder, place)
        try:
            reader.check(content, label_of(folder, place))
        except PictureError as error:
            return 0, b"", str(error)
        return len(content), sha256(content).digest(), ""

    # In the order in which they are on the disk.
    order = sorted(range(len(places)), key=lambda i: (places[i].shard, places[i].offset))
    sizes, digests = [0] * len(places), [b""] * len(places)
    n_broken, first = 0, ""
    looked_at = in_threads(look, [places[i] for i in order])
    for n, (i, (size, digest, broken)) in enumerate(zip(order, looked_at, strict=True), 1):
        sizes[i], digests[i] = size, digest
        if broken:
            n_broken, first = n_broken + 1, first or broken
        if progress is not None:
            progress(n, len(places))
    if n_broken:
        others = f"; {n_broken - 1} others cannot be read either" if n_broken > 1 else ""
        raise TaskError(first + others)
    reader.warn_of_decisions(folder)
    placed = [
        Place(place.name, place.shard, place.offset, size)
        for place, size in zip(places, sizes, strict=True)
    ]
    return Manifest.of(placed, digests)


def _in_shards(folder: Path, shards: list[str]) -> dict[str, dict[Parts, Place]]:
    """Pictures in tar files, by split, class and shard."""
    names = _class_names(folder / CLASSES)
    labelled: dict[str, list[tuple[int, str, Place]]] = {}
    for shard in shards:
        words = re.split(r"[^a-z]+", shard.lower())
        splits = {SPLITS[word] for word in words if word in SPLITS}
        if len(splits) != 1:
            raise TaskError(
                f"{folder / shard}: of which split is not known; expected train, test or val as "
                "one word of its name or folder, such as train-000.tar"
            )
        labelled.setdefault(splits.pop(), []).extend(_of_shard(folder, shard))
    highest = max((label for found in labelled.values() for label, _, _ in found), default=0)
    if names and highest >= len(names):
        raise TaskError(
            f"{folder / CLASSES}: {len(names)} names, expected one for each number from 0 to "
            f"{highest}"
        )
    width = len(str(highest))
    return {
        split: {
            (names[label] if names else f"{label:0{width}d}", place.shard, key): place
            for label, key, place in found
        }
        for split, found in labelled.items()
    }


def _of_shard(folder: Path, shard: str) -> Iterator[tuple[int, str, Place]]:
    """Class, key and place of each picture in a tar file."""
    file = folder / shard
    labels: dict[str, int] = {}
    pictures: dict[str, Place] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for info in archive:
                if not info.isfile():
                    continue
                above, _, base = info.name.rpartition("/")
                stem, _, ending = base.partition(".")
                key = f"{above}/{stem}" if above else stem
                if ending.lower() == "cls":
                    labels[key] = _number(archive, info, f"{file}: {info.name}")
                elif f".{ending.lower()}" in SUFFIXES:
                    pictures[key] = Place(info.name, shard, info.offset_data, info.size)
        with file.open("rb") as opened:
            opened.seek(-TAR_BLOCK, os.SEEK_END)
            if opened.read().strip(b"\0"):
                raise tarfile.ReadError("it lacks the zeros that end a tar file")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise TaskError(
            f"{file}: not a whole tar file without compression ({error}); copy it again, or unpack "
            "it where it is compressed"
        ) from error
    for key, place in pictures.items():
        if key not in labels:
            raise TaskError(
                f"{label_of(folder, place)}: has no class; expected {key}.cls beside it in the "
                "shard, with the number of its class"
            )
        yield labels[key], key, place


def _number(archive: tarfile.TarFile, info: tarfile.TarInfo, label: str) -> int:
    content = cast("tarfile.ExFileObject", archive.extractfile(info)).read()
    if not content.strip().isdigit():
        raise TaskError(f"{label}: {content[:40]!r}, expected the number of a class, 0 or more")
    return int(content)


def _class_names(file: Path) -> list[str]:
    if not file.is_file():
        return []
    try:
        names = [composed(line.strip()) for line in decoded(read_file(file)).splitlines()]
    except ValueError as error:
        raise TaskError(f"{file}: expected a name in each line ({error})") from error
    while names and not names[-1]:
        names.pop()
    if "" in names or len(set(names)) < len(names):
        raise TaskError(f"{file}: expected another name in each line, in the order of the numbers")
    return names
