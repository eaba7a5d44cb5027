"""What the animal does in an NWB file while images are shown."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries
from pynwb.base import ProcessingModule
from pynwb.behavior import BehavioralTimeSeries, EyeTracking, PupilTracking

from predictive_model.importers.nwb.presentations import Presentations
from predictive_model.importers.nwb.series import clock_of, converted, in_its_unit
from predictive_model.importers.nwb.times import require_times
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

# Parts of names by which running is told from other behaviour.
RUNNING = ("running", "speed", "velocity", "treadmill", "locomotion")
SEVERAL_COLUMNS = "behaviour"
# Longer gaps are not bridged: nobody knows what the animal did meanwhile.
LONGEST_GAP = 5.0  # seconds


@dataclass(frozen=True)
class Behaviour:
    """Series of behaviour, read when they are asked for.

    Attributes
    ----------
    series : tuple of TimeSeries
        Of one column each, or one of several.
    names_of : tuple of tuples of str
        Of the columns of each series.
    pupil : TimeSeries, or None
        (time, 2) position.
    """

    series: tuple[TimeSeries, ...] = ()
    names_of: tuple[tuple[str, ...], ...] = ()
    pupil: TimeSeries | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return tuple(name for names in self.names_of for name in names)

    def at(
        self, shown: Presentations
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, tuple[str, ...]]:
        """Behaviour (trial, k) and pupil (trial, 2) in each trial, NaN where unknown, and notes.

        Raises
        ------
        RecordingError
            If the times of a series contradict themselves.
        """
        notes: list[str] = []
        columns = [_at(series, shown, notes) for series in self.series]
        pupil = None if self.pupil is None else _at(self.pupil, shown, notes)
        return np.concatenate(columns, axis=1) if columns else None, pupil, tuple(notes)


def find_behaviour(file: NWBFile, options: NwbOptions) -> Behaviour:
    """Find pupil size, running and the position of the pupil; none of them need be there.

    Raises
    ------
    RecordingError
        If ``options.without`` names a series that is none of them.
    """
    series, positions, notes = _candidates(file)
    there = {s.name for s in (*series, *positions)}
    unknown = sorted(set(options.without) - there)
    if unknown:
        raise RecordingError(
            f"without: {unknown[0]!r} is no behaviour of this file; expected some of "
            f"{', '.join(sorted(there)) or 'none, as it has no behaviour'}"
        )
    notes += [f"behaviour {name!r} is left out, as asked" for name in options.without]
    series, positions = (
        [s for s in some if s.name not in options.without] for some in (series, positions)
    )
    names: list[tuple[str, ...]] = []
    kept = []
    several = {name for name, n in Counter(s.name for s in series).items() if n > 1}
    for s in series:
        columns = _columns(s)
        if not columns:
            notes.append(f"behaviour {s.name!r} has shape {np.shape(s.data)} and is left out")
            continue
        kept.append(s)
        names.append(tuple(f"{s.parent.name}/{c}" if s.name in several else c for c in columns))
    pupil, note = _pupil(positions)
    return Behaviour(tuple(kept), tuple(names), pupil, (*notes, *note))


def _candidates(file: NWBFile) -> tuple[list[TimeSeries], list[TimeSeries], list[str]]:
    """Series of behaviour by their names, series of positions, and notes on others."""
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
    return series, positions, notes


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


def _at(series: TimeSeries, shown: Presentations, notes: list[str]) -> NDArray[np.float32]:
    """(trial, column) values amid each trial, linear between the samples that are there.

    NaN before the first, after the last and in long gaps.
    """
    times = (shown.start + shown.stop) / 2
    clock = clock_of(series, remedy=(remedy := f"`--option without={series.name}` passes over it"))
    require_times(clock, shown, series.name, remedy)
    values = np.asarray(series.data[:], np.float64)[clock.rows]
    values = in_its_unit(series, values[:, None] if values.ndim == 1 else values)
    notes += [*clock.notes, *converted(series)]
    there = np.isfinite(values).all(1)
    found = np.full((len(times), values.shape[1]), np.nan, np.float32)
    if not there.any():
        notes.append(f"{series.name!r} has no sample that is finite")
        return found
    if not there.all():
        notes.append(f"{(~there).mean():.1%} of {series.name!r} are missing and bridged")
    sampled = clock.times[there]
    known = _is_known(sampled, times, clock.period)
    if not known.all():
        notes.append(
            f"{series.name!r} is not known in {int((~known).sum())} of {len(times)} trials: it "
            f"lasts from {sampled[0]:.3f} to {sampled[-1]:.3f} s, with gaps of up to "
            f"{np.diff(sampled).max(initial=0.0):.1f} s; `--option without={series.name}` takes "
            "all trials without it, `--option most_missing=1` takes it and leaves out those trials"
        )
    for column, sample in zip(found.T, values[there].T, strict=True):
        column[known] = np.interp(times[known], sampled, sample)
    return found


def _is_known(
    sampled: NDArray[np.float64], times: NDArray[np.float64], period: float
) -> NDArray[np.bool_]:
    """(trial,) times from the first sample to the last which lie in no long gap."""
    last = len(sampled) - 1
    after = np.searchsorted(sampled, times).clip(min(1, last), last)
    gap = sampled[after] - sampled[np.maximum(after - 1, 0)]
    begun, ended = times >= sampled[0] - period, times <= sampled[-1] + period
    return begun & ended & (gap <= max(LONGEST_GAP, 2 * period))
