"""Read an archive, of which nothing is believed before it was checked."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from pydantic import ValidationError

from pipeline.transfer.earlier import Earlier
from pipeline.transfer.manifest import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    ArchiveError,
    Manifest,
    TableEntry,
    object_name,
    rows_name,
)
from pipeline.transfer.objects import (
    SECTIONS,
    Digest,
    Progress,
    Reference,
    Tally,
    hashed,
    no_progress,
    references_of,
)
from pipeline.transfer.rows import INSTALL, Row, RowError, check_row, key_of, types_of
from predictive_model.file_kinds import why_unreadable
from schemas.model import Column, Kind, Table
from schemas.objects import StoreError, check_path
from schemas.stored import LONGEST_NAME, check_attachment

MOST_MANIFEST = 2**28  # bytes
MOST_LINE = 2**26  # bytes of one row
MOST_RATIO = 1100  # deflate cannot do better
# What zipfile raises for files that are not what they should be.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    ValueError,
)


class _Entry:
    """Content of an entry; that it cannot be read is always the same kind of error."""

    def __init__(self, file: IO[bytes], damaged: Callable[[Exception], ArchiveError]) -> None:
        self._file, self._damaged = file, damaged

    def __enter__(self) -> _Entry:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes."""
        try:
            return self._file.read(size)
        except _UNREADABLE as error:
            raise self._damaged(error) from error

    def readline(self, size: int = -1) -> bytes:
        """Up to the end of the line, at most ``size`` bytes of it."""
        try:
            return self._file.readline(size)
        except _UNREADABLE as error:
            raise self._damaged(error) from error


