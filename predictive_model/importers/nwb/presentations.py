"""Which images an NWB file shows, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.base import Images
from pynwb.core import DynamicTable
from pynwb.epoch import TimeIntervals
from pynwb.image import ImageSeries, IndexSeries

from predictive_model.importers.nwb.images import ImageStack
from predictive_model.importers.nwb.numbers import IMAGE_COLUMNS, ImageNumbers, image_numbers
from predictive_model.importers.nwb.series import clock_of
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

WHERE_PRESENTATIONS = (
    f"a table of intervals with a column of {', '.join(IMAGE_COLUMNS)} (or of "
    "`--option image_column=NAME`), or an IndexSeries among the stimuli"
)
WHERE_IMAGES = "an ImageSeries, an OpticalSeries or Images among the stimulus templates"


@dataclass(frozen=True)
class Presentations:
    """When which image was shown.

    Attributes
    ----------
    name : str
        Of the table or series.
    start, stop : (trial,) float64, seconds
    image_index : (trial,) int
    tier : (trial,) str, or None
    rows : (trial,) int
        Row of each trial among the ``n_rows`` that the file has, blanks included.
    table : DynamicTable, or None
    """

    name: str
    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    image_index: NDArray[np.int64]
    tier: NDArray[np.str_] | None
    rows: NDArray[np.int64]
    n_rows: int
    table: DynamicTable | None = None
    notes: tuple[str, ...] = ()

    def only(self, kept: NDArray[np.bool_], *notes: str) -> Presentations:
        """Those of a mask (trial,), and what is to be noted about it."""
        return replace(
            self,
            start=self.start[kept],
            stop=self.stop[kept],
            image_index=self.image_index[kept],
            tier=None if self.tier is None else self.tier[kept],
            rows=self.rows[kept],
            notes=(*self.notes, *notes),
        )


def find_presentations(file: NWBFile, options: NwbOptions) -> tuple[Presentations, ImageStack]:
    """Find presentations and the images they show; options choose among several.

    Raises
    ------
    RecordingError
        If either is missing, there more than once, or one contradicts the other.
    """
    columns = {*IMAGE_COLUMNS, options.image_column}
    tables = {
        name: table
        for name, table in (file.intervals or {}).items()
        if columns & set(table.colnames)
    }
    series = {n: s for n, s in file.stimulus.items() if isinstance(s, IndexSeries)}
    name = options.presentations
    if name is None and "trials" in tables:
        name = "trials"
    chosen = choose("presentations", {**tables, **series}, name, WHERE_PRESENTATIONS)
    stack = ImageStack(_images(file, chosen, options.images), width_first=options.width_first)
    from_any = _from_table if chosen.name in tables else _from_series
    found = from_any(chosen, stack, options)
    if not len(found.image_index):
        raise RecordingError(f"{chosen.name}: shows no image")
    return found, stack


def choose(what: str, candidates: Mapping[str, Any], name: str | None, where: str) -> Any:
    """The candidate of a name, or the only one there is."""
    if name is not None:
        if name not in candidates:
            raise RecordingError(
                f"{what}: {name!r} is not among {sorted(candidates)}; expected {where}"
            )
        return candidates[name]
    if not candidates:
        raise RecordingError(f"{what}: the file has none; expected {where}")
    if len(candidates) > 1:
        raise RecordingError(
            f"{what}: found {sorted(candidates)}; say which with `{what}` (--{what})"
        )
    return next(iter(candidates.values()))


def _images(file: NWBFile, chosen: TimeIntervals | IndexSeries, name: str | None) -> Any:
    if name is None and isinstance(chosen, IndexSeries):
        for linked in (chosen.indexed_images, chosen.indexed_timeseries):
            if linked is not None:
                return linked
    templates = {
        n: t for n, t in file.stimulus_template.items() if isinstance(t, (ImageSeries, Images))
    }
    return choose("images", templates, name, WHERE_IMAGES)


def _from_table(table: TimeIntervals, images: ImageStack, options: NwbOptions) -> Presentations:
    numbers = _numbers_of(table, images, options)
    unit = options.presentation_unit or 1.0
    start, stop = (np.asarray(table[c][:], np.float64) * unit for c in ("start_time", "stop_time"))
    if np.isnan(stop).all() and len(start) > 1:
        stop = start + np.nanmedian(np.diff(np.sort(start)))  # as of a series
    timed = np.isfinite(start) & np.isfinite(stop) & (stop >= start)
    if not timed.any():
        raise RecordingError(
            f"{table.name}: row 0 lasts from {start[0]} to {stop[0]} s, as none of {len(start)} "
            "has a start and a later stop; expected both in each row"
        )
    shown = (numbers.index >= 0) & timed
    tier = np.asarray(table["tier"][:]).astype(str)[shown] if "tier" in table.colnames else None
    lost = int((~timed & (numbers.index >= 0)).sum())
    notes = (f"{lost} presentations without a start and a later stop are left out",) if lost else ()
    return Presentations(
        table.name,
        start[shown],
        stop[shown],
        numbers.index[shown],
        tier,
        np.flatnonzero(shown),
        len(start),
        table,
        (*numbers.notes, *notes),
    )


def _numbers_of(table: TimeIntervals, images: ImageStack, options: NwbOptions) -> ImageNumbers:
    """Numbers of images from the first column that can be read as such."""
    columns = [options.image_column] if options.image_column else IMAGE_COLUMNS
    there = [column for column in columns if column in table.colnames]
    if not there:
        raise RecordingError(
            f"image_column: {options.image_column!r} is no column of {table.name!r}, which has "
            f"{', '.join(table.colnames)}"
        )
    read: dict[str, ImageNumbers] = {}
    failed: list[RecordingError] = []
    for column in there:
        try:
            values = np.asarray(table[column][:])
            if values.shape != (len(table),):
                raise RecordingError(
                    f"{table.name}.{column}: shape {values.shape}, expected ({len(table)},)"
                )
            read[column] = image_numbers(values, images, f"{table.name}.{column}", options)
        except RecordingError as error:
            failed.append(error)
    if not read:
        raise failed[0]
    name, first = next(iter(read.items()))
    others = [c for c, numbers in read.items() if not np.array_equal(numbers.index, first.index)]
    if not others:
        return first
    note = (
        f"images are those of the column {name!r}; {', '.join(map(repr, others))} would say "
        "otherwise, and `--option image_column=NAME` takes it"
    )
    return ImageNumbers(first.index, (*first.notes, note))


def _from_series(series: IndexSeries, images: ImageStack, options: NwbOptions) -> Presentations:
    clock = clock_of(series, unit=options.presentation_unit)
    values = np.asarray(series.data[:])
    if values.ndim != 1:
        raise RecordingError(f"{series.name}: shape {values.shape}, expected one image at a time")
    numbers = image_numbers(values, images, series.name, options)
    start = clock.times
    # The last one lasts as long as most do.
    stop = np.append(start[1:], start[-1:] + clock.period)
    index = numbers.index[clock.rows]
    shown = index >= 0
    return Presentations(
        series.name,
        start[shown],
        stop[shown],
        index[shown],
        None,
        clock.rows[shown],
        len(values),
        notes=(*numbers.notes, *clock.notes),
    )
