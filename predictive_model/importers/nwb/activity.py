"""What responses in an NWB file can be read from: a row for each trial, traces, or spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
from pynwb import NWBFile, TimeSeries
from pynwb.core import DynamicTable
from pynwb.ophys import RoiResponseSeries

from predictive_model.importers.npy import require_numbers
from predictive_model.importers.nwb.measured import Activity, Measured
from predictive_model.importers.nwb.neurons import Neurons, find_neurons
from predictive_model.importers.nwb.presentations import Presentations, choose
from predictive_model.importers.nwb.series import converted, in_its_unit
from predictive_model.importers.nwb.spikes import SpikeTimes
from predictive_model.importers.nwb.traces import Traces, best_of, find_traces, path_of
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

WHERE = (
    "a TimeSeries `responses` of a row for each presentation, a RoiResponseSeries, or units with "
    "spike_times"
)


def find_activity(file: NWBFile, options: NwbOptions, *, n_rows: int) -> Activity:
    """Find what responses can be read from; ``options.responses`` chooses among several.

    Raises
    ------
    RecordingError
        If there is none, more than one of the best kind, or one that contradicts its table.
    """
    name = options.responses
    by_trial: dict[str, Any] = {}
    for module in file.processing.values():
        for series in module.data_interfaces.values():
            if type(series) is TimeSeries and series.name == (name or "responses"):
                by_trial[series.name] = (series, module.data_interfaces.get("neurons"))
    traces, neuropil = find_traces(file)
    units = file.units if file.units is not None and "spike_times" in file.units.colnames else None
    spikes = {} if units is None else {"units": units}
    if name is None and by_trial:
        name = "responses"
    named = {path_of(s): s for s in traces.values()} if name and "/" in name else traces
    there = {**(named if name else best_of(traces)), **spikes, **by_trial}
    surround = f" (neuropil, {', '.join(neuropil)}, is no neuron's response)" if neuropil else ""
    chosen = choose("responses", there, name, WHERE + surround)
    if isinstance(chosen, tuple):
        series, table = chosen
        return TrialResponses(series, table, options, n_rows=n_rows)
    if isinstance(chosen, RoiResponseSeries):
        others = [t for t in traces if traces[t] is not chosen]
        return Traces(chosen, others + neuropil, options)
    return SpikeTimes(chosen, options)


class TrialResponses:
    """A row of responses for each presentation."""

    timed = False

    def __init__(
        self, series: TimeSeries, table: DynamicTable | None, options: NwbOptions, *, n_rows: int
    ) -> None:
        self.name = series.name
        self._series = series
        shape = np.shape(series.data)
        if len(shape) != 2 or shape[0] != n_rows:
            raise RecordingError(
                f"{self.name}: shape {shape}, expected ({n_rows}, neuron), a row for each of the "
                f"{n_rows} presentations"
            )
        require_numbers(series.data.dtype, self.name)
        rows = np.arange(shape[1])
        if table is None:
            self.neurons = Neurons(rows, rows)
        elif len(table) != shape[1]:
            raise RecordingError(
                f"{table.name}: {len(table)} rows for the {shape[1]} columns of {self.name!r}"
            )
        else:
            self.neurons = find_neurons(table, rows, options)
        self.area = self.neurons.area
        self.notes: tuple[str, ...] = (*converted(series), *self.neurons.notes)

    def read(self, found: Presentations, options: NwbOptions) -> Measured:
        """(trial, neuron) responses; they have no window."""
        values = in_its_unit(self._series, self._series.data[:])
        return Measured(values[found.rows][:, self.neurons.columns].astype(np.float32))
