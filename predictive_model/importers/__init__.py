"""Readers of recordings, one module per file format, and one entrance to all of them.

Other people's formats come in by :mod:`predictive_model.importers.importer`.

>>> recording = read_recording("static26872-17-20.zip", downsample=4)  # doctest: +SKIP
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from predictive_model.file_kinds import HDF5_SIGNATURE, kind_of
from predictive_model.importers import importer as importers
from predictive_model.importers.importer import (
    DEFAULTS,
    IMPORTERS,
    Common,
    Importer,
    find_importer,
)
from predictive_model.importers.npy import UNREADABLE
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.report import ScanReport, report_of
from predictive_model.importers.usable import merge_equal_pictures
from predictive_model.parts import PartError
from predictive_model.recordings.recording import Recording, RecordingError

__all__ = [
    "Importer",
    "NwbOptions",
    "ScanReport",
    "describe_recording",
    "is_recording",
    "read_recording",
    "recognise_format",
    "report_of",
    "scan_recording",
]

NETCDF3_SIGNATURES = (b"CDF\x01", b"CDF\x02")
ENDINGS = {".npz": "npz", ".zip": "sensorium", ".nwb": "nwb", ".nc": "assembly"}
EXPECTED = (
    "an .npz file of arrays, a Sensorium file tree (folder or .zip), an .nwb file or an assembly "
    "(.nc)"
)


def recognise_format(path: Path | str) -> str:
    """The format of a file or folder, by its content and, where that is damaged, by its ending.

    A folder that is no file tree, or a file whose ending is none of ours, is shown to other
    packages' importers first.

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
        other = _recognised_by_others(path)
        if other is None:
            raise RecordingError(f"{path}: a folder without `data` and `meta`; expected {EXPECTED}")
        return other
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder; expected {EXPECTED}")
    ending = ENDINGS.get(path.suffix.lower())
    other = None if ending else _recognised_by_others(path)
    found = other or _by_content(path, ending)
    if found is None:
        kind = kind_of(path)
        it = f"it is {kind[0]}; {kind[1]}; " if kind else ""
        raise RecordingError(f"{path}: is not known as a recording; {it}expected {EXPECTED}")
    return found


def _by_content(path: Path, ending: str | None) -> str | None:
    """Which of our own formats a file has, if any."""
    with path.open("rb") as file:
        start = file.read(len(HDF5_SIGNATURE))
    if start.startswith(NETCDF3_SIGNATURES):
        return "assembly"
    if start == HDF5_SIGNATURE:
        return "assembly" if ending == "assembly" else "nwb"
    if start.startswith(b"PK") and ending != "npz":
        try:
            with zipfile.ZipFile(path) as archive:
                arrays_only = all("/" not in name for name in archive.namelist())
        except UNREADABLE:
            arrays_only = False
        return "npz" if arrays_only and ending is None else "sensorium"
    return ending


def _recognised_by_others(path: Path) -> str | None:
    for name in IMPORTERS.names():
        if name in IMPORTERS.built_in:
            continue
        # What is wrong with a package is no matter to files of others.
        try:
            if _recognises(name, path):
                return name
        except PartError as error:
            warnings.warn(f"{path}: is not shown to all importers: {error}", stacklevel=2)
    return None


def _recognises(name: str, path: Path) -> bool:
    importer = find_importer(name)
    try:
        return importer.recognises(path)
    except Exception as error:  # a stranger's function may raise anything
        raise IMPORTERS.error(
            name, f"recognises failed ({type(error).__name__}: {error})"
        ) from error


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
    format: str | None = None,
    nwb: NwbOptions | None = None,
    options: Mapping[str, Any] | None = None,
    degrees: float | None = None,
    **common: Unpack[Common],
) -> tuple[Recording, ScanReport]:
    """Read a recording of any format, and report what is in it; see :func:`read_recording`."""
    path = Path(path)
    format = recognise_format(path) if format is None else format
    try:
        recording, notes = importers.scan(
            find_importer(format),
            path,
            format,
            **{**DEFAULTS, **common},
            **_options(format, nwb, options),
        )
        # Of our own formats nothing is left to merge: their importers did, to choose tiers.
        recording, merged = _with_pictures_once(recording)
        if degrees is not None:
            recording = replace(recording, degrees=degrees)
    except (RecordingError, PartError) as error:
        raise _of_file(path, error) from error
    return recording, report_of(recording, format=format, notes=(*notes, *merged))


