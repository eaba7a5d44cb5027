"""The number that a hypothesis speaks of: found in the registry, checked, and read of each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.content import ExperimentError
from pipeline.experiments.hypotheses import Hypothesis
from pipeline.experiments.selection import Selection
from pipeline.results.conditions import ANY_SEED, CONDITION
from pipeline.results.foreseen import Foreseen
from pipeline.results.registry import Read, Result, results
from schemas.configurations import config_hash
from schemas.evaluations.base import EVALUATIONS, part_of

if TYPE_CHECKING:
    from pipeline.experiments.file import ExperimentSettings

Row = Mapping[str, Any]


class _Nothing(Selection):
    """No experiment, whose frames have columns alone."""

    @property
    def named(self) -> dict[str, str]:
        return {"experiment": " "}


@dataclass(frozen=True)
class Measure:
    """A column of a frame by seed, and which of its rows are meant.

    Attributes
    ----------
    result : Result
    column : str
    rows : tuple of mapping
        What is expected of each network; their mean is its value.
    """

    result: Result
    column: str
    rows: tuple[Row, ...]

    @property
    def read(self) -> Read:
        """Reads the frame."""
        foreseen = self.result.foreseen
        found = (foreseen and foreseen.read) or self.result.by_seed
        assert found is not None
        return found

    @property
    def evaluations(self) -> tuple[str, ...]:
        """Names of the evaluations whose rows it reads; none of accuracies."""
        return evaluations_of(self.result)

    def values(self, frame: pd.DataFrame, hypothesis: Hypothesis, key: Row) -> pd.Series[float]:
        """Value of each seed of one condition.

        Parameters
        ----------
        frame : DataFrame
            As :attr:`read` gives it.
        hypothesis : Hypothesis
        key : mapping
            Of the condition's networks.

        Returns
        -------
        Series
            By seed; without seeds of which a row is missing or undefined.
        """
        meant = np.ones(len(frame), bool)
        for name in ANY_SEED:
            meant &= (frame[name] == key[name]).to_numpy(bool)
        for name, value in hypothesis.of.items():
            meant &= _equal(frame[name], [value])
        for name in {name for row in self.rows for name in row if name in frame}:
            meant &= _equal(frame[name], [row[name] for row in self.rows if name in row])
        rows = frame.loc[meant, ["seed", self.column]].astype({self.column: float})
        groups = rows.groupby("seed")[self.column]
        whole = (groups.count() == len(self.rows)) & (groups.size() == len(self.rows))
        return groups.mean()[whole]


def _equal(column: pd.Series[Any], values: Sequence[Any]) -> Any:
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(float)
        return np.isclose(numbers[:, None], np.asarray(values, float), rtol=1e-9).any(1)
    return column.isin(list(values)).to_numpy(bool)


def evaluations_of(result: Result) -> tuple[str, ...]:
    """Names of the evaluations whose rows a result reads."""
    if result.foreseen is not None and result.foreseen.evaluations:
        return result.foreseen.evaluations
    return (result.evaluation,) if result.evaluation else ()


def measures() -> dict[str, tuple[Result, str]]:
    """Every column in which the registered results compare conditions, by ``RESULT.COLUMN``."""
    return {
        f"{result.name}.{one.column}": (result, one.column)
        for result in sorted(results().values(), key=lambda result: result.place)
        for one in result.compared
        if result.by_seed is not None
    }


def measure_of(hypothesis: Hypothesis, settings: ExperimentSettings) -> Measure:
    """What a hypothesis measures, of an experiment that asks for it.

    Raises
    ------
    ExperimentError
        If there is no such measure, the experiment does not ask for it, or the rows that are meant
        are none, or of several kinds.
    """
    result, column = _named(hypothesis.measure)
    asked = {
        name: settings.evaluations.get(name, ())
        for name in evaluations_of(result)
        if EVALUATIONS[name].settings is not None
    }
    if asked and not any(asked.values()):
        entries = " or ".join(f"[{EVALUATIONS[name].entry()}]" for name in asked)
        raise ExperimentError(
            f"measure: {hypothesis.measure}, but the file asks for none; add a table {entries}"
        )
    rows = _rows(result, asked)
    columns = _columns(result)
    try:
        rows = _of(hypothesis, rows, columns)
        rows = _at_levels(hypothesis, rows, result.foreseen)
    except ValueError as error:
        raise ExperimentError(f"{error} (measure {hypothesis.measure})") from error
    _require_one_kind(hypothesis, rows, result.foreseen, columns)
    return Measure(result, column, tuple(rows))


def check_measures(settings: ExperimentSettings) -> None:
    """Raise an ExperimentError if a hypothesis speaks of what its experiment does not measure."""
    for place, one in enumerate(settings.hypotheses):
        try:
            measure_of(one, settings)
        except ExperimentError as error:
            raise ExperimentError(f"hypotheses.{place}: {error}") from error


def _named(measure: str) -> tuple[Result, str]:
    known = measures()
    if measure in known:
        return known[measure]
    found = [name for name in known if name.partition(".")[0] == measure]  # the first is meant
    if not found:
        raise ExperimentError(f"measure: {measure!r}, expected one of {', '.join(known)}")
    return known[found[0]]


def _rows(result: Result, asked: Mapping[str, Sequence[Any]]) -> list[Row]:
    """What will be measured of each network."""
    found: list[Row] = []
    for name, settings in asked.items():
        declared = EVALUATIONS[name].settings
        assert declared is not None
        for one in settings:
            if result.foreseen is not None:
                rows = list(result.foreseen.rows(name, one))
            else:
                rows = [{key: value(one) for key, (_, value) in declared.columns.items()}]
            rows = [{"part": part_of(one), **row} for row in rows]
            if name == result.evaluation and result.foreseen is not None:
                rows = [{declared.key: config_hash(one), **row} for row in rows]
            if result.foreseen is not None:
                rows = [row for row in rows if row not in found]
            found += rows
    return found or [{}]


def _columns(result: Result) -> set[str]:
    read = (result.foreseen and result.foreseen.read) or result.by_seed
    assert read is not None
    return set(map(str, read(_Nothing()).columns)) - {*CONDITION, "seed"}


def _of(hypothesis: Hypothesis, rows: list[Row], columns: set[str]) -> list[Row]:
    for name, value in hypothesis.of.items():
        if name not in columns:
            known = sorted({key for row in rows for key in row} & columns)
            raise ValueError(
                f"of: {name} tells no rows apart, expected {', '.join(known) or 'nothing'}"
            )
        there = list(dict.fromkeys(row[name] for row in rows if name in row))
        if there and value not in there:
            listed = ", ".join(map(str, there))
            raise ValueError(f"of.{name}: {value}, expected one of those of the file, {listed}")
        rows = [row for row in rows if row.get(name, value) == value]
    if not rows:
        raise ValueError("of: nothing that is measured is all of this")
    return rows


def _at_levels(hypothesis: Hypothesis, rows: list[Row], foreseen: Foreseen | None) -> list[Row]:
    level = foreseen.level if foreseen is not None else None
    if level is None:
        if hypothesis.level is not None:
            raise ValueError("level: given, but this measure has no levels; leave it out")
        return rows
    chosen = hypothesis.chosen_levels([row[level] for row in rows])
    return [row for row in rows if row[level] in chosen]


def _require_one_kind(
    hypothesis: Hypothesis, rows: list[Row], foreseen: Foreseen | None, columns: set[str]
) -> None:
    """Refuse to average over what nobody averages over, such as norms of attacks."""
    usual = {foreseen.level, *foreseen.over} if foreseen is not None else set()
    names = dict.fromkeys(key for row in rows for key in row)
    for name in sorted(names, key=lambda name: name.endswith("_hash")):  # nobody says these
        values = list(dict.fromkeys(row.get(name) for row in rows))
        if len(values) > 1 and name not in usual and name in columns:
            raise ExperimentError(
                f"of: {name} is {' and '.join(map(str, values))}, expected one of them; choose it "
                f'by of = {{ {name} = "{values[0]}" }} (measure {hypothesis.measure})'
            )
    if foreseen is None and len(rows) > 1:
        raise ExperimentError(
            f"measure: {hypothesis.measure} is asked for {len(rows)} times, and no column of the "
            "frame tells which is which; ask for it once"
        )