class Archive:
    """An archive that is open to be read; every name in it is checked, and no content yet.

    Attributes
    ----------
    manifest : Manifest
    earlier : Earlier
        Its rows as today's tables have them.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; expected an archive")
        try:
            self._zip = zipfile.ZipFile(file)
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise ArchiveError(f"{file}: cannot be read ({error.strerror})") from error
            why = why_unreadable(file, "it is cut short", "copy it again", expected="zip archive")
            raise ArchiveError(
                f"{file}: not a ZIP file, or cut short: {why}; expected an archive that "
                "`neuroteach database backup` or `neuroteach export experiment` wrote"
            ) from error
        try:
            self._entries = self._checked_entries()
            self.manifest = self._read_manifest()
            self._compare_names()
            self.earlier = Earlier(self.manifest, self.rows)
        except BaseException:
            self._zip.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _checked_entries(self) -> dict[str, zipfile.ZipInfo]:
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.orig_filename
            mode = info.external_attr >> 16
            if name in entries:
                raise self._error(f"has {name!r:.80} twice")
            if not _is_plain(name) or name != info.filename:
                raise self._error(f"has the entry {name!r:.80}, which leads out of its folder")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise self._error(f"has the entry {name!r:.80}, which is no file")
            if info.flag_bits & 0x1:
                raise self._error(f"has the encrypted entry {name!r:.80}")
            stored = info.compress_type == zipfile.ZIP_STORED
            if not stored and info.compress_type != zipfile.ZIP_DEFLATED:
                raise self._error(f"has the entry {name!r:.80} in an unknown compression")
            if stored and info.compress_size != info.file_size:
                raise self._error(f"has the entry {name!r:.80} with two sizes")
            if info.file_size > MOST_RATIO * info.compress_size:
                raise self._error(f"has the entry {name!r:.80}, which claims an impossible size")
            entries[name] = info
        if sum(info.compress_size for info in entries.values()) > self.file.stat().st_size:
            raise self._error("has entries that overlap")
        return entries

    def _read_manifest(self) -> Manifest:
        info = self._entries.get(MANIFEST)
        if info is None:
            raise self._error(f"has no {MANIFEST}; it is another kind of ZIP file")
        if info.file_size > MOST_MANIFEST:
            raise self._error(f"has a {MANIFEST} of {info.file_size} bytes")
        with self._entry(MANIFEST) as entry:
            content = entry.read()
        try:
            described = json.loads(content)
            version = described["format_version"] if described["format"] == FORMAT else None
        except (ValueError, TypeError, KeyError):
            version = None
        if not isinstance(version, int):
            raise self._error(f"its {MANIFEST} is not that of a {FORMAT}")
        if version > FORMAT_VERSION:
            raise self._error(
                f"is of format {version}, and this neuroteach reads up to {FORMAT_VERSION}; "
                "install a newer one"
            )
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self._error(f"its {MANIFEST}: {where:.80}: {first['msg']}") from error

    def _compare_names(self) -> None:
        manifest = self.manifest
        folders = tuple(f"{section}/{manifest.schema_name}/" for section in SECTIONS)
        for path in manifest.objects:
            try:
                check_path(path)
            except StoreError:
                raise self._error(f"{path!r:.80} leads out of the store") from None
            if not path.startswith(folders):
                raise self._error(f"{path!r:.80} is not a path of schema {manifest.schema_name}")
        sizes = {rows_name(name): table.size for name, table in manifest.tables.items()}
        sizes |= {object_name(path): entry.size for path, entry in manifest.objects.items()}
        if lacking := sorted(set(sizes) - set(self._entries)):
            raise self._error(f"lacks {lacking[0]:.80}")
        if foreign := sorted(set(self._entries) - set(sizes) - {MANIFEST}):
            raise self._error(f"has {foreign[0]!r:.80}, which its {MANIFEST} does not name")
        for name, size in sizes.items():
            if self._entries[name].file_size != size:
                found = self._entries[name].file_size
                raise self._error(f"{name:.80} has {found} bytes, expected {size}")

    def _error(self, problem: str) -> ArchiveError:
        return ArchiveError(f"{self.file}: {problem}; nothing was read from it")

    def _entry(self, name: str) -> _Entry:
        """An entry to be read, whose size and checksum are checked on the way."""

        def damaged(error: Exception) -> ArchiveError:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's
                return self._error(f"{name:.80} cannot be read ({error.strerror})")
            return self._error(f"{name:.80} is damaged ({error})")

        try:
            return _Entry(self._zip.open(self._entries[name]), damaged)
        except _UNREADABLE as error:
            raise damaged(error) from error

    def rows(self, name: str) -> Iterator[Row]:
        """Rows of a table, checked against the manifest when the last one was read."""
        expected = self.manifest.tables[name]
        digest, n = hashlib.sha256(), 0
        with self._entry(rows_name(name)) as file:
            while line := file.readline(MOST_LINE):
                digest.update(line)
                n += 1
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    raise self._error(f"rows/{name:.80}.jsonl: line {n} is not JSON") from None
        if (n, digest.hexdigest()) != (expected.rows, expected.sha256):
            raise self._error(f"rows/{name:.80}.jsonl: not those that were written")

    def object(self, path: str) -> _Entry:
        """An object to be read."""
        return self._entry(object_name(path))

    def verify(self, tables: Sequence[Table], *, on_progress: Progress = no_progress) -> None:
        """Read all of it, and compare it with its manifest and with the tables it is for.

        Raises
        ------
        ArchiveError
            If anything is not as it must be.
        """
        known = {table.name: table for table in tables}
        named: dict[str, Reference] = {}
        for name, entry in self.manifest.tables.items():
            table = known.get(name)
            if table is None:
                if entry.rows:
                    raise self._error(
                        f"has rows of {name:.80}, a table that is not known here; {INSTALL}"
                    )
                continue
            self._check_columns(table, entry)
            named |= self._check_rows(table)
        if set(named) != set(self.manifest.objects):
            odd = sorted(set(named) ^ set(self.manifest.objects))[0]
            raise self._error(f"{odd:.120}: its rows and objects do not belong together")
        tally = Tally("archive", self.manifest.n_bytes, on_progress)
        for path, expected in self.manifest.objects.items():
            with self.object(path) as file:
                digest = hashed(file)
            if (digest.size, digest.sha256) != (expected.size, expected.sha256):
                raise self._error(f"object {path:.120} is not what was written")
            if named[path].is_attachment:
                self._check_attachment(path)
            tally.add(digest.size)

    def _check_attachment(self, path: str) -> None:
        with self.object(path) as file:
            try:
                check_attachment(file.read(LONGEST_NAME))
            except StoreError as error:
                raise self._error(f"object {path:.120}: {error}") from error

    def _check_columns(self, table: Table, entry: TableEntry) -> None:
        key, types, known = self.earlier.key(table), types_of(table), set(Kind)
        odd = set(entry.key) ^ set(key)
        for name, kind in entry.columns.items():
            expected = types.get(name, kind if name in key else None)
            if kind != expected or kind not in known:
                odd.add(name)
        if odd or entry.key != key:
            named = ", ".join(sorted(odd or set(key)))
            raise self._error(
                f"table {table.name} has other columns than here ({named:.200}); {INSTALL}"
            )

    def _check_rows(self, table: Table) -> dict[str, Reference]:
        """Check the rows of a table; returns the objects that they name, by path."""
        named: dict[str, Reference] = {}
        last: set[str] = set()
        written = replace(table, columns=self._columns(table))
        for row in self.rows(table.name):
            try:
                check_row(written, row)
                named |= {reference.path: reference for reference in references_of(written, row)}
            except (RowError, StoreError) as error:
                raise self._error(str(error)) from error
            key = key_of(written, row)
            if key in last:
                raise self._error(f"{table.name} has a row twice")
            last.add(key)
        return named

    def _columns(self, table: Table) -> tuple[Column, ...]:
        """Columns of a table as they were when it was written."""
        key = self.earlier.key(table)
        if key == table.key:
            return table.columns
        kinds = self.manifest.tables[table.name].columns
        return (
            *(Column(name, Kind(kinds[name]), in_key=True) for name in key),
            *(column for column in table.columns if not column.in_key),
        )


def _is_plain(name: str) -> bool:
    """Whether the name of an entry stays below the folder that it is in."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and not PureWindowsPath(name).drive
        and str(path) == name
    )


class ArchiveSource:
    """The rows and objects of an archive that was verified.

    Rows of earlier versions get the checksums that today's have.
    """

    def __init__(self, archive: Archive, tables: Sequence[Table]) -> None:
        self.archive = archive
        self.tables: Sequence[Table] = archive.earlier.tables(tables)

    @property
    def schema(self) -> str:
        """Name of the schema that it was written from."""
        return self.archive.manifest.schema_name

    def rows(self, table: Table) -> Iterator[Row]:
        """Rows of a table by primary key."""
        for row in self.archive.earlier.rows(table):
            for column in table.stored:
                value = row.get(column)
                if isinstance(value, dict) and not {"sha256", "hash"} & set(value):
                    known = self.archive.manifest.objects[value["path"]]
                    row[column] = {**value, "size": known.size, "sha256": known.sha256}
            yield row

    def open(self, path: str) -> _Entry:
        """An object to be read."""
        return self.archive.object(path)

    def digest(self, path: str) -> Digest | None:
        """Digest of an object, or None if it is not there."""
        entry = self.archive.manifest.objects.get(path)
        return None if entry is None else Digest(entry.size, entry.sha256)
