"""A tree of files, in a folder or in a zip archive, read one file at a time and never unpacked."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from numpy.typing import NDArray

from predictive_model import text
from predictive_model.file_kinds import why_unreadable
from predictive_model.importers import archives, npy
from predictive_model.recordings.recording import RecordingError


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
                content = file.read()
            except npy.UNREADABLE as error:
                raise RecordingError(f"{self.label(name)}: is damaged ({error})") from error
        try:
            return text.decoded(content)
        except ValueError as error:
            raise RecordingError(f"{self.label(name)}: {error}") from error

    def label(self, name: str) -> str:
        """A file's name for messages."""
        return f"{self.path}: {name}"

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[BinaryIO]:
        if name not in self:
            raise FileNotFoundError(f"{self.label(name)}: no such file")
        try:
            file = self._source.open(name)
        except archives.UnreadableError as error:
            raise RecordingError(str(error)) from error
        except npy.UNREADABLE as error:
            raise RecordingError(f"{self.label(name)}: cannot be opened ({error})") from error
        with file:
            yield file


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        for name, file in archives.folder_members(path):
            hidden = any(part.startswith(".") for part in name.split("/")[:-1])
            if not (hidden or name.endswith("/") or archives.is_litter(name)):
                self.sizes[name] = archives.file_size(file)

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        names: set[str] = set()
        for member in archive.infolist():
            name = archives.member_name(member)
            where = PurePosixPath(name)
            if where.is_absolute() or ".." in where.parts or ":" in name.partition("/")[0]:
                raise RecordingError(
                    f"{path}: the archive's member {member.filename!r} points outside it; do not "
                    "trust where it comes from"
                )
            if name in names and not (name.endswith("/") or archives.is_litter(name)):
                raise RecordingError(f"{path}: holds {member.filename!r} twice; pack it again")
            names.add(name)
        self._members = {
            name: member
            for name, member in archives.zip_members(archive, path).items()
            if not (name.endswith("/") or archives.is_litter(name))
        }
        root = self._root()
        self._members = {
            name.removeprefix(root): m for name, m in self._members.items() if name.startswith(root)
        }
        self.sizes = {name: m.file_size if m else 0 for name, m in self._members.items()}

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
        label = f"{self.path}: {name}"
        return cast("BinaryIO", archives.open_zip_member(self._archive, self._members[name], label))


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
    try:
        if path.is_dir():
            yield Tree(_Folder(path))
            return
        with _opened_zip(path) as archive:
            yield Tree(_Zip(path, archive))
    except archives.UnreadableError as error:
        raise RecordingError(str(error)) from error


def _opened_zip(path: Path) -> zipfile.ZipFile:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected a Sensorium file tree")
    try:
        return zipfile.ZipFile(path)
    except npy.UNREADABLE as error:
        why = why_unreadable(path, error, "copy or download it again", expected="zip archive")
        raise RecordingError(f"{path}: cannot be read as a zip archive: {why}") from error
