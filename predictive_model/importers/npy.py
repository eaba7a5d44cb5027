"""Single ``.npy`` arrays from folders and archives, checked before they are loaded.

Pickled objects are never loaded: loading one runs code of the file's author.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from predictive_model.file_kinds import N_BYTES, why_unreadable
from predictive_model.recordings.recording import RecordingError

# What NumPy and zipfile raise for files that are damaged, or that are something else.
UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    NotImplementedError,
    RuntimeError,  # an encrypted member
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Header:
    """What an array file says of itself before its first value."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool


def read_header(file: BinaryIO, size: int, label: str) -> Header:
    """Read the header of an array file of ``size`` bytes; ``label`` names it in errors.

    Raises
    ------
    RecordingError
        If it is no array of plain values, or too short or too long for what it says to hold.
    """
    try:
        version = npy_format.read_magic(file)
        if version == (1, 0):
            shape, fortran_order, dtype = npy_format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran_order, dtype = npy_format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version} of the format")
    except UNREADABLE as error:
        why = why_unreadable(
            _start(file), error, "write it with numpy.save", expected="NumPy array"
        )
        raise RecordingError(f"{label}: cannot be read as an .npy file: {why}") from error
    if dtype.hasobject:
        raise RecordingError(
            f"{label}: holds pickled objects, which are never loaded; save numbers or text"
        )
    if dtype.names is not None:
        raise RecordingError(f"{label}: a structured array of {dtype.names}, expected plain values")
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if size != expected:
        raise RecordingError(
            f"{label}: has {size} bytes, expected {expected} for {shape} of {dtype}; it is "
            "damaged or was not written to its end"
        )
    return Header(shape, dtype, fortran_order)


def _start(file: BinaryIO) -> bytes:
    """The first bytes of a file, as far as they can be read."""
    try:
        file.seek(0)
        return file.read(N_BYTES)
    except UNREADABLE:
        return b"\xff"


def read_array(file: BinaryIO, size: int, label: str) -> NDArray:
    """Read an array file of ``size`` bytes; errors are those of :func:`read_header`."""
    header = read_header(file, size, label)
    try:
        # To the end, where archives compare their checksums.
        content = file.read()
    except UNREADABLE as error:
        raise RecordingError(f"{label}: is damaged ({error})") from error
    count = math.prod(header.shape)
    if len(content) != count * header.dtype.itemsize:
        raise RecordingError(f"{label}: ends too early; copy or download it again")
    values = np.frombuffer(content, dtype=header.dtype, count=count)
    return values.reshape(header.shape, order="F" if header.fortran_order else "C")


def require_numbers(dtype: np.dtype, label: str) -> None:
    """Refuse arrays of anything but real numbers."""
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
        raise RecordingError(f"{label}: type {dtype}, expected real numbers")
