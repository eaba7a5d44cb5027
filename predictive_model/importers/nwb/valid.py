"""When an NWB file calls its own recording invalid, and when its units were observed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.core import DynamicTable

from predictive_model.importers.nwb.flags import flagged, tagged
from predictive_model.importers.nwb.presentations import Presentations
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

INVALID_TIMES = "invalid_times"
# Times are written as sums of steps, so that one interval may begin a rounding after the other.
ROUNDING = 1e-6


def valid_presentations(file: NWBFile, found: Presentations, options: NwbOptions) -> Presentations:
    """Presentations but those which the file calls invalid.

    These are flagged in their own table, or overlap an interval of ``invalid_times``, or one of
    another table that is tagged so; from the onset of the image to its end and that of the window.

    Raises
    ------
    RecordingError
        If none is left.
    """
    n, table = len(found.start), found.table
    invalid = np.zeros(n, bool)
    reasons: list[str] = []
    if table is not None:
        for flags in (flagged(table, found.rows), tagged(table, found.rows)):
            invalid |= flags.unusable
            reasons += flags.reasons
    end = found.start + options.window_start + options.window_length
    first, last = found.start + min(options.window_start, 0), np.maximum(found.stop, end)
    for name, start, stop in _invalid_intervals(file, without=table):
        hit = np.zeros(n, bool)
        for a, b in zip(start, stop, strict=True):
            hit |= (first < b - ROUNDING) & (last > a + ROUNDING)
        if hit.any():
            invalid |= hit
            reasons.append(f"{int(hit.sum())} by intervals of {name!r}")
    if not invalid.any():
        return found
    why = ", ".join(reasons)
    if options.all_trials:
        note = f"presentations are taken in spite of the file, which calls some invalid: {why}"
        return replace(found, notes=(*found.notes, note))
    if invalid.all():
        raise RecordingError(
            f"{found.name}: the file calls all {n} presentations invalid, {why}; `--option "
            "all_trials=true` takes them after all"
        )
    note = (
        f"{int(invalid.sum())} of {n} presentations are left out, as the file calls them invalid, "
        f"{why}; `--option all_trials=true` takes them"
    )
    return found.only(~invalid, note)


def inside(
    intervals: NDArray[np.float64], start: NDArray[np.float64], stop: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(trial,) whether each window from ``start`` to ``stop`` lies within one of the intervals.

    Intervals (k, 2) that touch or overlap count as one.
    """
    first, last = _merged(intervals)
    place = np.searchsorted(first, start + ROUNDING, side="right") - 1
    return (place >= 0) & (last[np.maximum(place, 0)] >= stop - ROUNDING)


def _invalid_intervals(
    file: NWBFile, *, without: DynamicTable | None
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Names, starts and stops of what the file calls invalid; ``without`` one of its tables."""
    for name, table in (file.intervals or {}).items():
        if table is without:
            continue
        start, stop = (np.asarray(table[c][:], np.float64) for c in ("start_time", "stop_time"))
        chosen = ~np.isnan(start)
        if name != INVALID_TIMES:
            chosen &= tagged(table, np.arange(len(table))).unusable
        if chosen.any():
            until = np.where(np.isnan(stop), np.inf, stop)  # one that was not ended
            yield name, start[chosen], until[chosen]


def _merged(
    intervals: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ordered = intervals[np.argsort(intervals[:, 0], kind="stable")]
    until = np.maximum.accumulate(ordered[:, 1])
    new = np.r_[True, ordered[1:, 0] > until[:-1] + ROUNDING]
    return ordered[new, 0], until[np.r_[np.flatnonzero(new)[1:] - 1, len(until) - 1]]
