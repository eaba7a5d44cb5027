"""What neurons do in an NWB file: traces, spikes, or one response for each presentation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries
from pynwb.core import DynamicTable
from pynwb.ophys import DfOverF, RoiResponseSeries

from predictive_model.importers.npy import require_numbers
from predictive_model.importers.nwb_presentations import Presentations, choose, times_of
from predictive_model.recordings.recording import RecordingError

# Parts of names by which deconvolved activity and dF/F are told from raw fluorescence.
DECONVOLVED = ("deconv", "event", "spike", "infer")
DF_OVER_F = ("dff", "df_over_f", "dfoverf", "delta")

WHERE = (
    "a TimeSeries `responses` of a row for each presentation, a RoiResponseSeries, or units with "
    "spike_times"
)


class Activity(Protocol):
    """Responses that are read when they are asked for, and whose they are."""

    name: str
    n_neurons: int
    ids: NDArray
    positions: NDArray | None
    area: str
    notes: tuple[str, ...]

    def read(
        self, found: Presentations, window_start: float, window_length: float
    ) -> NDArray[np.float32]:
        """(trial, neuron) responses, in the window of each presentation where there are times."""
        ...


def find_activity(file: NWBFile, name: str | None, *, n_rows: int) -> Activity:
    """Find what responses can be read from; ``name`` chooses among several.

    Raises
    ------
    RecordingError
        If there is none, more than one of the best kind, or one that contradicts its table.
    """
    by_trial: dict[str, Any] = {}
    traces: dict[str, RoiResponseSeries] = {}
    for module in file.processing.values():
        for series in module.data_interfaces.values():
            if type(series) is TimeSeries and series.name == (name or "responses"):
                by_trial[series.name] = (series, module.data_interfaces.get("neurons"))
    for found in file.objects.values():
        if isinstance(found, RoiResponseSeries) and "neuropil" not in found.name.lower():
            traces[found.name if found.name not in traces else _path(found)] = found
    units = file.units if file.units is not None and "spike_times" in file.units.colnames else None
    if name is None and by_trial:
        name = "responses"
    best = traces if name else _best(traces)
    spikes = {} if units is None else {"units": units}
    chosen = choose("responses", {**best, **spikes, **by_trial}, name, WHERE)
    if isinstance(chosen, tuple):
        return TrialResponses(*chosen, n_rows=n_rows)
    if isinstance(chosen, RoiResponseSeries):
        return Traces(chosen, [t for t in traces if traces[t] is not chosen])
    return SpikeTimes(chosen)


class TrialResponses:
    """A row of responses for each presentation."""

    def __init__(self, series: TimeSeries, table: DynamicTable | None, *, n_rows: int) -> None:
        self.name = series.name
        self._data = series.data
        shape = np.shape(series.data)
        if len(shape) != 2 or shape[0] != n_rows:
            raise RecordingError(
                f"{self.name}: shape {shape}, expected ({n_rows}, neuron), a row for each of the "
                f"{n_rows} presentations"
            )
        require_numbers(series.data.dtype, self.name)
        self.n_neurons = shape[1]
        self.notes: tuple[str, ...] = ()
        if table is None:
            self.ids, self.positions, self.area = np.arange(shape[1]), None, ""
            return
        if len(table) != self.n_neurons:
            raise RecordingError(
                f"{table.name}: {len(table)} rows for the {self.n_neurons} columns of {self.name!r}"
            )
        rows = np.arange(self.n_neurons)
        self.ids, self.positions, self.area = _about(table, rows)

    def read(
        self, found: Presentations, window_start: float, window_length: float
    ) -> NDArray[np.float32]:
        """(trial, neuron) responses; they have no window."""
        return np.asarray(self._data[:], np.float32)[found.rows]


class Traces:
    """Fluorescence, dF/F or deconvolved activity over time."""

    def __init__(self, series: RoiResponseSeries, others: list[str]) -> None:
        self.name = series.name
        self._series = series
        shape = np.shape(series.data)
        rows = np.asarray(series.rois.data[:], np.int64)
        self.n_neurons = shape[1] if len(shape) == 2 else 1
        if len(shape) not in (1, 2) or len(rows) != self.n_neurons:
            raise RecordingError(
                f"{self.name}: shape {shape} for {len(rows)} ROIs, expected (time, {len(rows)})"
            )
        require_numbers(series.data.dtype, self.name)
        table = series.rois.table
        self.ids, self.positions, self.area = _about(table, rows)
        plane = getattr(table, "imaging_plane", None)
        if not self.area and plane is not None and plane.location not in (None, "unknown"):
            self.area = plane.location
        left_out = f", not {', '.join(sorted(others))}" if others else ""
        self.notes: tuple[str, ...] = (f"responses are those of {self.name!r}{left_out}",)

    def read(
        self, found: Presentations, window_start: float, window_length: float
    ) -> NDArray[np.float32]:
        """(trial, neuron) means over the samples in each window."""
        times = times_of(self._series)
        start = found.start + window_start
        first = np.searchsorted(times, start)
        last = np.searchsorted(times, start + window_length)
        empty = np.flatnonzero(last <= first)
        if len(empty):
            raise RecordingError(
                f"{self.name}: has no sample from {start[empty[0]]:.3f} to "
                f"{start[empty[0]] + window_length:.3f} s, the window of presentation "
                f"{found.rows[empty[0]]}, nor in {len(empty) - 1} others; it lasts from "
                f"{times[0]:.3f} to {times[-1]:.3f} s"
            )
        out = np.empty((len(first), self.n_neurons), np.float32)
        for trial, (a, b) in enumerate(zip(first, last, strict=True)):
            out[trial] = np.asarray(self._series.data[a:b], np.float64).mean(0)
        return out


class SpikeTimes:
    """Spikes of sorted units."""

    def __init__(self, units: DynamicTable) -> None:
        self.name = "units"
        self._units = units
        self.n_neurons = len(units)
        if not self.n_neurons:
            raise RecordingError("units: has no rows")
        self.ids, self.positions, self.area = _about(units, np.arange(self.n_neurons))
        self.notes: tuple[str, ...] = ("responses are spike counts of `units`",)

    def read(
        self, found: Presentations, window_start: float, window_length: float
    ) -> NDArray[np.float32]:
        """(trial, neuron) numbers of spikes in each window."""
        start = found.start + window_start
        out = np.empty((len(start), self.n_neurons), np.float32)
        for neuron in range(self.n_neurons):
            spikes = np.sort(np.asarray(self._units["spike_times"][neuron], np.float64))
            if not np.isfinite(spikes).all():
                raise RecordingError(f"units: spike_times of row {neuron} are not all finite")
            before, until = (np.searchsorted(spikes, t) for t in (start, start + window_length))
            out[:, neuron] = until - before
        return out


def _best(traces: dict[str, RoiResponseSeries]) -> dict[str, RoiResponseSeries]:
    """The traces of the most deconvolved kind."""
    ranks = {name: _rank(series) for name, series in traces.items()}
    return {n: s for n, s in traces.items() if ranks[n] == min(ranks.values())}


def _rank(series: RoiResponseSeries) -> int:
    names = _path(series).lower()
    if any(part in names for part in DECONVOLVED):
        return 0
    if isinstance(series.parent, DfOverF) or any(part in names for part in DF_OVER_F):
        return 1
    return 2


def _path(series: RoiResponseSeries) -> str:
    return f"{series.parent.name}/{series.name}" if series.parent is not None else series.name


def _about(
    table: DynamicTable, rows: NDArray[np.int64]
) -> tuple[NDArray, NDArray[np.float32] | None, str]:
    """Ids, positions and area of neurons that stand in ``rows`` of a table."""
    if len(rows) and (rows.min() < 0 or rows.max() >= len(table)):
        raise RecordingError(
            f"{table.name}: has {len(table)} rows, but row {rows.max()} is asked for"
        )
    columns = set(table.colnames)
    ids = np.asarray((table["neuron_id"] if "neuron_id" in columns else table.id)[:])[rows]
    if ids.dtype == object:
        ids = ids.astype(str)
    positions = None
    if "position" in columns:
        positions = np.asarray(table["position"][:])[rows]
    elif {"x", "y"} <= columns:
        axes = [axis for axis in ("x", "y", "z") if axis in columns]
        positions = np.stack([np.asarray(table[axis][:])[rows] for axis in axes], axis=1)
    area = ""
    if "location" in columns:
        areas = {str(a) for a in np.asarray(table["location"][:])[rows].tolist()}
        area = areas.pop() if len(areas) == 1 else ""
    return ids, positions, area