def read_recording(
    path: Path | str,
    *,
    format: str | None = None,
    nwb: NwbOptions | None = None,
    options: Mapping[str, Any] | None = None,
    degrees: float | None = None,
    **common: Unpack[Common],
) -> Recording:
    """Read a recording from an ``.npz`` file, a Sensorium file tree, an NWB file, or another.

    Parameters
    ----------
    path : Path or str
    format : str, optional
        ``npz``, ``sensorium``, ``nwb`` or ``assembly``, the name of another package's importer,
        or ``module:object``; what the file looks like by default.
    nwb : NwbOptions, optional
        What to take from an NWB file; of another format all are at their defaults.
    options : mapping, optional
        Further arguments of the format's importer: fields of
        :class:`~predictive_model.importers.import_options.ImportOptions` and, of array files,
        :class:`~predictive_model.importers.arrays.ArrayOptions`, of file trees
        :class:`~predictive_model.importers.sensorium.SensoriumOptions`, of assemblies
        :class:`~predictive_model.importers.assembly.AssemblyOptions`.
    degrees : float, optional
        Of visual angle, that images are wide; by default as the file says, if it does.
    **common
        See :class:`~predictive_model.importers.importer.Common`.

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
    recording, _ = scan_recording(
        path, format=format, nwb=nwb, options=options, degrees=degrees, **common
    )
    return recording


def describe_recording(
    path: Path | str,
    *,
    format: str | None = None,
    nwb: NwbOptions | None = None,
    options: Mapping[str, Any] | None = None,
) -> ScanReport:
    """What is in a file by its names, tables and shapes; images and responses are not read.

    Raises
    ------
    FileNotFoundError, RecordingError
        As :func:`read_recording`, but for what only images and responses themselves could tell.
    """
    path = Path(path)
    format = recognise_format(path) if format is None else format
    try:
        importer = find_importer(format)
        return importers.describe(importer, path, format, **_options(format, nwb, options))
    except (RecordingError, PartError) as error:
        raise _of_file(path, error) from error


def _with_pictures_once(recording: Recording) -> tuple[Recording, tuple[str, ...]]:
    """The recording, of whichever importer, with each picture under one number."""
    found = Recorded(
        recording.images,
        recording.image_index,
        recording.responses,
        image_groups=recording.image_groups,
    )
    merge_equal_pictures(found)
    if not found.notes:
        return recording, ()
    merged = replace(
        recording,
        images=found.images,
        image_index=found.image_index,
        image_groups=found.image_groups,
    )
    return merged, tuple(found.notes)


def _options(
    format: str, nwb: NwbOptions | None, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What goes to the format's importer beside what all have in common."""
    given = dict(options or {})
    common = sorted(given.keys() & DEFAULTS.keys())
    if common:
        raise RecordingError(
            f"options: {', '.join(common)} are no options of an importer; give them as arguments "
            "of their own"
        )
    chosen = {} if nwb is None else nwb.model_dump(exclude_defaults=True)
    if "clip_negative" in chosen:
        del chosen["negative"]  # which it stands for
    if chosen and format != "nwb":
        raise RecordingError(
            f"{', '.join(sorted(chosen))}: given, but only for NWB files, and this format is "
            f"{format}; leave them out. What other formats take goes by `--option NAME=VALUE`"
        )
    return chosen | given


def _of_file(path: Path, error: ValueError) -> RecordingError:
    said = str(error)
    return RecordingError(said if said.startswith(str(path)) else f"{path}: {said}")
