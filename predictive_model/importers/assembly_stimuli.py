"""The pictures of an assembly, by the names of its stimuli, brought to one size."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.archives import UnreadableError, is_litter, read_members
from predictive_model.importers.decoding import SUFFIXES, PictureError, PictureReader
from predictive_model.recordings.checks import RecordingError
from predictive_model.recordings.stimuli import fit_pictures

ID_COLUMNS = ("stimulus_id", "image_id")
FILE_COLUMNS = ("filename", "image_file_name", "stimulus_path", "image_path")
DEGREES = "degrees"
EXPECTED = (
    "a table (.csv) with columns stimulus_id and filename, or a folder or archive of pictures that "
    "are named for their stimuli; say which with `--option stimuli=PATH`"
)
BESIDE = ("stimulus_set.csv", "stimuli.csv", "stimuli", "images", "stimuli.zip", "images.zip")


@dataclass(frozen=True)
class StimulusTable:
    """Where the pictures of stimuli are.

    Attributes
    ----------
    source : Path
        What said so.
    pictures : Path
        A folder or archive.
    files : mapping of str to str, optional
        Of the table: the file of each stimulus. Without a table files are named for stimuli.
    degrees : float, optional
        Of visual angle, if the table has one width for all.
    """

    source: Path
    pictures: Path
    files: Mapping[str, str] | None = None
    degrees: float | None = None


def find_stimuli(path: Path, stimuli: str | None, pictures: str | None) -> StimulusTable:
    """The stimuli of an assembly: what is said, or what lies beside it.

    Raises
    ------
    RecordingError
        If there is nothing, or a table lacks its columns.
    """
    source = _existing(path, "stimuli", stimuli) if stimuli else _beside(path)
    if source.suffix.lower() != ".csv":
        if pictures:
            raise RecordingError(
                f"pictures: {pictures}, but {source} is no table; leave out one of the two"
            )
        return StimulusTable(source, source)
    place = _existing(path, "pictures", pictures) if pictures else source.parent
    files, degrees = _read_table(source)
    return StimulusTable(source, place, files, degrees)


def read_stimuli(
    table: StimulusTable,
    names: Sequence[str],
    size: int | tuple[int, int] | None,
    colour: bool | None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """The pictures of stimuli in the order of their names, and what there is to say of them.

    They are cropped to the proportions that are asked for and resized, never stretched; see
    :func:`~predictive_model.recordings.stimuli.fit_images`.

    Returns
    -------
    (n, channels, height, width) uint8, list of str

    Raises
    ------
    RecordingError
        If a stimulus has no picture, one cannot be read, or sizes differ and none is asked for.
    """
    wanted = _wanted(table, names)
    reader, found = PictureReader(), {}
    shape = (size, size) if isinstance(size, int) else size
    if shape is not None and min(shape) < 1:
        raise RecordingError(f"size: {size}, expected pixels, each at least 1")
    try:
        for member, content in read_members(table.pictures, wanted):
            if is_litter(member):
                continue
            pixels = np.asarray(reader.read(content, f"{table.pictures}: {member}"))
            picture = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            if len(picture) == 3 and (picture == picture[0]).all():
                picture = picture[:1]
            if shape is not None:  # at once, as all of them at their own sizes may be too much
                picture = fit_pictures(picture[None], shape, grey=colour is False)[0]
            found[member] = picture
        reader.warn_of_decisions(table.pictures)
    except (PictureError, UnreadableError) as error:
        raise RecordingError(str(error)) from error
    return _one_shape(table, [found[file] for file in _file_of_each(table, names, found)], colour)


def _one_shape(
    table: StimulusTable, pictures: list[NDArray], colour: bool | None
) -> tuple[NDArray[np.uint8], list[str]]:
    sizes = Counter(p.shape[1:] for p in pictures)
    if len(sizes) > 1:
        ((a, n), (b, m)), more = sizes.most_common(2), len(sizes) - 2
        raise RecordingError(
            f"{table.pictures}: pictures of {len(sizes)} sizes, {n} of {a[0]} x {a[1]}, {m} of "
            f"{b[0]} x {b[1]}{' and others' if more else ''} pixels; say to which all are brought "
            f"with `--option size={min(min(s) for s in sizes)}`"
        )
    n_coloured = sum(len(p) == 3 for p in pictures)
    if colour is False and n_coloured:
        pictures = [fit_pictures(p[None], p.shape[1:], grey=True)[0] for p in pictures]
    channels = 1 if colour is False or (colour is None and not n_coloured) else 3
    notes = []
    if colour is None and 0 < n_coloured < len(pictures):
        notes.append(f"{n_coloured} of {len(pictures)} pictures have colour, and all are kept so")
    return np.stack([np.broadcast_to(p, (channels, *p.shape[1:])) for p in pictures]), notes


def _wanted(table: StimulusTable, names: Sequence[str]) -> Callable[[str], bool]:
    """Whether a file may be the picture of a stimulus, by its name."""
    if table.files is not None:
        if missing := [name for name in names if not table.files.get(name)]:
            raise RecordingError(
                f"{table.source}: has no picture for {len(missing)} of the assembly's "
                f"{len(names)} stimuli, such as {missing[0]!r}; it has {len(table.files)} stimuli, "
                f"such as {next(iter(table.files), '')!r}. Is it that of this assembly?"
            )
        bases = {_base(table.files[name]) for name in names}
        return lambda member: _base(member) in bases
    known = set(names)

    def is_named_for_one(member: str) -> bool:
        base = PurePosixPath(_base(member))
        return base.suffix.lower() in SUFFIXES and not known.isdisjoint((base.name, base.stem))

    return is_named_for_one


def _file_of_each(table: StimulusTable, names: Sequence[str], members: Iterable[str]) -> list[str]:
    """The file of each stimulus, in the order of their names."""
    by_name: dict[str, list[str]] = {}
    for member in members:
        by_name.setdefault(_base(member), []).append(member)
        if table.files is None:
            by_name.setdefault(PurePosixPath(_base(member)).stem, []).append(member)
    out, missing = [], []
    for name in names:
        file = name if table.files is None else table.files[name]
        found = by_name.get(_base(file), [])
        found = [m for m in found if f"/{m}".endswith(f"/{file}")] or found
        if len(found) > 1:
            raise RecordingError(
                f"{table.pictures}: {len(found)} pictures of stimulus {name!r}, {found[0]} and "
                f"{found[1]}; expected one"
            )
        if found:
            out += found
        else:
            missing.append(name)
    if missing:
        raise RecordingError(
            f"{table.pictures}: no picture of {len(missing)} of the assembly's {len(names)} "
            f"stimuli, such as {missing[0]!r}; expected {EXPECTED}"
        )
    return out


def _base(member: str) -> str:
    return member.rpartition("/")[2]


def _read_table(source: Path) -> tuple[dict[str, str], float | None]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{source}: cannot be read as a table ({error})") from error
    columns = list(rows[0]) if rows else []
    ids, files = (
        next((c for c in known if c in columns), None) for known in (ID_COLUMNS, FILE_COLUMNS)
    )
    if ids is None or files is None:
        raise RecordingError(
            f"{source}: columns {', '.join(map(str, columns)) or 'none'}, expected "
            f"{' or '.join(ID_COLUMNS)} and {' or '.join(FILE_COLUMNS[:2])}"
        )
    found = {row[ids] or "": (row[files] or "").replace("\\", "/") for row in rows}
    if len(found) < len(rows):
        raise RecordingError(f"{source}: {ids}: {len(rows) - len(found)} stand there twice")
    widths = {row[DEGREES] for row in rows if row.get(DEGREES)}
    try:
        return found, float(widths.pop()) if len(widths) == 1 else None
    except ValueError:
        return found, None


def _existing(path: Path, what: str, given: str) -> Path:
    """A path as it is given, or beside the assembly."""
    for place in (Path(given), path.parent / given):
        if place.exists():
            return place
    raise RecordingError(f"{what}: {given} is not there; expected {EXPECTED}")


def _beside(path: Path) -> Path:
    for name in (f"{path.stem}.csv", *BESIDE):
        if (path.parent / name).exists():
            return path.parent / name
    raise RecordingError(f"{path}: nothing beside it has its pictures; expected {EXPECTED}")
