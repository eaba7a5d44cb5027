"""Fluorescence, dF/F or deconvolved activity over time, in an NWB file."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.ophys import DfOverF, RoiResponseSeries

from predictive_model.importers.npy import require_numbers
from predictive_model.importers.nwb.measured import Measured
from predictive_model.importers.nwb.neurons import find_neurons
from predictive_model.importers.nwb.presentations import Presentations
from predictive_model.importers.nwb.series import Clock, clock_of, converted, in_its_unit
from predictive_model.importers.nwb.times import RESPONSE_UNIT, require_overlap, require_times
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

# Parts of names by which deconvolved activity and dF/F are told from raw fluorescence.
DECONVOLVED = ("deconv", "event", "spike", "infer")
DF_OVER_F = ("dff", "df_over_f", "dfoverf", "delta")
# Parts of names of what surrounds neurons, and of what it was taken away from.
SURROUND = ("neuropil", "fneu", "background")
WITHOUT_SURROUND = ("correct", "subtract", "minus", "without", "demix")

ROUNDING = 1e-6  # seconds


def find_traces(file: NWBFile) -> tuple[dict[str, RoiResponseSeries], list[str]]:
    """Series of neurons by their names, and the names of those of the neuropil around them.

    Series that share a name go by their container's and their own: ``Deconvolved/plane0``.
    """
    found = [s for s in file.objects.values() if isinstance(s, RoiResponseSeries)]
    counts = Counter(series.name for series in found)
    by_name = {s.name if counts[s.name] == 1 else path_of(s): s for s in found}
    neuropil = sorted(name for name, series in by_name.items() if _is_surround(series))
    return {n: s for n, s in by_name.items() if n not in neuropil}, neuropil


def best_of(traces: dict[str, RoiResponseSeries]) -> dict[str, RoiResponseSeries]:
    """The traces of the most deconvolved kind."""
    ranks = {name: _rank(series) for name, series in traces.items()}
    return {n: s for n, s in traces.items() if ranks[n] == min(ranks.values())}


class Traces:
    """Responses that are means of a series in the window of each presentation."""

    timed = True

    def __init__(self, series: RoiResponseSeries, others: list[str], options: NwbOptions) -> None:
        self.name = series.name
        self._series = series
        shape = np.shape(series.data)
        rows = np.asarray(series.rois.data[:], np.int64)
        width = shape[1] if len(shape) == 2 else 1
        if len(shape) not in (1, 2) or len(rows) != width:
            raise RecordingError(
                f"{self.name}: shape {shape} for {len(rows)} ROIs, expected (time, {len(rows)})"
            )
        require_numbers(series.data.dtype, self.name)
        table = series.rois.table
        self.neurons = find_neurons(table, rows, options)
        self.area = self.neurons.area
        plane = getattr(table, "imaging_plane", None)
        if not self.area and plane is not None and plane.location not in (None, "unknown"):
            self.area = plane.location
        left_out = f", not {', '.join(sorted(others))}" if others else ""
        self.notes: tuple[str, ...] = (
            f"responses are those of {self.name!r}{left_out}",
            *converted(series),
            *self.neurons.notes,
        )

    def read(self, found: Presentations, options: NwbOptions) -> Measured:
        """(trial, neuron) means over the samples in each window, but for those missing.

        NaN where the window is not recorded to its end, or half of its samples are missing. A
        window shorter than a sample takes the one that is nearest to its middle.
        """
        clock = clock_of(self._series, unit=options.response_unit)
        if options.response_unit is None:
            require_times(clock, found, self.name, RESPONSE_UNIT)
        require_overlap(found, clock.times[0], clock.times[-1], self.name, options)
        start = found.start + options.window_start
        stop = start + options.window_length
        first, last = np.searchsorted(clock.times, start), np.searchsorted(clock.times, stop)
        notes = list(clock.notes)
        if options.window_length < clock.period:
            first, last = _nearest(clock, (start + stop) / 2)
            _require_a_sample_each(found, clock, self.name)
            notes.append(
                f"the window of {options.window_length:g} s is shorter than a sample of "
                f"{self.name!r}, {clock.period:.3g} s: responses are its samples nearest to it"
            )
        recorded = last > first
        if not options.all_trials:
            recorded &= _recorded(clock, start, stop, last - first)
        lost = int((~recorded).sum())
        if lost:
            notes.append(
                f"{self.name!r} lasts from {clock.times[0]:.3f} to {clock.times[-1]:.3f} s and "
                f"does not hold the windows of {lost} presentations to their ends; `--option "
                "all_trials=true` takes those of which it has any sample"
            )
        shape = (len(start), len(self.neurons))
        responses = np.full(shape, np.nan, np.float32)
        for trial in np.flatnonzero(recorded):
            responses[trial] = self._mean(clock.rows[first[trial] : last[trial]])
        return Measured(responses, np.broadcast_to(recorded[:, None], shape), tuple(notes))

    def _mean(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(neuron,) means over those samples that are finite, NaN where fewer than half are."""
        read = self._series.data[rows[0] : rows[-1] + 1][rows - rows[0]]
        values = read.reshape(len(rows), -1)[:, self.neurons.columns].astype(np.float64)
        values = in_its_unit(self._series, values)
        finite = np.isfinite(values)
        there = finite.sum(0)
        sums = values.sum(0, where=finite)
        return np.where(2 * there >= len(rows), sums / np.maximum(there, 1), np.nan)


def path_of(series: RoiResponseSeries) -> str:
    """The names of a series' container and of itself."""
    return f"{series.parent.name}/{series.name}" if series.parent is not None else series.name


def _nearest(
    clock: Clock, middle: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last (exclusive) of the one sample nearest to each time, none if it is far."""
    after = np.searchsorted(clock.times, middle).clip(1, len(clock.times) - 1)
    before_is_nearer = middle - clock.times[after - 1] <= clock.times[after] - middle
    nearest = np.where(before_is_nearer, after - 1, after)
    near = np.abs(clock.times[nearest] - middle) <= clock.period
    return nearest, np.where(near, nearest + 1, nearest)


def _recorded(
    clock: Clock, start: NDArray[np.float64], stop: NDArray[np.float64], n: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(trial,) windows from the first sample to the last, with at least half of those due."""
    begun = start >= clock.times[0] - clock.period - ROUNDING
    ended = stop <= clock.times[-1] + clock.period + ROUNDING
    due = (stop - start) / clock.period if clock.period else np.ones(len(start))
    return begun & ended & (n >= due / 2)


def _require_a_sample_each(found: Presentations, clock: Clock, name: str) -> None:
    """Refuse samples so rare that neighbouring presentations would share one."""
    interval = np.median(np.diff(np.sort(found.start))) if len(found.start) > 1 else np.inf
    if clock.period > interval:
        raise RecordingError(
            f"{name}: a sample every {clock.period:.4g} s, but an image every {interval:.4g} s, "
            "so responses cannot be told apart; is its rate in Hz? Otherwise take another series "
            "with `responses` (--responses)"
        )


def _is_surround(series: RoiResponseSeries) -> bool:
    names = f"{path_of(series)}/{series.rois.table.name}".lower()
    return any(part in names for part in SURROUND) and not any(
        part in names for part in WITHOUT_SURROUND
    )


def _rank(series: RoiResponseSeries) -> int:
    names = path_of(series).lower()
    if any(part in names for part in DECONVOLVED):
        return 0
    if isinstance(series.parent, DfOverF) or any(part in names for part in DF_OVER_F):
        return 1
    return 2
