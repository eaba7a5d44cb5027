"""Arrays and files in the object store: written whole, with their checksums, and read with care.

Columns are declared by DataJoint's codecs ``<npy@>`` and ``<attach@>``, so that those who read the
tables without this package find DataJoint's own format. Within it they are read and written by the
codecs here, which the headings of these tables name (:data:`CODECS`) and no others: beside what
DataJoint's say, rows hold the size and the SHA-256 of each array's file.

Arrays larger than memory are written in parts (:class:`~predictive_model.array_file.ArrayParts`)
and read by rows (:meth:`StoredArray.rows`).
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datajoint.builtin_codecs.attach import AttachCodec
from datajoint.builtin_codecs.hash import HashCodec
from datajoint.builtin_codecs.npy import NpyCodec, NpyRef
from datajoint.hash_registry import build_hash_path, compute_hash
from datajoint.storage import StorageBackend
from numpy.typing import ArrayLike

from predictive_model.array_file import ArrayFile, ArrayFileError, ArrayParts, row_index
from schemas.objects import (
    MEND,
    StoreError,
    check_path,
    describe,
    open_array,
    read_object,
    reason_of,
    write_object,
    write_parts,
)


@dataclass(frozen=True)
class Attached:
    """A file to be attached: its name and content."""

    name: str
    content: bytes


@contextmanager
def as_file(attached: Attached) -> Iterator[str]:
    """Path of a temporary file with this name and content, for an ``<attach>`` column."""
    with tempfile.TemporaryDirectory(prefix="neuroteach-") as folder:
        path = Path(folder) / attached.name
        path.write_bytes(attached.content)
        yield str(path)


def read_attached(table: Any, column: str) -> bytes:
    """Content of an attached file of the one row of ``table``.

    Raises
    ------
    StoreError
        If its object is missing or damaged.
    """
    config = table.connection._config
    with tempfile.TemporaryDirectory(prefix="neuroteach-") as folder:
        try:
            with config.override(download_path=folder):
                path = Path(table.fetch1(column))
        except StoreError as error:
            key = ", ".join(f"{k}={v}" for k, v in table.fetch1("KEY").items())
            raise StoreError(f"{column} of {table.table_name} ({key}), {error}") from error
        return path.read_bytes()


class StoredArray(NpyRef):
    """An array that is read when it is used, and checked when it is read."""

    _cached: np.ndarray | None
    _file: ArrayFile | None = None

    def load(self, mmap_mode: str | None = None) -> np.ndarray:
        """The array. Memory maps are not checked.

        Raises
        ------
        StoreError
            If its object is missing or is not what was written.
        """
        if mmap_mode is not None:
            check_path(self.path)
            return super().load(mmap_mode)
        if self._cached is None:
            content = read_object(self._backend, self._meta)
            try:
                array = np.load(io.BytesIO(content), allow_pickle=False)
            except ValueError as error:
                raise StoreError(f"{describe(self.path)}: not an array ({error})") from error
            if array.shape != self.shape or array.dtype != self.dtype:
                raise StoreError(
                    f"{describe(self.path)}: found {array.dtype} {array.shape}, expected "
                    f"{self.dtype} {self.shape}"
                )
            self._cached = array
        return self._cached

    def rows(self, index: ArrayLike) -> np.ndarray:
        """Some rows, of an array that need not fit into memory.

        The first time in a process its file is read through and compared with its checksum; an
        object of a remote store is fetched to this machine before. Then rows are read from it.

        Parameters
        ----------
        index : (k,) integers
            In any order, and as often as wanted.

        Returns
        -------
        (k, ...) of the array's type

        Raises
        ------
        StoreError
            If its object is missing or is not what was written.
        IndexError
            If there is no such row.
        """
        if self._cached is not None:
            return self._cached[row_index(index, self.shape[0])]
        if self._file is None:
            self._file = open_array(self._backend, self._meta)
        try:
            return self._file.rows(index)
        except (ArrayFileError, OSError) as error:
            raise StoreError(f"{describe(self.path)}: {reason_of(error)}; {MEND}") from error

    def digest(self) -> str:
        """SHA-256 of its file, as its row says; of an older row without it, of what is read."""
        known = self._meta.get("sha256")
        return str(known) if known else open_array(self._backend, self._meta).digest()


@dataclass(frozen=True)
class Written:
    """An array that is in the store already: what its row has to say of it."""

    about: Mapping[str, Any]


class ArrayCodec(NpyCodec):
    """``<npy@>`` with size and checksum."""

    name = "neuroteach_npy"

    def validate(self, value: Any) -> None:
        """Refuse what is no array, nor parts of one, nor in the store already."""
        if not isinstance(value, ArrayParts | Written):
            super().validate(value)

    def encode(
        self,
        value: Any,
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        store_name: str | None = None,
    ) -> dict[str, Any]:
        """Write the array to the store, part by part; returns what its row says of it."""
        if isinstance(value, Written):
            return dict(value.about)
        schema, table, field, primary_key = self._extract_context(key, context)
        config = self._codec_config(key, context)
        path, _ = self._build_path(
            schema, table, field, primary_key, ext=".npy", store_name=store_name, config=config
        )
        backend = self._get_backend(store_name, config=config)
        about = {"path": path, "store": store_name}
        about |= {"dtype": str(value.dtype), "shape": list(value.shape)}
        if not isinstance(value, ArrayParts) and value.ndim and value.nbytes > LARGE:
            value = ArrayParts(value.shape, value.dtype, [value])
        if isinstance(value, ArrayParts):
            return about | write_parts(backend, path, value.content())
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        write_object(backend, path, buffer.getbuffer())
        return about | {
            "size": buffer.getbuffer().nbytes,
            "sha256": hashlib.sha256(buffer.getbuffer()).hexdigest(),
        }

    def decode(
        self,
        stored: dict[str, Any],
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> StoredArray:
        """The array, not read yet."""
        config = self._codec_config(key, context)
        return StoredArray(stored, self._get_backend(stored.get("store"), config=config))


class ContentCodec(HashCodec):
    """``<hash@>``, safe when several write the same content at the same moment."""

    name = "neuroteach_hash"

    def encode(
        self,
        value: bytes,
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        store_name: str | None = None,
    ) -> dict[str, Any]:
        """Write the bytes to the store; returns what the row says.

        Also if they are there: what is there may be damaged, and is young then, which keeps it from
        being removed before its row is inserted.
        """
        config = self._codec_config(key, context)
        spec = config.get_store_spec(store_name)
        schema = (context or {}).get("schema") or (key or {})["_schema"]
        digest = compute_hash(value)
        path = build_hash_path(
            digest, schema, spec.get("subfolding"), hash_prefix=spec["hash_prefix"]
        )
        write_object(StorageBackend(spec), path, value)
        return {
            "hash": digest,
            "path": path,
            "schema": schema,
            "store": store_name,
            "size": len(value),
        }

    def decode(
        self,
        stored: dict[str, Any],
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> bytes:
        """The bytes.

        Raises
        ------
        StoreError
            If the object is missing or is not what was written.
        """
        config = self._codec_config(key, context)
        return read_object(StorageBackend(config.get_store_spec(stored.get("store"))), stored)


class AttachmentCodec(AttachCodec):
    """``<attach@>``, whose files have plain names.

    An object holds the name of its file, which DataJoint appends to the folder it downloads to.
    """

    name = "neuroteach_attach"

    def get_dtype(self, is_store: bool) -> str:
        """Of what is stored under the file's hash."""
        return f"<{ContentCodec.name}>" if is_store else str(super().get_dtype(is_store))

    def decode(
        self,
        stored: bytes,
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> str:
        """Path of the file, written to DataJoint's download folder.

        Raises
        ------
        StoreError
            If its name would lead out of that folder.
        """
        check_attachment(bytes(stored[:LONGEST_NAME]))
        return str(super().decode(stored, key=key, context=context))


LARGE = 2**26  # bytes of an array of which no copy is made to write it
# What the headings of these tables have in place of DataJoint's codecs.
CODECS = {"npy": ArrayCodec.name, "attach": AttachmentCodec.name}
LONGEST_NAME = 256  # bytes of a file's name and the zero that ends it


def check_attachment(beginning: bytes) -> None:
    """Refuse an attached file whose name leads out of the folder that it is downloaded to.

    Parameters
    ----------
    beginning : bytes
        The first ``LONGEST_NAME`` bytes of the object, or all of it.

    Raises
    ------
    StoreError
    """
    name, end, _ = beginning.partition(b"\0")
    text = name.decode(errors="replace")
    plain = text not in ("", ".", "..") and text.isprintable() and not set(text) & set("/\\:\ufffd")
    if not end or not plain:
        raise StoreError(f"{text!r:.80}: not the name of an attached file; it was tampered with")
