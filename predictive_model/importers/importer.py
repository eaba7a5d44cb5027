"""What an importer is, ours or another package's, and all of them by the names of their formats.

Another package's is the name of an entry point in the group ``neuroteach.importers``, or
``package.module:object``. Either leads to an :class:`Importer`, or to a module with functions of
the same names, of which ``describe`` and ``recognises`` may be left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from predictive_model.importers.report import ScanReport, report_of
from predictive_model.parts import Registry
from predictive_model.recordings.recording import Recording

_HERE = "predictive_model.importers"
IMPORTERS = Registry(
    "importer",
    {
        "npz": f"{_HERE}.arrays:IMPORTER",
        "sensorium": f"{_HERE}.sensorium:IMPORTER",
        "nwb": f"{_HERE}.nwb:IMPORTER",
        "assembly": f"{_HERE}.assembly:IMPORTER",
    },
)


class Common(TypedDict, total=False):
    """Arguments that all importers take.

    Attributes
    ----------
    name : str, optional
        Of the scan; the file's name without its ending by default.
    test_images : int, optional
        Hold out this many images as the test tier, where all of them were repeated, or few.
    seed : int
        Chooses validation images, and test images if asked to.
    downsample : int
        Average blocks of ``downsample`` x ``downsample`` pixels.
    species, area : str
        What the file says by default.
    """

    name: str | None
    test_images: int | None
    seed: int
    downsample: int
    species: str
    area: str


DEFAULTS: Common = {
    "name": None,
    "test_images": None,
    "seed": 0,
    "downsample": 1,
    "species": "",
    "area": "",
}


def _recognises_nothing(path: Path) -> bool:
    return False


@dataclass(frozen=True)
class Importer:
    """A reader of one format.

    Attributes
    ----------
    scan : callable
        ``scan(path, *, name, test_images, seed, downsample, species, area, **options)``, of which
        the named ones mean what they mean to
        :func:`~predictive_model.importers.read_recording`. Returns a recording, and notes in whole
        sentences on what was left out or is unusual. Raises a ``RecordingError`` if the file
        cannot be read, or an argument cannot be followed.
    describe : callable, optional
        ``describe(path, **options)``: a ``ScanReport`` without reading images and responses. By
        default everything is read.
    recognises : callable, optional
        ``recognises(path)``: whether a file or folder, whose ending is none of ours, looks like
        this format. By default none does, and the format has to be named.
    """

    scan: Callable[..., tuple[Recording, tuple[str, ...]]]
    describe: Callable[..., ScanReport] | None = None
    recognises: Callable[[Path], bool] = _recognises_nothing


def find_importer(format: str) -> Importer:
    """The importer of a format.

    Raises
    ------
    PartError
        If there is none of this name, or what has the name is no importer.
    """
    found: Any = IMPORTERS.find(format).value
    if isinstance(found, Importer):
        return found
    parts = {name: getattr(found, name, None) for name in ("scan", "describe", "recognises")}
    given = {name: part for name, part in parts.items() if callable(part)}
    if "scan" not in given:
        raise IMPORTERS.error(format, f"is {found!r}, expected an Importer, or a module with scan")
    return Importer(**given)


def describe(importer: Importer, path: Path, format: str, **options: Any) -> ScanReport:
    """What is in a file; all of it is read if its importer cannot tell otherwise."""
    if importer.describe is not None:
        _require_accepted(importer.describe, path, format, options)
        return importer.describe(path, **options)
    recording, notes = scan(
        importer,
        path,
        format,
        **DEFAULTS,
        **options,
    )
    return report_of(recording, format=format, notes=notes)


def scan(
    importer: Importer, path: Path, format: str, **arguments: Any
) -> tuple[Recording, tuple[str, ...]]:
    """A recording and notes, as the importer reads them.

    Raises
    ------
    PartError
        If the importer does not take these arguments, or returns something else.
    """
    _require_accepted(importer.scan, path, format, arguments)
    found = importer.scan(path, **arguments)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], Recording)):
        what = type(found).__name__
        raise IMPORTERS.error(format, f"returned a {what}, expected (Recording, notes)")
    return found[0], tuple(found[1])


def _require_accepted(
    function: Callable[..., Any], path: Path, format: str, arguments: Mapping[str, Any]
) -> None:
    signature = inspect.signature(function)
    try:
        signature.bind(path, **arguments)
    except TypeError as error:
        raise IMPORTERS.error(format, f"options: {error}; expected those of {signature}") from error
