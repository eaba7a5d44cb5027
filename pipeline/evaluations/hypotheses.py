"""What became of the hypotheses of experiments: verdicts, computed once all seeds are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.database.connection import one_line
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.hypotheses import Hypothesis, changed, said_of
from pipeline.experiments.selection import Selection
from pipeline.results.conditions import ANY_SEED
from pipeline.results.measures import Measure, measure_of
from pipeline.results.registry import Result, register
from regularized_training.analysis.verdicts import (
    UNDECIDED,
    PairedTests,
    family,
    paired_tests,
    size_of,
    verdicts,
)
from schemas import base, experiment, training
from schemas.evaluations.base import EVALUATIONS

INCOMPLETE = "incomplete"
ABOUT = ["experiment", "scale", "hypothesis", "measure", "first", "second", "direction"]
ABOUT += ["smallest_effect", "test", "alpha"]
FOUND = ["verdict", "size", "effect", "low", "high", "n", "sd", "p", "p_holm", "p_smaller"]
FOUND += ["p_smaller_holm", "seeds_to_decide"]
REMARKS = ["missing", "changed", "peeked", "computed_before", "frozen", "digest"]


def hypotheses(selection: Selection, peek: bool = False) -> pd.DataFrame:
    """Verdict of each hypothesis of some experiments, by what was frozen when these were added.

    Parameters
    ----------
    selection : Selection
    peek : bool
        Show what there is of incomplete hypotheses, and mark them for ever. Without it nothing
        about their values is computed.

    Returns
    -------
    DataFrame
        A row for each hypothesis. ``verdict`` is supported, refuted, undecided or incomplete, see
        :mod:`regularized_training.analysis.verdicts`; ``size`` says whether the interval of the
        ``effect``, from ``low`` to ``high``, lies beyond the smallest effect of interest (``at
        least``), within it (``smaller``), or holds it (``open``). ``p`` is that of no effect,
        ``p_smaller`` that of one of interest; ``p_holm`` and ``p_smaller_holm`` are corrected (Holm
        1979) for all hypotheses of the experiment, those that are incomplete too. ``sd`` is that of
        the differences over the ``n`` seeds; with ``seeds_to_decide`` seeds in all, differences of
        this spread give a verdict in 80 of 100 experiments, if the effect is the smallest one of
        interest or none; NaN above 100,000, and where the spread is not known. ``missing`` says
        which seeds are not there, ``changed`` what is no longer as it was frozen, ``peeked`` when
        somebody looked before all seeds were there, ``computed_before`` how many of the results had
        been there when it was frozen.

    Examples
    --------
    >>> import neuroteach
    >>> with neuroteach.open_database():  # doctest: +SKIP
    ...     frame = neuroteach.results.hypotheses("robustness", "small")
    ...     print(frame[["hypothesis", "verdict", "effect", "low", "high"]])
    """
    base.require_active()
    experiments = experiment.Experiment & selection.named
    rows = []
    for found in (experiments & experiment.Hypothesis.proj()).to_dicts():
        rows += _of_experiment(found, peek)
    return pd.DataFrame(rows, columns=[*ABOUT, *FOUND, *REMARKS])


@dataclass(frozen=True)
class _Asked:
    """A hypothesis as it was frozen, and the values of its seeds.

    Attributes
    ----------
    row : mapping
        Of the table of hypotheses.
    """

    row: Mapping[str, Any]

    @property
    def content(self) -> Mapping[str, Any]:
        content: Mapping[str, Any] = self.row["content"]
        return content

    @cached_property
    def hypothesis(self) -> Hypothesis:
        return Hypothesis.model_validate(self.content["hypothesis"])

    @cached_property
    def settings(self) -> ExperimentSettings:
        return ExperimentSettings.model_validate({"title": "-", **self.content["experiment"]})

    @cached_property
    def measure(self) -> Measure:
        return measure_of(self.hypothesis, self.settings)

    @property
    def key(self) -> dict[str, str]:
        return {name: self.row[name] for name in ("experiment", "scale")}

    @property
    def conditions(self) -> tuple[dict[str, str], dict[str, str]]:
        first, second = ({n: self.content[w][n] for n in ANY_SEED} for w in ("first", "second"))
        return first, second

    def values(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns ``first`` and ``second``, a row for each seed; NaN where one is not there."""
        both = [self.measure.values(frame, self.hypothesis, key) for key in self.conditions]
        seeds = list(self.settings.seeds)
        found = pd.DataFrame({"first": both[0], "second": both[1]}, dtype=float).reindex(seeds)
        if not self._others_are_there():
            found[:] = np.nan
        return found

    def _others_are_there(self) -> bool:
        foreseen = self.measure.result.foreseen
        if foreseen is None or not foreseen.beside_others:
            return True
        tables = [EVALUATIONS[name] for name in self.measure.evaluations]
        return not any(len((t.Plan & self.key) - t.proj()) for t in tables)

    def computed_before(self) -> int:
        """How many of its results had been computed when it was frozen."""
        seeds = [{**key, "seed": seed} for key in self.conditions for seed in self.settings.seeds]
        tables = [EVALUATIONS[name] for name in self.measure.evaluations]
        tables = tables or [training.TrainedNetwork]
        before = f"computed < '{self.row['frozen']:%Y-%m-%d %H:%M:%S}'"
        networks: set[tuple[Any, ...]] = set()
        for table in tables:
            found = (table & seeds & before).proj().to_dicts()
            networks |= {tuple(row[name] for name in (*ANY_SEED, "seed")) for row in found}
        return len(networks)


