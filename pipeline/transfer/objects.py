"""Objects of the store: named by rows, hashed, copied so that they are whole or absent, listed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import os
import secrets
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np

from pipeline.database.connection import one_line
from pipeline.transfer.rows import Row, described, read_rows
from schemas.model import Table
from schemas.objects import StoreError, check_path

CHUNK = 2**20
THREADS = 4
SECTIONS = ("_schema", "_hash")  # each holds a folder for every schema

T = TypeVar("T")
U = TypeVar("U")

# Called with a step's name, and how much of how much is done.
Progress = Callable[[str, int, int], None]


def no_progress(step: str, done: int, total: int) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Digest:
    """What content is: its size, its SHA-256 and, if asked for, DataJoint's hash of it."""

    size: int
    sha256: str
    hash: str = ""


@dataclass(frozen=True)
class Reference:
    """What a row says of an object; of older rows only a part is known.

    Attributes
    ----------
    path : str
        In the store.
    row, column : str
        That name it, for people.
    size : int or None
    sha256, hash : str or None
    at_least : int
        Bytes of the array that the object holds.
    """

    path: str
    row: str
    column: str
    size: int | None
    sha256: str | None
    hash: str | None
    at_least: int = 0

    @property
    def owner(self) -> str:
        """Row and column."""
        return f"{self.row} {self.column}"

    @property
    def has_checksum(self) -> bool:
        """Whether content can be checked against it."""
        return self.sha256 is not None or self.hash is not None

    @property
    def is_attachment(self) -> bool:
        """Whether it is an attached file, the only kind that is named by DataJoint's hash."""
        return self.hash is not None

    def problem_of_size(self, size: int) -> str:
        """What is wrong with an object of this size, or nothing."""
        if self.size is not None and size != self.size:
            return f"has {size} bytes, expected {self.size}"
        if size < self.at_least:
            return f"has {size} bytes, expected at least {self.at_least}"
        return ""

    def problem(self, found: Digest) -> str:
        """What is wrong with content, or nothing."""
        if problem := self.problem_of_size(found.size):
            return problem
        for known, digest in ((self.sha256, found.sha256), (self.hash, found.hash)):
            if known is not None and known != digest:
                return "has another checksum than what was written"
        return ""

    def agrees_with(self, other: Reference) -> bool:
        """Whether both can be content with one object."""
        if self.owner == other.owner:
            return True
        pairs = (self.sha256, other.sha256), (self.hash, other.hash)
        known = [a == b for a, b in pairs if a is not None and b is not None]
        return bool(known) and all(known)


def references_of(table: Table, row: Row) -> Iterator[Reference]:
    """Objects that a row names.

    Raises
    ------
    StoreError
        If a path leads out of the store.
    """
    for column in table.stored:
        value = row.get(column)
        if not isinstance(value, dict):
            continue
        path, size = value.get("path"), value.get("size")
        sha256, hash_ = value.get("sha256"), value.get("hash")
        texts = all(isinstance(text, str | None) for text in (sha256, hash_))
        if not (isinstance(path, str) and isinstance(size, int | None) and texts):
            raise StoreError(f"{described(table, row)} {column}: names no object of the store")
        check_path(path)
        least = _array_bytes(value)
        yield Reference(path, described(table, row), column, size, sha256, hash_, least)


def references_in(connection: Any, tables: Iterable[Table]) -> Iterator[Reference]:
    """Objects that all rows of some tables name; within a transaction.

    Raises
    ------
    StoreError
        If a path leads out of the store.
    """
    for table in tables:
        if table.stored:
            for row in read_rows(connection, table.restricted({*table.key, *table.stored})):
                yield from references_of(table, row)


MEND = "run `neuroteach database check`, which names all that is wrong"


def missing(reference: Reference) -> StoreError:
    """The error for an object that is not in the store."""
    return StoreError(f"{reference.owner}: the object {reference.path} is missing; {MEND}")


def _array_bytes(value: dict[str, Any]) -> int:
    shape = value.get("shape", [0])
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        return 0
    try:
        return math.prod(shape) * np.dtype(value.get("dtype")).itemsize
    except (TypeError, ValueError, SyntaxError):
        return 0


def with_schema(table: Table, row: Row, old: str, new: str) -> Row:
    """A row whose objects lie in the folder of the schema ``new`` instead of ``old``."""
    if old == new:
        return row
    row = dict(row)
    for column in table.stored:
        value = row.get(column)
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            value = {**value, "path": path_with_schema(value["path"], old, new)}
            if value.get("schema") == old:
                value["schema"] = new
            row[column] = value
    return row


def path_with_schema(path: str, old: str, new: str) -> str:
    """The path that an object has in another schema."""
    parts = path.split("/")
    if len(parts) > 2 and parts[0] in SECTIONS and parts[1] == old:
        parts[1] = new
    return "/".join(parts)


