"""Readers of recordings, one module per file format, and one entrance to all of them.

>>> recording = read_recording("static26872-17-20.zip", downsample=4)  # doctest: +SKIP
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import get_args

from predictive_model.importers.arrays import describe_arrays, read_arrays
from predictive_model.importers.npy import UNREADABLE
from predictive_model.importers.nwb import NwbOptions, describe_nwb, scan_nwb
from predictive_model.importers.report import Format, ScanReport, report_of
from predictive_model.importers.sensorium import describe_sensorium, scan_sensorium
from predictive_model.recordings.recording import Recording, RecordingError

__all__ = [
    "Format",
    "NwbOptions",
    "ScanReport",
    "describe_recording",
    "is_recording",
    "read_recording",
    "recognise_format",
    "report_of",
    "scan_recording",
]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
FORMATS: tuple[Format, ...] = get_args(Format)
EXPECTED = "an .npz file of arrays, a Sensorium file tree (folder or .zip) or an .nwb file"


def recognise_format(path: Path | str) -> Format:
    """The format of a file or folder, by its content and, where that is damaged, by its ending.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    RecordingError
        If it is none that can be read.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "data").is_dir() or (path / "meta").is_dir():
            return "sensorium"
        raise RecordingError(f"{path}: a folder without `data` and `meta`; expected {EXPECTED}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder; expected {EXPECTED}")
    ending = {".npz": "npz", ".zip": "sensorium", ".nwb": "nwb"}.get(path.suffix.lower())
    with path.open("rb") as file:
        start = file.read(len(HDF5_SIGNATURE))
    if start == HDF5_SIGNATURE:
        return "nwb"
    if start.startswith(b"PK") and ending != "npz":
        try:
            with zipfile.ZipFile(path) as archive:
                arrays_only = all("/" not in name for name in archive.namelist())
        except UNREADABLE:
            arrays_only = False
        return "npz" if arrays_only and ending is None else "sensorium"
    if ending is None:
        raise RecordingError(f"{path}: is not known as a recording; expected {EXPECTED}")
    return ending  # type: ignore[return-value]


def is_recording(path: Path | str) -> bool:
    """Whether a path looks like a recording; damaged ones do too."""
    try:
        recognise_format(path)
    except (RecordingError, OSError):
        return False
    return True


def scan_recording(
    path: Path | str,
    *,
    format: Format | None = None,
    name: str | None = None,
    test_images: int | None = None,
    seed: int = 0,
    downsample: int = 1,
    species: str = "",
    area: str = "",
    nwb: NwbOptions | None = None,
) -> tuple[Recording, ScanReport]:
    """Read a recording of any format, and report what is in it; see :func:`read_recording`."""
    path = Path(path)
    format = _known(path, format)
    notes: tuple[str, ...] = ()
    try:
        if format == "npz":
            recording = read_arrays(
                path,
                name=name,
                test_images=test_images,
                seed=seed,
                downsample=downsample,
                species=species,
                area=area,
            )
        elif format == "sensorium":
            if test_images is not None:
                raise RecordingError(
                    "tier: a file tree has tiers, so test_images has nothing to choose"
                )
            recording, notes = scan_sensorium(
                path, name=name, downsample=downsample, species=species, area=area
            )
        else:
            recording, notes = scan_nwb(
                path,
                name=name,
                test_images=test_images,
                seed=seed,
                downsample=downsample,
                species=species,
                area=area,
                options=nwb,
            )
    except RecordingError as error:
        raise _of_file(path, error) from error
    return recording, report_of(recording, format=format, notes=notes)


def read_recording(
    path: Path | str,
    *,
    format: Format | None = None,
    name: str | None = None,
    test_images: int | None = None,
    seed: int = 0,
    downsample: int = 1,
    species: str = "",
    area: str = "",
    nwb: NwbOptions | None = None,
) -> Recording:
    """Read a recording from an ``.npz`` file, a Sensorium file tree or an NWB file.

    Parameters
    ----------
    path : Path or str
    format : str, optional
        ``npz``, ``sensorium`` or ``nwb``; what the file looks like by default.
    name : str, optional
        Of the scan; the file's name without its ending by default.
    test_images : int, optional
        Hold out this many images as the test tier, where all of them were repeated, or none.
    seed : int
        Chooses validation images, and test images if asked to.
    downsample : int
        Average squares of so many pixels a side.
    species, area : str
        What the file says by default.
    nwb : NwbOptions, optional
        What to take from an NWB file.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    RecordingError
        If it cannot be read; the message starts with the path.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> rng = np.random.default_rng(0)
    >>> with TemporaryDirectory() as folder:
    ...     images = rng.integers(0, 256, (20, 8, 8)).astype(np.uint8)
    ...     np.savez(f"{folder}/toy.npz", images=images, responses=rng.random((20, 5)))
    ...     read_recording(f"{folder}/toy.npz").n_neurons
    5
    """
    return scan_recording(
        path,
        format=format,
        name=name,
        test_images=test_images,
        seed=seed,
        downsample=downsample,
        species=species,
        area=area,
        nwb=nwb,
    )[0]


def describe_recording(
    path: Path | str, *, format: Format | None = None, nwb: NwbOptions | None = None
) -> ScanReport:
    """What is in a file by its names, tables and shapes; images and responses are not read.

    Raises
    ------
    FileNotFoundError, RecordingError
        As :func:`read_recording`, but for what only images and responses themselves could tell.
    """
    path = Path(path)
    format = _known(path, format)
    try:
        if format == "npz":
            return describe_arrays(path)
        return (
            describe_sensorium(path) if format == "sensorium" else describe_nwb(path, options=nwb)
        )
    except RecordingError as error:
        raise _of_file(path, error) from error


def _known(path: Path, format: Format | None) -> Format:
    if format is None:
        return recognise_format(path)
    if format not in FORMATS:
        raise RecordingError(f"format: {format!r}, expected one of {', '.join(FORMATS)}")
    return format


def _of_file(path: Path, error: RecordingError) -> RecordingError:
    said = str(error)
    return error if said.startswith(str(path)) else RecordingError(f"{path}: {said}")
