"""Arrays larger than memory: ``.npy`` files that are written in parts and read by rows."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

GAP = 2**14  # bytes between two rows that are read along, which is cheaper than reading twice
AT_ONCE = 2**22  # bytes that are read at a time, beside the rows asked for


class ArrayFileError(ValueError):
    """An array's file or parts are not what they are said to be."""


@dataclass(frozen=True, eq=False)
class ArrayParts:
    """An array that is made part by part, and never held whole.

    Attributes
    ----------
    shape : tuple of int
        Of the whole array.
    dtype : numpy dtype
    parts : iterable of NDArray
        Its rows in order, some at a time, each part of this type.

    Examples
    --------
    >>> halves = (np.full((5, 2), value, np.float32) for value in (0, 1))
    >>> parts = ArrayParts((10, 2), np.dtype(np.float32), halves)
    >>> sum(len(content) for content in parts.content())  # 128 bytes of header, 80 of values
    208
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parts: Iterable[NDArray[Any]]

    def content(self) -> Iterator[bytes | memoryview]:
        """The ``.npy`` file of the array, part by part: to the byte what `numpy.save` writes.

        Raises
        ------
        ArrayFileError
            If a part has another type or other rows, or the parts have too few rows or too many.
        """
        header = io.BytesIO()
        about = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": self.shape,
        }
        np.lib.format.write_array_header_1_0(header, about)
        yield header.getvalue()
        n = 0
        for part in self.parts:
            if part.dtype != self.dtype or part.shape[1:] != self.shape[1:]:
                raise ArrayFileError(
                    f"parts: rows {n} and on are {part.dtype} {part.shape[1:]}, expected "
                    f"{self.dtype} {self.shape[1:]}"
                )
            n += len(part)
            if n > self.shape[0]:
                break
            if part.size:
                yield _bytes_of(np.ascontiguousarray(part))
        if n != self.shape[0]:
            raise ArrayFileError(
                f"parts: {'more than ' if n > self.shape[0] else ''}{min(n, self.shape[0])} rows, "
                f"expected {self.shape[0]}"
            )


class ArrayFile:
    """An array in an ``.npy`` file, of which rows are read as they are needed.

    The file is kept open and may be read by several processes and threads at the same time.

    Parameters
    ----------
    path : path

    Raises
    ------
    ArrayFileError
        If it holds no array, one of objects, one that is stored by columns, or is cut short.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/responses.npy", np.arange(12.0).reshape(4, 3))
    ...     ArrayFile(f"{folder}/responses.npy").rows([2, 0, 2])
    array([[6., 7., 8.],
           [0., 1., 2.],
           [6., 7., 8.]])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb", buffering=0)
        try:
            self.shape, by_columns, self.dtype = self._header()
        except ValueError as error:
            self._file.close()
            raise ArrayFileError(f"{self.path}: not an array ({error})") from error
        self._start = self._file.tell()
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize  # bytes
        found, expected = self.stat.st_size, self._start + self.shape[0] * self._row
        problem = ""
        if by_columns:
            problem = "stored by columns, expected by rows; save it with numpy.ascontiguousarray"
        elif found != expected:
            problem = f"{found} bytes, expected {expected} of {self.dtype} {self.shape}"
        if problem:
            self._file.close()
            raise ArrayFileError(f"{self.path}: {problem}")

    def _header(self) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        version = np.lib.format.read_magic(self._file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the format, expected 1 or 2")
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, by_columns, dtype = read(self._file)
        if dtype.hasobject or not shape:
            raise ValueError(f"{dtype} {shape}, expected numbers and at least one axis")
        return shape, by_columns and len(shape) > 1, dtype

    @property
    def stat(self) -> os.stat_result:
        """Of the open file."""
        return os.fstat(self._file.fileno())

    def digest(self) -> str:
        """SHA-256 of the whole file, which is read through."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def __len__(self) -> int:
        """How many rows it has."""
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens it anew."""
        return type(self), (self.path,)

    def rows(self, index: ArrayLike) -> NDArray[Any]:
        """Some rows, in memory.

        They are read in the order of the file, close ones together, so that little more memory is
        needed than for the rows themselves.

        Parameters
        ----------
        index : (k,) integers
            From 0 to the number of rows; in any order, and as often as wanted.

        Returns
        -------
        (k, ...) of the file's type

        Raises
        ------
        IndexError
            If there is no such row.
        ArrayFileError
            If the file was cut short since it was opened.
        """
        places = row_index(index, self.shape[0])
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        if not out.size:
            return out
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        memory = _bytes_of(out)
        for first, last in self._runs(ordered):
            low, high = int(ordered[first]), int(ordered[last - 1]) + 1
            if last - first == 1:  # to where it belongs
                place = int(order[first]) * self._row
                self._read(low, memory[place : place + self._row])
                continue
            run = np.empty((high - low, *self.shape[1:]), self.dtype)
            self._read(low, _bytes_of(run))
            out[order[first:last]] = run[ordered[first:last] - low]
        return out

    def _runs(self, ordered: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """First and last place of sorted rows that are read together."""
        apart = (np.diff(ordered) - 1) * self._row > GAP
        starts = np.concatenate([[0], np.flatnonzero(apart) + 1, [len(ordered)]])
        rows = max(1, AT_ONCE // self._row)
        for first, last in itertools.pairwise(starts.tolist()):
            while ordered[last - 1] - ordered[first] >= rows:
                end = first + int(np.searchsorted(ordered[first:last], ordered[first] + rows))
                yield first, end
                first = end
            yield first, last

    def _read(self, row: int, memory: memoryview) -> None:
        """Fill memory with what stands from a row on."""
        done, offset = 0, self._start + row * self._row
        while done < len(memory):
            n = os.preadv(self._file.fileno(), [memory[done:]], offset + done)
            if not n:
                raise ArrayFileError(f"{self.path}: was cut short while it was in use")
            done += n


def row_index(index: ArrayLike, n: int) -> NDArray[np.int64]:
    """An index of rows as int64.

    Raises
    ------
    IndexError
        If it is no list of whole numbers from 0 to ``n - 1``.
    """
    places = np.asarray(index)
    if places.ndim != 1 or (places.size and not np.issubdtype(places.dtype, np.integer)):
        raise IndexError(
            f"index: {places.dtype} of shape {places.shape}, expected a list of row numbers"
        )
    if places.size and not (places.min() >= 0 and places.max() < n):
        raise IndexError(f"index: rows {places.min()} to {places.max()}, expected 0 to {n - 1}")
    return places.astype(np.int64, copy=False)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """The memory of an array that lies in one piece."""
    return array.reshape(-1).view(np.uint8).data