class Readable(Protocol):
    """What can be read a chunk at a time."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class Writable(Protocol):
    """What can be written to."""

    def write(self, content: bytes, /) -> Any:
        """Write all of it."""


class Hashing:
    """Hashes what is read or written, a chunk at a time; ``named`` also as DataJoint does."""

    def __init__(self, *, named: bool = False) -> None:
        self._size, self._sha256 = 0, hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if named else None

    def update(self, chunk: bytes) -> None:
        """Take the next chunk."""
        self._size += len(chunk)
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)

    def digest(self) -> Digest:
        """Of all chunks so far."""
        if self._md5 is None:
            return Digest(self._size, self._sha256.hexdigest())
        # As datajoint.hash_registry.compute_hash, which wants all content at once.
        text = base64.b32encode(self._md5.digest()).decode("ascii").rstrip("=").lower()
        return Digest(self._size, self._sha256.hexdigest(), text)


def hashed(source: Readable, target: Writable | None = None, *, named: bool = False) -> Digest:
    """Digest of all that can be read, copied to ``target`` if there is one."""
    hashing = Hashing(named=named)
    while chunk := source.read(CHUNK):
        hashing.update(chunk)
        if target is not None:
            target.write(chunk)
    return hashing.digest()


@dataclass(frozen=True)
class Listed:
    """An object as the store lists it."""

    size: int
    modified: datetime


class ObjectStore:
    """The objects of a store, a folder or a bucket, by their paths in it.

    Parameters
    ----------
    root : upath.UPath
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self.is_local = root.protocol in ("", "file", "local")

    def open(self, path: str) -> BinaryIO:
        """An object to be read.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        """
        return (self.root / path).open("rb")

    def listed(self, path: str) -> Listed | None:
        """An object as it is now, or None."""
        try:
            return _listed(self.root.fs.info(str((self.root / path).path)))
        except FileNotFoundError:
            return None

    def digest(self, path: str, *, named: bool = False) -> Digest | None:
        """Digest of an object, or None if it is not there."""
        try:
            with self.open(path) as file:
                return hashed(file, named=named)
        except FileNotFoundError:
            return None

    def list_schema(self, schema: str) -> dict[str, Listed]:
        """All objects of a schema, whether rows name them or not."""
        with store_errors():
            sections = [self._list(f"{section}/{schema}") for section in SECTIONS]
        return {path: listed for section in sections for path, listed in section.items()}

    def _list(self, folder: str) -> dict[str, Listed]:
        top = str(self.root.path).rstrip("/")
        try:
            found = self.root.fs.find(f"{top}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        names = {name: name[len(top) + 1 :] for name in found}
        return {
            name: _listed(found[full])
            for full, name in names.items()
            if found[full]["type"] == "file" and name.startswith(f"{folder}/")
        }

    def remove(self, path: str) -> None:
        """Remove an object."""
        (self.root / path).unlink(missing_ok=True)

    def put(self, path: str, source: Readable, reference: Reference) -> Digest:
        """Copy content to a path, where it is whole or absent whatever happens meanwhile.

        Raises
        ------
        StoreError
            If it is not what ``reference`` says, or not what can be read from the store then.
        """
        with self._temporary(path) as temporary:
            with temporary.open("wb") as file:
                written = hashed(source, file, named=reference.hash is not None)
                file.flush()
                os.fsync(file.fileno())
            if problem := reference.problem(written):
                raise StoreError(f"{reference.owner}: the object {reference.path} {problem}")
            if self.is_local:
                os.replace(temporary, self.root / path)
            else:
                self.root.fs.put_file(str(temporary), str((self.root / path).path))
        read_back = self.digest(path)
        if read_back is None or read_back.sha256 != written.sha256:
            raise StoreError(
                f"{reference.owner}: the object {path} was written and is read back as something "
                "else; check the store"
            )
        return written

    @contextlib.contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        """A file to write to first: beside the object, or for a bucket on this machine."""
        if not self.is_local:
            with tempfile.TemporaryDirectory(prefix="neuroteach-") as folder:
                yield Path(folder) / "object"
            return
        final = Path(self.root / path)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.{secrets.token_hex(8)}.part")
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _listed(info: dict[str, Any]) -> Listed:
    modified = info.get("LastModified") or info.get("mtime")
    if isinstance(modified, (int, float)):
        modified = datetime.fromtimestamp(modified, UTC)
    return Listed(int(info["size"]), modified or datetime.now(UTC))


def in_threads(
    function: Callable[[T], U], items: Iterable[T], *, threads: int = THREADS
) -> Iterator[U]:
    """Results in the order of the items; few are computed before they are asked for.

    The first error ends it: what has not begun is not begun.
    """
    waiting: deque[Future[U]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Turn what the clients of remote stores raise into a StoreError."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise StoreError(f"the store does not answer ({one_line(error)})") from error


class Tally:
    """Counts bytes and reports them; a total that proves too small is raised."""

    def __init__(self, step: str, total: int, on_progress: Progress) -> None:
        self.step, self.total, self.done = step, total, 0
        self._report = on_progress
        on_progress(step, 0, total)

    def add(self, n: int) -> None:
        """So much more is done."""
        self.done += n
        self._report(self.step, self.done, max(self.done, self.total))