def _of_experiment(found: Mapping[str, Any], peek: bool) -> list[dict[str, Any]]:
    key = {name: found[name] for name in ("experiment", "scale")}
    stored = (experiment.Hypothesis & key).to_dicts(order_by="place")
    asked = [_Asked(row) for row in stored]
    frames: dict[Any, pd.DataFrame] = {}
    rows = []
    for one in asked:
        try:
            read = one.measure.read
        except (ExperimentError, ValueError) as error:  # as of a package that is gone
            rows.append(_about(one, found) | {"verdict": INCOMPLETE, "missing": one_line(error)})
            continue
        if read not in frames:
            frames[read] = read(Selection(**key))
        row = _about(one, found) | _tests(one, one.values(frames[read]), peek)
        rows.append(row | {"computed_before": one.computed_before()})
    _judge(rows, asked)
    return rows


def _about(one: _Asked, found: Mapping[str, Any]) -> dict[str, Any]:
    h = one.content["hypothesis"]
    said = {name: said_of(h[name]) for name in ("first", "second")}
    about = {name: h[name] for name in ("direction", "smallest_effect", "test", "alpha")}
    return {
        **one.key,
        "hypothesis": one.row["hypothesis"],
        "measure": _said(h),
        **said,
        **about,
        "missing": "",
        "computed_before": 0,
        "changed": "; ".join(changed(one.content, one.row["digest"], found["settings"])),
        "peeked": one.row["peeked"],
        "frozen": one.row["frozen"],
        "digest": one.row["digest"],
    }


def _said(h: Mapping[str, Any]) -> str:
    """Measure, kinds and levels in one line."""
    said = [h["measure"], *map(str, h["of"].values())]
    level = h["level"]
    if isinstance(level, Mapping):
        said.append(f"{level['low']:g} to {level['high']:g}")
    elif level is not None:
        levels = level if isinstance(level, list) else [level]
        said.append(" and ".join(f"{one:g}" for one in levels))
    return ", ".join(said)


def _tests(one: _Asked, values: pd.DataFrame, peek: bool) -> dict[str, Any]:
    """What is known without the other hypotheses; the tests, unless they are hidden."""
    missing = [
        f"{name}: seeds {', '.join(map(str, values.index[values[name].isna()]))}"
        for name in ("first", "second")
        if values[name].isna().any()
    ]
    whole = values.dropna()
    found: dict[str, Any] = {"missing": "; ".join(missing), "n": len(whole)}
    if missing:
        found["verdict"] = INCOMPLETE
        if not peek:
            return found
        if len(whole) > 1 and one.row["peeked"] is None:
            found["peeked"] = _mark(one)
    if len(whole) < 2:
        return found
    h = one.hypothesis
    with np.errstate(invalid="ignore"):
        d = np.where(whole["first"] == whole["second"], 0.0, whole["first"] - whole["second"])
    if np.isinf(d).any() and h.test == "t":
        return found | {"missing": "; ".join([*missing, "a mean, as there are infinite values"])}
    tests = paired_tests(d, h.direction, h.smallest_effect, test=h.test, alpha=h.alpha)
    return (
        found
        | {"sd": float(d.std(ddof=1)) if np.isfinite(d).all() else np.nan}
        | _numbers(tests, h)
    )


def _numbers(tests: PairedTests, h: Hypothesis) -> dict[str, Any]:
    numbers = {name: float(value) for name, value in vars(tests).items()}
    size = size_of(numbers["low"], numbers["high"], h.direction, h.smallest_effect)
    return numbers | {"size": size}


