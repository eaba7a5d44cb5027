"""A tree of files, in a folder or in a zip archive, read one file at a time and never unpacked."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from numpy.typing import NDArray

from predictive_model.importers import npy
from predictive_model.recordings.recording import RecordingError

# What file managers leave in folders and archives.
LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


class _Source(Protocol):
    """Where files come from: their sizes by name, and how to open one."""

    path: Path
    sizes: dict[str, int]

    def open(self, name: str) -> BinaryIO: ...


class Tree:
    """Files by their names below the tree's root, with ``/`` between folders."""

    def __init__(self, source: _Source) -> None:
        self._source = source

    @property
    def path(self) -> Path:
        """Of the folder or archive."""
        return self._source.path

    def __contains__(self, name: str) -> bool:
        return name in self._source.sizes

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        folders: dict[str, list[str]] = {}
        for name in sorted(self._source.sizes):
            parent, _, _ = name.rpartition("/")
            folders.setdefault(parent, []).append(name)
        return folders

    def folder(self, name: str) -> list[str]:
        """Names of the files right in a folder, sorted; empty if there is none."""
        return self._folders.get(name, [])

    def below(self, name: str) -> list[str]:
        """Names of the files anywhere below a folder, sorted."""
        return [file for file in sorted(self._source.sizes) if file.startswith(f"{name}/")]

    def header(self, name: str) -> npy.Header:
        """Shape and type of an array file, without its values."""
        with self._open(name) as file:
            return npy.read_header(file, self._source.sizes[name], self.label(name))

    def array(self, name: str) -> NDArray:
        """An array file."""
        with self._open(name) as file:
            return npy.read_array(file, self._source.sizes[name], self.label(name))

    def text(self, name: str, *, at_most: int = 1 << 20) -> str:
        """A short file of text."""
        if self._source.sizes[name] > at_most:
            raise RecordingError(f"{self.label(name)}: longer than {at_most} bytes")
        with self._open(name) as file:
            try:
                return file.read().decode("utf-8")
            except npy.UNREADABLE as error:
                raise RecordingError(f"{self.label(name)}: is damaged ({error})") from error

    def label(self, name: str) -> str:
        """A file's name for messages."""
        return f"{self.path}: {name}"

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[BinaryIO]:
        if name not in self:
            raise FileNotFoundError(f"{self.label(name)}: no such file")
        try:
            file = self._source.open(name)
        except npy.UNREADABLE as error:
            raise RecordingError(f"{self.label(name)}: cannot be opened ({error})") from error
        with file:
            yield file


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        for parent, folders, files in os.walk(path):
            folders[:] = [f for f in folders if not f.startswith((".", "__MACOSX"))]
            for file in files:
                name = (Path(parent) / file).relative_to(path).as_posix()
                if not _is_litter(name):
                    self.sizes[name] = (Path(parent) / file).stat().st_size

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = PurePosixPath(member.filename)
            if "\\" in member.filename or name.is_absolute() or ".." in name.parts:
                raise RecordingError(
                    f"{path}: the archive's member {member.filename!r} points outside it; do not "
                    "trust where it comes from"
                )
            if member.is_dir() or _is_litter(member.filename):
                continue
            if member.filename in self._members:
                raise RecordingError(f"{path}: holds {member.filename!r} twice; pack it again")
            self._members[member.filename] = member
        root = self._root()
        self._members = {
            name.removeprefix(root): m for name, m in self._members.items() if name.startswith(root)
        }
        self.sizes = {name: member.file_size for name, member in self._members.items()}

    def _root(self) -> str:
        """The one folder that everything is packed in, or nothing."""
        tops = {name.partition("/")[0] for name in self._members}
        if "data" in tops or "meta" in tops:
            return ""
        roots = {
            name.partition("/")[0]
            for name in self._members
            if name.partition("/")[2].startswith(("data/", "meta/"))
        }
        if len(roots) > 1:
            raise RecordingError(
                f"{self.path}: holds several trees, {sorted(roots)}; pack one scan in an archive"
            )
        return f"{roots.pop()}/" if roots else ""

    def open(self, name: str) -> BinaryIO:
        return cast("BinaryIO", self._archive.open(self._members[name]))


@contextlib.contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or zip archive. Only names and sizes are read until files are asked for.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    RecordingError
        If it is no archive, a damaged one, or one whose names point outside it.
    """
    if path.is_dir():
        yield Tree(_Folder(path))
        return
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected a Sensorium file tree")
    try:
        archive = zipfile.ZipFile(path)
    except npy.UNREADABLE as error:
        raise RecordingError(
            f"{path}: cannot be read as a zip archive ({error}); copy or download it again"
        ) from error
    with archive:
        yield Tree(_Zip(path, archive))


def _is_litter(name: str) -> bool:
    file = name.rpartition("/")[2]
    return name.startswith(LITTER[0]) or file in LITTER[1:] or file.startswith("._")
