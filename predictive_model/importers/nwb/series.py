"""One series of an NWB file: its times in seconds, its values in the unit that it names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb import TimeSeries

from predictive_model.recordings.recording import RecordingError


@dataclass(frozen=True)
class Clock:
    """When the samples of a series were taken.

    Attributes
    ----------
    times : (sample,) float64, seconds
        Never falling.
    rows : (sample,) int
        Where in the series' data each of them stands.
    period : float
        Seconds from one sample to the next, as most are; 0 for a single sample.
    notes : tuple of str
    """

    times: NDArray[np.float64]
    rows: NDArray[np.int64]
    period: float
    notes: tuple[str, ...] = ()


def clock_of(series: TimeSeries, *, unit: float | None = None, remedy: str = "") -> Clock:
    """Times of a series' samples, of which those without a time are left out.

    Parameters
    ----------
    series : TimeSeries
    unit : float, optional
        Seconds that one unit of its times is worth; one by default.
    remedy : str, optional
        What can be done instead of mending the file.

    Raises
    ------
    RecordingError
        If there are none, not as many as samples, or if they do not rise.
    """
    times = _times_of(series)
    wrong = _what_is_wrong(times, len(series.data))
    if wrong:
        raise RecordingError(f"{series.name}: {wrong}" + (f"; {remedy}" if remedy else ""))
    rows = np.flatnonzero(np.isfinite(times))
    lost = len(times) - len(rows)
    notes = (f"{lost} samples of {series.name!r} have no time and are left out",) if lost else ()
    times = times[rows] * (unit or 1.0)
    return Clock(times, rows, float(np.median(np.diff(times))) if len(rows) > 1 else 0.0, notes)


def _times_of(series: TimeSeries) -> NDArray[np.float64]:
    """(sample,) what the file says, none if it says nothing."""
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], np.float64)
    if series.rate and np.isfinite(series.rate) and series.rate > 0:
        return (series.starting_time or 0.0) + np.arange(len(series.data)) / series.rate
    return np.empty(0)


def _what_is_wrong(times: NDArray[np.float64], n: int) -> str:
    """What is wrong with the times of ``n`` samples, and how to mend it; empty if nothing is."""
    if n and not len(times):
        return "has neither timestamps nor a rate above 0; write one of them"
    if times.shape != (n,):
        return f"{len(times)} timestamps for {n} samples; write one for each"
    rows = np.flatnonzero(np.isfinite(times))
    if not len(rows):
        return f"none of its {n} samples has a time; write their timestamps, or a rate"
    there = times[rows]
    steps = np.diff(there)
    if (steps < 0).any():
        back = int(np.flatnonzero(steps < 0)[0])
        return (
            f"its timestamps do not rise: they go back at sample {rows[back + 1]}, from "
            f"{there[back]:.3f} to {there[back + 1]:.3f} s, as where files were joined; shift the "
            "later part to its place"
        )
    if len(steps) and np.median(steps) == 0:
        return (
            f"its timestamps do not rise: most are the one before, such as {there[0]:.3f} s; write "
            "the times at which the samples were taken"
        )
    return ""


def in_its_unit(series: TimeSeries, values: NDArray) -> NDArray:
    """Values as the series' ``unit`` means them: data x conversion + offset.

    ``values`` are stored ones, channels (if any) last; they come back as they are where the
    file has nothing to convert.
    """
    factor, offset = _conversion(series)
    if np.all(factor == 1) and offset == 0:
        return values
    return np.asarray(values, np.float64) * factor + offset


def converted(series: TimeSeries) -> tuple[str, ...]:
    """A note on the conversion of a series, if it has one."""
    factor, offset = _conversion(series)
    if np.all(factor == 1) and offset == 0:
        return ()
    by = f"{factor:.4g}" if np.ndim(factor) == 0 else "the conversion of each channel"
    return (f"{series.name!r} is its data times {by}, plus {offset:.4g}, as the file says",)


def _conversion(series: TimeSeries) -> tuple[float | NDArray[np.float64], float]:
    factor = 1.0 if series.conversion is None else float(series.conversion)
    offset = 0.0 if series.offset is None else float(series.offset)
    channels = getattr(series, "channel_conversion", None)
    if channels is not None:
        return factor * np.asarray(channels[:], np.float64), offset
    return factor, offset