def _mark(one: _Asked) -> Any:
    """Note for ever that somebody looked; returns when."""
    key = {**one.key, "hypothesis": one.row["hypothesis"]}
    moment = base.now()
    by = base.computing().user[:64]
    experiment.Hypothesis.update1({**key, "peeked": moment, "peeked_by": by})
    return moment


def _judge(rows: Sequence[dict[str, Any]], asked: Sequence[_Asked]) -> None:
    """Correct p for the family and say the verdicts, in the rows."""
    complete = np.asarray([row.get("verdict") != INCOMPLETE for row in rows])
    alpha = np.asarray([row["alpha"] for row in rows])
    corrected = {}
    for name in ("p", "p_smaller"):
        p = np.asarray([row.get(name, np.nan) for row in rows], float)
        # What somebody peeked at does not count for those that are complete.
        of_complete = family(np.where(complete, p, np.nan))
        corrected[name] = np.where(complete, of_complete, family(p))
    said = verdicts(corrected["p"], corrected["p_smaller"], alpha)
    for i, (row, one) in enumerate(zip(rows, asked, strict=True)):
        if complete[i]:
            row["verdict"] = str(said[i]) if "p" in row else UNDECIDED
        row |= {f"{name}_holm": values[i] for name, values in corrected.items()}
        if row.get("sd", 0) > 0:
            row["seeds_to_decide"] = _seeds(row, one, len(rows))


def _seeds(row: Mapping[str, Any], one: _Asked, hypotheses: int) -> float:
    from regularized_training.analysis.power import seeds_to_decide

    h = one.hypothesis
    needed = seeds_to_decide(
        row["sd"], h.smallest_effect, h.direction, test=h.test, alpha=h.alpha / hypotheses
    )
    return float("nan") if needed is None else float(needed)


def hypotheses_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each hypothesis: the verdict, the effect with its interval, and what to know."""
    several = frame[["experiment", "scale"]].drop_duplicates().shape[0] > 1
    table = pd.DataFrame({"experiment": frame["experiment"] + " " + frame["scale"]})
    columns: dict[str, Any] = {
        "hypothesis": frame["hypothesis"],
        "claim": [_claim(row) for row in frame.to_dict("records")],
        "verdict": [_verdict(row) for row in frame.to_dict("records")],
        "effect [interval]": [_effect(row) for row in frame.to_dict("records")],
        "n": frame["n"].map(_count),
        "p (Holm)": frame["p_holm"].astype(float).map(_p),
        "p smaller (Holm)": frame["p_smaller_holm"].astype(float).map(_p),
        "seeds to decide": frame["seeds_to_decide"].map(_count),
        "remarks": [_remarks(row) for row in frame.to_dict("records")],
    }
    table = table.assign(**columns)
    return table if several else table.drop(columns="experiment")


_SIGNS = {"greater": ">", "less": "<", "different": "differs from"}
_SIZES = {"at least": "at least the smallest effect", "smaller": "below the smallest effect"}


def _claim(row: Mapping[Any, Any]) -> str:
    sign = _SIGNS[row["direction"]]
    smallest = f"{row['smallest_effect']:g}"
    return f"{row['measure']}: {row['first']} {sign} {row['second']} (of interest: {smallest})"


def _verdict(row: Mapping[Any, Any]) -> str:
    size = _SIZES.get(row["size"]) if row["verdict"] == "supported" else None
    return f"{row['verdict']}, {size}" if size else str(row["verdict"])


def _effect(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["effect"]):
        return ""
    return f"{row['effect']:+.4f} [{row['low']:.4f}, {row['high']:.4f}]"


def _count(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.0f}"


def _p(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2g}"


def _remarks(row: Mapping[Any, Any]) -> str:
    said = [f"missing: {row['missing']}"] if row["missing"] else []
    said += [f"CHANGED since it was frozen: {row['changed']}"] if row["changed"] else []
    said += [] if pd.isna(row["peeked"]) else [f"peeked at on {row['peeked']:%Y-%m-%d %H:%M}"]
    if row["computed_before"]:
        said.append(f"{row['computed_before']} results were there before it was frozen")
    said.append(f"frozen {row['frozen']:%Y-%m-%d %H:%M}, {row['digest'][:12]}")
    return "; ".join(said)


HYPOTHESES = register(
    Result(
        name="hypotheses",
        place=205,
        title="Hypotheses, as they were frozen when the experiment was added",
        question="What became of the hypotheses?",
        read=hypotheses,
        table=hypotheses_table,
        takes_peek=True,
        asked=lambda experiments: experiment.Hypothesis & experiments,
        lacks=("has", "hypotheses; give it a list [[hypotheses]]"),
    )
)
