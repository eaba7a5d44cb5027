"""Pictures that stay where they are: in which files, at which places, with which hashes."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.archives import UnreadableError, read_file
from regularized_training.tasks.labelled_files import printable
from regularized_training.tasks.labelled_task import TaskError

DIGEST = 32  # bytes of a SHA-256
AT_ONCE = 64  # files that are looked at before the next are asked for: latency counts, not cores
THREADS = 8
STATS = 1024  # files whose sizes are asked for by one thread


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture is: a file, or a part of a tar file that is not compressed.

    Attributes
    ----------
    name : str
        Relative to the folder; in a tar file, that of the member.
    shard : str
        Name of the tar file, relative to the folder; empty for a file of its own.
    offset, size : int
        Of its bytes within the file.
    """

    name: str
    shard: str = ""
    offset: int = 0
    size: int = 0


@dataclass(frozen=True, eq=False)
class Manifest:
    """Which pictures are in a folder, as they were when they were first read.

    Held in a few arrays, not in objects for each picture: 1.2 million of them take 120 MB, and
    processes that are forked share these.

    Attributes
    ----------
    text : (bytes,) uint8
        Names of all pictures, one after the other, in UTF-8.
    ends : (n,) int64
        Where each name ends.
    shards : tuple of str
        Tar files, relative to the folder.
    shard : (n,) int32
        Which tar file a picture is in; -1 for a file of its own.
    offset, size : (n,) int64
        Bytes, within the tar file.
    sha256 : (n, 32) uint8
    """

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]
    shards: tuple[str, ...]
    shard: NDArray[np.int32]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    sha256: NDArray[np.uint8]

    @classmethod
    def of(cls, places: Sequence[Place], digests: Sequence[bytes]) -> Self:
        """From where pictures are and their SHA-256."""
        names = [os.fsencode(place.name) for place in places]
        shards = tuple(sorted({place.shard for place in places} - {""}))
        number = {"": -1} | {name: i for i, name in enumerate(shards)}
        return cls(
            text=np.frombuffer(b"".join(names), np.uint8),
            ends=np.cumsum([len(name) for name in names], dtype=np.int64),
            shards=shards,
            shard=np.array([number[place.shard] for place in places], np.int32),
            offset=np.array([place.offset for place in places], np.int64),
            size=np.array([place.size for place in places], np.int64),
            sha256=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST),
        )

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def keys(self) -> NDArray:
        """(n,) The SHA-256 of each picture's file, to compare files by."""
        return np.ascontiguousarray(self.sha256).view(f"S{DIGEST}")[:, 0]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything here: of names, places and contents, not of the folder."""
        found = hashlib.sha256("\n".join(self.shards).encode("utf-8", "surrogateescape"))
        for name in _ARRAYS:
            found.update(np.ascontiguousarray(getattr(self, name)).data)
        return found.hexdigest()

    def place(self, i: int) -> Place:
        """Where a picture is."""
        start = self.ends[i - 1] if i else 0
        name = os.fsdecode(self.text[start : self.ends[i]].tobytes())
        shard = self.shards[self.shard[i]] if self.shard[i] >= 0 else ""
        return Place(name, shard, int(self.offset[i]), int(self.size[i]))

    def read(self, folder: Path, i: int) -> bytes:
        """Content of a picture's file, which is what it was when it was first read.

        Raises
        ------
        TaskError
            If it is missing or has changed.
        """
        place = self.place(i)
        content = read_place(folder, place)
        found = f"{len(content):,} bytes, expected {place.size:,}"
        if len(content) == place.size:
            if hashlib.sha256(content).digest() == self.sha256[i].tobytes():
                return content
            found = "another SHA-256 than when it was imported"
        raise TaskError(f"{label_of(folder, place)}: has changed: {found}; {_MEND}")

    def check(self, folder: Path) -> None:
        """Refuse a folder whose files are not there or are not of the size that they had.

        What is in them is checked when they are read, so that none is read twice.

        Raises
        ------
        TaskError
            Names the first file, and counts the others.
        """
        if not folder.is_dir():
            raise TaskError(f"{folder}: no such folder; {_MOVED}")
        files = list(self._files())
        parts = [files[start : start + STATS] for start in range(0, len(files), STATS)]
        wrong, first, missing = 0, "", 0
        for faults in in_threads(lambda part: _faults(folder, part), parts):
            for why, gone in faults:
                wrong, missing, first = wrong + 1, missing + gone, first or why
        if wrong:
            raise TaskError(
                f"{folder}: {wrong:,} of its files have changed or are missing, such as {first}; "
                + (_MOVED if missing == wrong else _MEND)
            )

    def _files(self) -> Iterator[tuple[str, int]]:
        """Name and size of each file; of a tar file, the size that it has at least, as negative."""
        least: dict[str, int] = {}
        for i in range(len(self)):
            place = self.place(i)
            if place.shard:
                least[place.shard] = max(least.get(place.shard, 0), place.offset + place.size)
            else:
                yield place.name, place.size
        yield from ((name, -size) for name, size in least.items())

    def to_bytes(self) -> bytes:
        """All of it as one file: an ``.npz`` of its arrays."""
        buffer = io.BytesIO()
        shards = np.frombuffer("\n".join(self.shards).encode("utf-8", "surrogateescape"), np.uint8)
        np.savez(buffer, shards=shards, **{name: getattr(self, name) for name in _ARRAYS})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What :meth:`to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
            shards = os.fsdecode(arrays["shards"].tobytes())
        return cls(shards=tuple(shards.split("\n")) if shards else (), **found)


_ARRAYS = tuple(field.name for field in fields(Manifest) if field.name != "shards")
_MEND = (
    "restore it from where it came from, or import the images as they are now under another name"
)
_MOVED = "move it back, or say where it is now"


def _faults(folder: Path, files: Sequence[tuple[str, int]]) -> list[tuple[str, bool]]:
    """What is wrong with each file that is not as it was, and whether it is gone."""
    found = []
    for name, size in files:
        try:
            there = os.stat(folder / name).st_size
        except OSError as error:
            found.append((f"{printable(name)} ({error.strerror or 'cannot be read'})", True))
            continue
        if there != size and (size >= 0 or there < -size):
            least = " or more" if size < 0 else ""
            why = f"{there:,} bytes, expected {abs(size):,}{least}"
            found.append((f"{printable(name)} ({why})", False))
    return found


def read_place(folder: Path, place: Place) -> bytes:
    """Content of a picture's file.

    Raises
    ------
    TaskError
        If it cannot be read.
    """
    try:
        if not place.shard:
            return read_file(folder / place.name)
        with (folder / place.shard).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), place.size, place.offset)
    except UnreadableError as error:
        raise TaskError(printable(str(error))) from error
    except OSError as error:
        raise TaskError(
            f"{label_of(folder, place)}: cannot be read ({error.strerror}); {_MEND}"
        ) from error


def label_of(folder: Path, place: Place) -> str:
    """A picture's name, for messages."""
    return printable("/".join(filter(None, (str(folder), place.shard, place.name))))


def in_threads(function: Any, items: Sequence[Any]) -> Iterator[Any]:
    """What a function that waits for files says of each item, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(items), AT_ONCE):
            yield from pool.map(function, items[start : start + AT_ONCE])
