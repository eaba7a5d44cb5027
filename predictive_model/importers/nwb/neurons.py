"""Which rows of a table of an NWB file are neurons to take, and what it says of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb.core import DynamicTable, VectorIndex

from predictive_model.importers.nwb.flags import (
    NOISE,
    QUALITY_COLUMNS,
    SINGLE_UNIT,
    flagged,
    quality_labels,
)
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

# Measures of sorting, reported but not judged: their limits differ from study to study.
MEASURES = ("isi_violations", "isi_violations_ratio", "presence_ratio", "amplitude_cutoff")


@dataclass(frozen=True)
class Neurons:
    """The neurons that are taken.

    Attributes
    ----------
    columns : (neuron,) int
        Their places among all that were asked for.
    ids : (neuron,) int or str
    positions : (neuron, 2 or 3), or None
        Micrometres.
    area : str
    notes : tuple of str
        Which were left out, why, and what takes them after all.
    """

    columns: NDArray[np.int64]
    ids: NDArray
    positions: NDArray | None = None
    area: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns)


def find_neurons(table: DynamicTable, rows: NDArray[np.int64], options: NwbOptions) -> Neurons:
    """Neurons in ``rows`` of a table, but those that it calls unusable.

    Raises
    ------
    RecordingError
        If a row is not there, or all are unusable.
    """
    if len(rows) and (rows.min() < 0 or rows.max() >= len(table)):
        raise RecordingError(
            f"{table.name}: has {len(table)} rows, but row {rows.max()} is asked for"
        )
    taken, notes = _usable(table, rows, options)
    columns = np.flatnonzero(taken)
    rows = rows[columns]
    ids, renamed = _ids(table, rows)
    area = ""
    if "location" in table.colnames:
        areas = {str(a) for a in np.asarray(table["location"][:])[rows].tolist()}
        area = areas.pop() if len(areas) == 1 else ""
    return Neurons(columns, ids, _positions(table, rows), area, (*notes, *renamed))


def _usable(
    table: DynamicTable, rows: NDArray[np.int64], options: NwbOptions
) -> tuple[NDArray[np.bool_], list[str]]:
    """(row,) which of the rows are taken, and notes on the others."""
    flags, labels = flagged(table, rows), quality_labels(table)[rows]
    dead = _on_bad_electrodes(table)[rows]
    wanted = [label.lower() for label in options.quality]
    if wanted and not (labels != "").any():
        raise RecordingError(
            f"quality: {table.name!r} has no labels of quality, expected a column such as "
            f"{', '.join(QUALITY_COLUMNS[:4])}; leave the option out"
        )
    noise = ~np.isin(labels, wanted) if wanted else np.isin(labels, list(NOISE))
    reasons = list(flags.reasons)
    reasons += [f"{n} by the label {label!r}" for label, n in _counts(labels[noise])]
    if dead.any():
        reasons.append(f"{int(dead.sum())} by their bad electrodes")
    out = noise | flags.unusable | dead
    why = ", ".join(reasons)
    if options.all_neurons or not out.any():
        taken = [f"neurons in {table.name!r} are taken in spite of the file: {why}"]
        return np.ones(len(rows), bool), (taken if out.any() else []) + _on_quality(table, labels)
    if out.all():
        raise RecordingError(
            f"{table.name}: none of its {len(rows)} neurons is usable ({why}); `--option "
            "all_neurons=true` takes them after all"
        )
    note = (
        f"{int(out.sum())} of {len(rows)} neurons in {table.name!r} are left out, {why}; `--option "
        "all_neurons=true` takes them"
    )
    return ~out, [note, *_on_quality(table, labels[~out])]


def _on_quality(table: DynamicTable, labels: NDArray[np.str_]) -> list[str]:
    """What the file says of the neurons that are taken."""
    notes = []
    lesser = labels[~np.isin(labels, ["", *SINGLE_UNIT])]
    if len(lesser) and (labels != "").any():
        called = ", ".join(f"{label!r} ({n})" for label, n in _counts(lesser))
        notes.append(
            f"of the neurons that are taken some are called {called}; `--option quality=good` "
            "takes those only that are called good"
        )
    measured = [name for name in MEASURES if name in table.colnames]
    if measured:
        notes.append(f"neurons are not chosen by {', '.join(measured)}, which the file has too")
    return notes


def _counts(labels: NDArray[np.str_]) -> list[tuple[str, int]]:
    return sorted(Counter(labels.tolist()).items())


def _on_bad_electrodes(units: DynamicTable) -> NDArray[np.bool_]:
    """(row,) units all of whose electrodes are called unusable in their own table."""
    nowhere = np.zeros(len(units), bool)
    column = units["electrodes"] if "electrodes" in units.colnames else None
    if not isinstance(column, VectorIndex):
        return nowhere
    table = column.target.table
    bad = flagged(table, np.arange(len(table))).unusable
    if not bad.any():
        return nowhere
    ends = np.asarray(column.data[:], np.int64)
    electrodes = np.asarray(column.target.data[:], np.int64)
    parts = np.split(bad[electrodes], ends[:-1])
    return np.array([len(part) > 0 and part.all() for part in parts], bool)


def _ids(table: DynamicTable, rows: NDArray[np.int64]) -> tuple[NDArray, list[str]]:
    named = "neuron_id" in table.colnames
    ids = np.asarray((table["neuron_id"] if named else table.id)[:])[rows]
    if len(np.unique(ids)) < len(ids):
        return rows, [f"the ids of {table.name!r} are not distinct: neurons go by their rows"]
    return ids.astype(str) if ids.dtype == object else ids, []


def _positions(table: DynamicTable, rows: NDArray[np.int64]) -> NDArray | None:
    columns = set(table.colnames)
    if "position" in columns:
        found = np.asarray(table["position"][:])[rows]
    elif {"x", "y"} <= columns:
        axes = [axis for axis in ("x", "y", "z") if axis in columns]
        found = np.stack([np.asarray(table[axis][:])[rows] for axis in axes], axis=1)
    else:
        return None
    return found
