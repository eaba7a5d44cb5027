"""Spikes of sorted units in an NWB file, counted in windows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pynwb.core import DynamicTable

from predictive_model.importers.nwb.measured import Measured
from predictive_model.importers.nwb.neurons import find_neurons
from predictive_model.importers.nwb.presentations import Presentations
from predictive_model.importers.nwb.times import (
    RESPONSE_UNIT,
    require_overlap,
    require_seconds_of,
)
from predictive_model.importers.nwb.valid import inside
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

# Spikes that are out of order by less were merely written so.
JITTER = 0.01  # seconds
# In no order at all half of the steps go back; where files were joined, one for each of them.
SHUFFLED = 0.25
# With so many spikes expected from all units, none at all means that nothing was recorded (p .001).
EXPECTED_SPIKES = 7.0
FEW_SPIKES = 50  # tell no rate


class SpikeTimes:
    """Responses that are numbers of spikes in the window of each presentation."""

    timed = True
    name = "units"

    def __init__(self, units: DynamicTable, options: NwbOptions) -> None:
        self._units = units
        if not len(units):
            raise RecordingError("units: has no rows")
        self.neurons = find_neurons(units, np.arange(len(units)), options)
        self.area = self.neurons.area
        self.notes: tuple[str, ...] = (
            "responses are spike counts of `units`",
            *self.neurons.notes,
        )

    def read(self, found: Presentations, options: NwbOptions) -> Measured:
        """(trial, neuron) numbers of spikes in each window.

        NaN where the unit was not observed during the whole window, before the first spike of
        all units and after the last, and for units whose spike times contradict each other.
        """
        start = found.start + options.window_start
        stop = start + options.window_length
        counts = np.full((len(start), len(self.neurons)), np.nan, np.float32)
        recorded = np.zeros(counts.shape, bool)
        observed = np.ones(counts.shape, bool)
        train = _Train()
        for place, row in enumerate(self.neurons.columns):
            spikes = train.in_order(self._units["spike_times"][row], options)
            if spikes is None:
                continue
            before, until = np.searchsorted(spikes, start), np.searchsorted(spikes, stop)
            counts[:, place] = until - before
            recorded[:, place] = True
            observed[:, place] = self._observed(row, start, stop, options)
        notes = train.notes(len(self.neurons))
        train.require_one_clock(found, options)
        if not observed.all():
            notes.append(_on_observed(observed, options))
        outside = train.outside(start, stop)
        if outside.any() and "obs_intervals" not in self._units.colnames:
            notes.append(
                f"spikes are recorded from {train.first:.3f} to {train.last:.3f} s, which does "
                f"not hold the windows of {int(outside.sum())} presentations to their ends"
                + ("" if options.all_trials else "; `--option all_trials=true` takes them")
            )
            observed &= ~outside[:, None]
        if not options.all_trials:
            recorded &= observed
        return Measured(counts, recorded, tuple(notes))

    def _observed(
        self, row: int, start: NDArray, stop: NDArray, options: NwbOptions
    ) -> NDArray[np.bool_]:
        if "obs_intervals" not in self._units.colnames:
            return np.ones(len(start), bool)
        intervals = np.asarray(self._units["obs_intervals"][row], np.float64).reshape(-1, 2)
        if not len(intervals):
            return np.ones(len(start), bool)  # nothing is said about this unit
        return inside(intervals * (options.response_unit or 1.0), start, stop)


@dataclass
class _Train:
    """What the spikes of all units say together: from when to when, and what contradicts."""

    first: float = np.inf
    last: float = -np.inf
    count: int = 0
    back: list[float] = field(default_factory=list)  # how far, of each unit that starts over
    without_time: int = 0
    padded: int = 0
    shuffled: int = 0

    def in_order(self, stored: NDArray, options: NwbOptions) -> NDArray[np.float64] | None:
        """Spike times in seconds, rising; None where they contradict each other."""
        spikes = np.asarray(stored, np.float64) * (options.response_unit or 1.0)
        finite = np.isfinite(spikes)
        if not finite.all():
            n = int(finite.sum())
            if not finite[:n].all():
                self.without_time += 1
                return None
            self.padded += 1
            spikes = spikes[:n]
        falls = np.diff(spikes) < -JITTER
        if falls.any():
            if falls.mean() < SHUFFLED and not options.sort_spikes:
                self.back.append(float(-np.diff(spikes).min()))
                return None
            self.shuffled += 1
        spikes = np.sort(spikes)
        if len(spikes):
            self.first, self.last = min(self.first, spikes[0]), max(self.last, spikes[-1])
            self.count += len(spikes)
        return spikes

    @property
    def slack(self) -> float:
        """Seconds without a spike of any unit, at either end, that chance may leave."""
        if self.count < FEW_SPIKES:
            return np.inf
        return EXPECTED_SPIKES * (self.last - self.first) / self.count

    def require_one_clock(self, found: Presentations, options: NwbOptions) -> None:
        """Refuse presentations of another time than the spikes, if those are many enough."""
        if np.isinf(self.slack):
            return
        if options.response_unit is None and options.presentation_unit is None:
            require_seconds_of(found, self.first, self.last, "units", RESPONSE_UNIT)
        first, last = self.first - self.slack, self.last + self.slack
        require_overlap(found, first, last, "units", options)

    def outside(self, start: NDArray, stop: NDArray) -> NDArray[np.bool_]:
        """(trial,) windows that begin before the recording or end after it."""
        return (start < self.first - self.slack) | (stop > self.last + self.slack)

    def notes(self, n_units: int) -> list[str]:
        """What was wrong with how many units.

        Raises
        ------
        RecordingError
            If more than half of them start over.
        """
        found = []
        if self.back:
            what = (
                f"the spike times of {len(self.back)} of {n_units} units go back, by up to "
                f"{max(self.back):.3f} s, as where files were joined and the later one was not "
                "shifted"
            )
            if 2 * len(self.back) > n_units:
                raise RecordingError(
                    f"units: {what}; add to each part the time at which it began, or, if the "
                    "spikes are merely out of order, `--option sort_spikes=true` sorts them"
                )
            found.append(
                f"{what}: they are left out; `--option sort_spikes=true` takes them, sorted"
            )
        if self.without_time:
            found.append(f"{self.without_time} units have spikes without a time, and are left out")
        if self.padded:
            found.append(f"the spike times of {self.padded} units end with values that are no time")
        if self.shuffled:
            found.append(f"the spike times of {self.shuffled} units were in no order, and sorted")
        return found


def _on_observed(observed: NDArray[np.bool_], options: NwbOptions) -> str:
    trials, units = int((~observed).any(1).sum()), int((~observed).any(0).sum())
    what = (
        f"obs_intervals do not hold the windows of {trials} presentations for {units} of "
        f"{observed.shape[1]} units"
    )
    if options.all_trials:
        return f"{what}, where spikes are counted all the same"
    return f"{what}; `--option all_trials=true` counts spikes there all the same"
