"""What the animal does in an NWB file while images are shown."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries
from pynwb.base import ProcessingModule
from pynwb.behavior import BehavioralTimeSeries, EyeTracking, PupilTracking

from predictive_model.importers.nwb_presentations import times_of
from predictive_model.recordings.recording import RecordingError

# Parts of names by which running is told from other behaviour.
RUNNING = ("running", "speed", "velocity", "treadmill", "locomotion")
SEVERAL_COLUMNS = "behaviour"


@dataclass(frozen=True)
class Behaviour:
    """Series of behaviour, read when they are asked for.

    Attributes
    ----------
    series : tuple of TimeSeries
        Of one column each, or one of several.
    names : tuple of str
        Of the columns.
    pupil : TimeSeries, or None
        (time, 2) position.
    """

    series: tuple[TimeSeries, ...] = ()
    names: tuple[str, ...] = ()
    pupil: TimeSeries | None = None
    notes: tuple[str, ...] = ()

    def at(
        self, times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, tuple[str, ...]]:
        """Behaviour (trial, k) and pupil (trial, 2) at ``times``, and notes on bridged gaps."""
        notes: list[str] = []
        columns = [_at(series, times, notes) for series in self.series]
        pupil = None if self.pupil is None else _at(self.pupil, times, notes)
        return np.concatenate(columns, axis=1) if columns else None, pupil, tuple(notes)


def find_behaviour(file: NWBFile) -> Behaviour:
    """Find pupil size, running and the position of the pupil; none of them need be there."""
    positions: list[TimeSeries] = []
    series: list[TimeSeries] = []
    notes: list[str] = []
    for found in file.objects.values():
        if isinstance(found, EyeTracking):
            positions += list(found.spatial_series.values())
        elif isinstance(found, PupilTracking):
            series += list(found.time_series.values())
        elif isinstance(found, BehavioralTimeSeries):
            running = [s for s in found.time_series.values() if _is_running(s)]
            series += running
            others = sorted(set(found.time_series) - {s.name for s in running})
            notes += [f"behaviour {name!r} is left out" for name in others]
        elif isinstance(found, ProcessingModule):
            series += [
                s
                for s in found.data_interfaces.values()
                if type(s) is TimeSeries and (_is_running(s) or s.name == SEVERAL_COLUMNS)
            ]
    positions += [s for s in series if _width(s) == 2 and isinstance(s.parent, PupilTracking)]
    series = sorted((s for s in series if s not in positions), key=lambda s: s.name)
    names: list[str] = []
    kept = []
    for s in series:
        columns = _columns(s)
        if not columns:
            notes.append(f"behaviour {s.name!r} has shape {np.shape(s.data)} and is left out")
            continue
        kept.append(s)
        names += columns
    pupil, note = _pupil(positions)
    return Behaviour(tuple(kept), tuple(names), pupil, (*notes, *note))


def _is_running(series: TimeSeries) -> bool:
    return any(part in series.name.lower() for part in RUNNING)


def _width(series: TimeSeries) -> int:
    shape = np.shape(series.data)
    return 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else 0


def _columns(series: TimeSeries) -> list[str]:
    """Names of a series' columns; none if it is no behaviour of one value at a time."""
    width = _width(series)
    if series.name == SEVERAL_COLUMNS and width:
        try:
            names = json.loads(series.comments)
        except json.JSONDecodeError:
            names = None
        if isinstance(names, list) and len(names) == width:
            return [str(name) for name in names]
        return [f"{SEVERAL_COLUMNS}_{i}" for i in range(width)]
    return [series.name] if width == 1 else []


def _pupil(positions: list[TimeSeries]) -> tuple[TimeSeries | None, list[str]]:
    usable = sorted((s for s in positions if _width(s) == 2), key=lambda s: s.name)
    if not usable:
        return None, [f"{s.name!r} is no (time, 2) position and left out" for s in positions]
    best = next((s for s in usable if "pupil" in s.name.lower()), usable[0])
    others = [s.name for s in positions if s is not best]
    return best, [f"the pupil's position is {best.name!r}, not {others}"] if others else []


def _at(series: TimeSeries, times: NDArray[np.float64], notes: list[str]) -> NDArray[np.float32]:
    """(trial, column) values at ``times``, linear between the samples that are there."""
    sampled = times_of(series)
    values = np.asarray(series.data[:], np.float64)
    values = values[:, None] if values.ndim == 1 else values
    there = np.isfinite(values).all(1)
    if not there.any():
        raise RecordingError(f"{series.name}: has no sample that is finite")
    outside = np.flatnonzero((times < sampled[0]) | (times > sampled[-1]))
    if len(outside):
        raise RecordingError(
            f"{series.name}: lasts from {sampled[0]:.3f} to {sampled[-1]:.3f} s, but trial "
            f"{outside[0]} is at {times[outside[0]]:.3f} s, and {len(outside) - 1} others are "
            "outside too"
        )
    if not there.all():
        notes.append(f"{(~there).mean():.1%} of {series.name!r} are missing and bridged")
    columns = [np.interp(times, sampled[there], column) for column in values[there].T]
    return np.stack(columns, axis=1).astype(np.float32)
