"""What tables of an NWB file say of the use of their rows: flags, and labels of quality.

NWB fixes neither. These are the columns that sorters, segmentations and archives write: ``iscell``
(suite2p, with a second column of probabilities), ``Accepted`` and ``Rejected`` (CaImAn, EXTRACT),
``valid_roi`` and ``quality`` (Allen Institute), ``group`` (Phy), ``KSLabel`` (Kilosort), and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb.core import DynamicTable, VectorIndex

# Names of columns without `is_`, `has_` and an ending such as `_roi`.
TRUE_IF_USABLE = {
    "iscell", "cell", "accepted", "valid", "good", "usable", "keep", "kept", "include", "included",
    "default_qc", "valid_data",
}  # fmt: skip
TRUE_IF_NOT = {
    "notcell", "rejected", "invalid", "bad", "artifact", "artefact", "exclude", "excluded",
}  # fmt: skip
MAY_BE_PROBABLE = {"iscell", "cell"}
ENDINGS = ("_roi", "_cell", "_unit", "_neuron", "_trial", "_presentation", "_channel", "_electrode")

# What people decided goes before what a program did.
QUALITY_COLUMNS = (
    "quality", "unit_quality", "curation_label", "group", "cluster_group", "label",
    "decoder_label", "bombcell_label", "unit_type", "kslabel", "ks_label", "ks2_label",
)  # fmt: skip
NOISE = {"noise", "noisy", "artifact", "artefact", "bad", "rejected", "reject", "junk", "invalid"}
MULTI_UNIT = {"mua", "multi", "multiunit", "multi-unit", "multi_unit"}
SINGLE_UNIT = {"good", "sua", "single", "single-unit", "single_unit", "singleunit"}
BETWEEN = {"excellent", "ok", "fair", "poor"}
UNJUDGED = {"", "unsorted", "nan", "none"}

TRIAL_LABELS = ("tags", "quality", "status")
INVALID = {"invalid", "bad", "artifact", "artefact", "excluded", "exclude", "rejected"}
INVALID |= {f"{word}_{what}" for word in INVALID for what in ("trial", "presentation", "times")}

YES = {"true", "yes", "y", "1", "1.0", "accepted", "valid", "good", "cell", "pass"}
NO = {"false", "no", "n", "0", "0.0", "rejected", "invalid", "bad", "not cell", "fail"}


@dataclass(frozen=True)
class Flags:
    """Rows that a table calls unusable.

    Attributes
    ----------
    unusable : (row,) bool
    reasons : tuple of str
        How many, and which column says so.
    """

    unusable: NDArray[np.bool_]
    reasons: tuple[str, ...] = ()


def flagged(table: DynamicTable, rows: NDArray[np.int64]) -> Flags:
    """Which of ``rows`` a column of yes and no calls unusable, as ``iscell`` or ``rejected``."""
    unusable = np.zeros(len(rows), bool)
    reasons = []
    for name in table.colnames:
        bare = _bare(name)
        if bare not in TRUE_IF_USABLE | TRUE_IF_NOT or isinstance(table[name], VectorIndex):
            continue
        says = _yes_or_no(np.asarray(table[name][:]), probable=bare in MAY_BE_PROBABLE)
        if says is None:
            continue
        found = says[rows] == (0.0 if bare in TRUE_IF_USABLE else 1.0)
        if found.any():
            unusable |= found
            reasons.append(f"{int(found.sum())} by the column {name!r}")
    return Flags(unusable, tuple(reasons))


def quality_labels(table: DynamicTable) -> NDArray[np.str_]:
    """(row,) what a neuron was called, lower case; empty where nobody called it anything known."""
    found = np.full(len(table), "", dtype="U64")
    known = NOISE | MULTI_UNIT | SINGLE_UNIT | BETWEEN
    columns = {name.lower(): name for name in table.colnames}
    for name in QUALITY_COLUMNS:
        if name not in columns or isinstance(table[columns[name]], VectorIndex):
            continue
        said = np.array([_text(v) for v in np.asarray(table[columns[name]][:]).tolist()], "U64")
        # A column that never says any of these words is about something else.
        if np.isin(said, list(known)).any():
            judged = ~np.isin(said, list(UNJUDGED))
            found = np.where((found == "") & judged, said, found)
    return found


def tagged(table: DynamicTable, rows: NDArray[np.int64]) -> Flags:
    """Which of ``rows`` have a word such as ``invalid`` among their tags, or as their status."""
    unusable = np.zeros(len(rows), bool)
    reasons = []
    for name in table.colnames:
        if name.lower() not in TRIAL_LABELS:
            continue
        found = np.array([bool(INVALID & set(words)) for words in _words(table[name])], bool)[rows]
        if found.any():
            unusable |= found
            reasons.append(f"{int(found.sum())} by the column {name!r}")
    return Flags(unusable, tuple(reasons))


def _words(column: object) -> Iterator[list[str]]:
    for entry in column:  # type: ignore[attr-defined]
        several = isinstance(entry, list | tuple | np.ndarray)
        yield [_text(word) for word in (entry if several else [entry])]


def _bare(name: str) -> str:
    bare = name.lower().replace(" ", "_").replace("-", "_")
    bare = bare.removeprefix("is_").removeprefix("has_")
    for ending in ENDINGS:
        bare = bare.removesuffix(ending)
    return bare


def _text(value: object) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip().lower()


def _yes_or_no(values: NDArray, *, probable: bool) -> NDArray[np.float64] | None:
    """1 for yes, 0 for no, NaN for neither; None if these are no answers at all."""
    if values.ndim == 2:
        values = values[:, 0]  # the second is suite2p's probability
    if values.ndim != 1:
        return None
    if values.dtype.kind in "OSU":
        said = [_text(value) for value in values.tolist()]
        answers = np.array([1.0 if s in YES else 0.0 if s in NO else np.nan for s in said])
        return None if np.isnan(answers).all() else answers
    if values.dtype.kind not in "biuf":
        return None
    answers = values.astype(np.float64)
    there = answers[np.isfinite(answers)]
    if not len(there) or there.min() < 0 or there.max() > 1:
        return None
    if not probable and (there != np.floor(there)).any():
        return None
    return np.where(np.isnan(answers), np.nan, (answers >= 0.5).astype(np.float64))
