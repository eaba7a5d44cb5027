"""Objects of the store by their paths: written whole or not at all, and checked when read."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datajoint.errors import MissingExternalFile
from datajoint.hash_registry import compute_hash
from datajoint.storage import StorageBackend

from predictive_model.array_file import ArrayFile, ArrayFileError
from predictive_model.files import whole_path, write_whole
from schemas.local_copies import local_copy

SENT_AT_ONCE = 2**24  # bytes, by each of the client's ten connections
MEND = (
    "run `neuroteach database check`, then `neuroteach import archive` with a backup, or delete "
    "the row and import or compute it again"
)


class StoreError(OSError):
    """An object of the store is missing, damaged or cannot be written; says which and of what."""


def write_object(backend: StorageBackend, path: str, content: bytes | memoryview) -> None:
    """Write an object so that it is there whole or not at all.

    Raises
    ------
    StoreError
        If it could not be written.
    """
    check_path(path)
    try:
        if backend.protocol == "file":
            write_whole(Path(backend._full_path(path)), content)
        else:
            backend.put_buffer(bytes(content), path)
    except Exception as error:  # of a remote store: what its client raises
        raise _cannot_be_written(path, error) from error


def write_parts(
    backend: StorageBackend, path: str, content: Iterable[bytes | memoryview]
) -> dict[str, Any]:
    """Write an object part by part, so that it is there whole or not at all.

    Returns
    -------
    dict
        Its ``size`` and ``sha256``.

    Raises
    ------
    StoreError
        If it could not be written. What goes wrong in making the parts is raised as it is.
    """
    check_path(path)
    target = backend._full_path(path)
    try:
        if backend.protocol == "file":
            with whole_path(Path(target)) as temporary:
                return _write_file(temporary, content)
        folder = Path(backend.spec["stage"])
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part") as file:
            about = _write_file(Path(file.name), content)
            try:
                backend.fs.put_file(file.name, target, chunksize=SENT_AT_ONCE)
            except Exception as error:
                raise _cannot_be_written(path, error) from error
            return about
    except StoreError:
        raise
    except OSError as error:
        raise _cannot_be_written(path, error) from error


def _write_file(path: Path, content: Iterable[bytes | memoryview]) -> dict[str, Any]:
    size, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        for part in content:
            file.write(part)
            digest.update(part)
            size += len(part)
    return {"size": size, "sha256": digest.hexdigest()}


def _cannot_be_written(path: str, error: Exception) -> StoreError:
    return StoreError(f"{describe(path)}: the store cannot be written ({reason_of(error)})")


def reason_of(error: Exception) -> str:
    """What an error says, without number and file."""
    return getattr(error, "strerror", None) or str(error)


def read_object(backend: StorageBackend, stored: Mapping[str, Any]) -> bytes:
    """Content of an object, checked against what its row says of it.

    Raises
    ------
    StoreError
        If it is missing, cannot be read or is not what was written.
    """
    path = stored["path"]
    check_path(path)
    try:
        content = backend.get_buffer(path)
    except Exception as error:
        raise _cannot_be_read(path, error) from error
    if problem := damage(content, stored):
        raise StoreError(f"{describe(path)}: {problem}; {MEND}")
    return content


def _cannot_be_read(path: str, error: Exception) -> StoreError:
    if isinstance(error, FileNotFoundError | MissingExternalFile):
        return StoreError(f"{describe(path)}: the object is missing; {MEND}")
    return StoreError(f"{describe(path)}: the store cannot be read ({reason_of(error)})")


def open_array(backend: StorageBackend, stored: Mapping[str, Any]) -> ArrayFile:
    """File of an array on this machine, compared once with what its row says of it.

    Raises
    ------
    StoreError
        If its object is missing, cannot be read or is not what was written.
    """
    path = stored["path"]
    check_path(path)
    target = backend._full_path(path)
    if backend.protocol == "file":
        return _checked_array(Path(target), stored)

    folder = Path(backend.spec["stage"])
    name = hashlib.sha256(f"{target} {stored.get('sha256')}".encode()).hexdigest()

    def fetch(file: Path) -> None:
        try:
            backend.fs.get_file(target, str(file))
        except Exception as error:
            raise _cannot_be_read(path, error) from error

    try:
        return _checked_array(local_copy(folder, name, fetch), stored)
    except StoreError:  # it may be the copy alone that is damaged
        (folder / name).unlink(missing_ok=True)
        return _checked_array(local_copy(folder, name, fetch), stored)


# Files that were read through in this process: device, number, size and time, and what they hold.
_checked: dict[tuple[int, int, int, int], str] = {}


def _checked_array(file: Path, stored: Mapping[str, Any]) -> ArrayFile:
    path = stored["path"]
    try:
        array = ArrayFile(file)
        stat = array.stat
        known = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
        if "sha256" in stored and known not in _checked:
            _checked[known] = array.digest()
    except ArrayFileError as error:
        raise StoreError(f"{describe(path)}: {error}; {MEND}") from error
    except OSError as error:
        raise _cannot_be_read(path, error) from error
    problem = ""
    if stat.st_size != stored.get("size", stat.st_size):
        problem = f"the object has {stat.st_size} bytes, expected {stored['size']}"
    elif "sha256" in stored and _checked[known] != stored["sha256"]:
        problem = "the object has another checksum than what was written"
    elif list(array.shape) != list(stored["shape"]) or array.dtype != stored["dtype"]:
        problem = f"found {array.dtype} {array.shape}, expected {stored['dtype']} {stored['shape']}"
    if problem:
        raise StoreError(f"{describe(path)}: {problem}; {MEND}")
    return array


def damage(content: bytes, stored: Mapping[str, Any]) -> str:
    """What is wrong with an object's content; empty if it is what its row says."""
    size = stored.get("size")
    if size is not None and len(content) != size:
        return f"the object has {len(content)} bytes, expected {size}"
    if "sha256" in stored and hashlib.sha256(content).hexdigest() != stored["sha256"]:
        return "the object has another checksum than what was written"
    if "hash" in stored and compute_hash(content) != stored["hash"]:
        return "the object has another checksum than what was written"
    return ""


def check_path(path: str) -> None:
    """Refuse a path that leads out of the store.

    Raises
    ------
    StoreError
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts:
        raise StoreError(f"{path!r}: not a path within the store; the row was tampered with")


def describe(path: str) -> str:
    """An object by its path, and the row and column that the path tells of."""
    parts = PurePosixPath(path).parts
    if parts[:1] != ("_schema",) or len(parts) < 4:
        return f"object {path}"
    column = PurePosixPath(path).stem[: -len("_12345678")]  # without what makes the name unique
    return f"{column} of {parts[2]} ({', '.join(parts[3:-1])}), object {path}"
