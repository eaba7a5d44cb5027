"""Variables of netCDF files with the names of their axes, of netCDF-4 (HDF5) and of netCDF-3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import netcdf_file

from predictive_model.file_kinds import HDF5_SIGNATURE, why_unreadable
from predictive_model.importers.hdf5 import why_hdf5_fails
from predictive_model.recordings.checks import RecordingError

NOT_A_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
MISSING = ("_FillValue", "missing_value")
PACKING = ("scale_factor", "add_offset")


@dataclass(frozen=True)
class Variable:
    """An array of a netCDF file, read when it is asked for.

    Attributes
    ----------
    name : str
    axes : tuple of str
        Their names; those of single characters that make a text are left out.
    shape : tuple of int
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    _stored: Any
    _is_text: bool

    def read(self) -> NDArray:
        """All values: texts as texts, numbers as the file says they are meant.

        Raises
        ------
        RecordingError
            If texts are no UTF-8, or values are neither numbers nor texts.
        """
        values = np.asarray(self._stored[()])
        if self._is_text and values.dtype.kind == "S" and values.dtype.itemsize == 1:
            values = np.ascontiguousarray(values)
            values = values.view(f"S{values.shape[-1]}")[..., 0]
        if values.dtype.kind in "SO":
            return self._texts(values)
        if values.dtype.kind not in "biufU":
            raise RecordingError(f"{self.name}: of {values.dtype}, expected numbers or texts")
        # netCDF-3 is stored with the most significant byte first.
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        missing = [m for name in MISSING if (m := self._attribute(name)) is not None]
        if missing and np.isin(values, missing).any():
            values = np.where(np.isin(values, missing), np.nan, values)
        factor, offset = (self._attribute(name) for name in PACKING)
        if factor is None and offset is None:
            return values
        return values * (1.0 if factor is None else factor) + (0.0 if offset is None else offset)

    def _texts(self, values: NDArray) -> NDArray[np.str_]:
        try:
            flat = [v.decode() if isinstance(v, bytes) else v for v in values.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise RecordingError(f"{self.name}: texts that are no UTF-8 ({error})") from error
        if other := [v for v in flat if not isinstance(v, str)]:
            raise RecordingError(f"{self.name}: holds {type(other[0]).__name__}, expected texts")
        return np.array(flat, dtype=str).reshape(values.shape)

    def _attribute(self, name: str) -> float | None:
        if isinstance(self._stored, h5py.Dataset):
            value = self._stored.attrs.get(name)
        else:
            value = getattr(self._stored, name, None)
        return None if value is None else float(np.ravel(value)[0])


@contextmanager
def open_netcdf(path: Path) -> Iterator[dict[str, Variable]]:
    """Variables of a file by their names, which can be read as long as it is open.

    Raises
    ------
    FileNotFoundError
        If there is none.
    RecordingError
        If it is neither netCDF-4 nor netCDF-3, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a netCDF file (.nc)")
    with path.open("rb") as file:
        is_hdf5 = file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    try:
        if is_hdf5:
            with h5py.File(path) as opened:
                yield dict(_of_hdf5(opened))
        else:
            with netcdf_file(path, mmap=False) as opened:
                yield dict(_of_netcdf3(opened))
    except RecordingError:
        raise
    except Exception as error:  # damaged bytes make either reader raise nearly anything
        again = "copy or download it again"
        why = (
            why_hdf5_fails(path, error, again)
            if is_hdf5
            else why_unreadable(path, error, again, expected="netCDF")
        )
        raise RecordingError(f"{path}: cannot be read as netCDF: {why}") from error


def _of_hdf5(file: h5py.File) -> Iterator[tuple[str, Variable]]:
    for name, stored in file.items():
        if not isinstance(stored, h5py.Dataset):
            continue
        if stored.is_scale and bytes(stored.attrs.get("NAME", b"")).startswith(NOT_A_VARIABLE):
            continue
        if stored.is_scale and stored.ndim == 1:
            axes = [name]
        else:
            axes = [next((_last(s.name) for s in d.values()), "") for d in stored.dims]
        yield name, _variable(name, axes, stored.shape, stored.dtype, stored)


def _of_netcdf3(file: netcdf_file) -> Iterator[tuple[str, Variable]]:
    for name, stored in file.variables.items():
        yield (
            name,
            _variable(name, list(stored.dimensions), stored.shape, stored.data.dtype, stored),
        )


def _variable(
    name: str, axes: list[str], shape: tuple[int, ...], dtype: np.dtype, stored: Any
) -> Variable:
    is_text = dtype.kind == "S" and dtype.itemsize == 1 and bool(axes)
    n = len(axes) - 1 if is_text else len(axes)
    return Variable(name, tuple(axes[:n]), tuple(shape[:n]), stored, is_text)


def _last(path: str | None) -> str:
    return (path or "").rpartition("/")[2]
