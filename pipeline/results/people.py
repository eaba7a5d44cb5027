"""What imported trials say of people, and of networks beside them, as pandas frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.results.registry import Drawing, Result, register
from pipeline.results.rows import read_rows
from regularized_training.behaviour.consistency import by_pair, left_out, over_conditions
from regularized_training.behaviour.summary import by_observer, over_people
from regularized_training.behaviour.trials import Trials
from regularized_training.robustness.manipulations.experiments import manipulation_of
from schemas import base
from schemas.psychophysics import Psychophysics

IMPORT_FIRST = "no trials of people yet; run `neuroteach import trials`"
RANGES = [f"{value}{end}" for value in ("accuracy", "entropy") for end in ("", "_low", "_high")]


def people(selection: Selection) -> pd.DataFrame:
    """Accuracy and entropy of people's answers, a row for each condition of imported trials.

    Parameters
    ----------
    selection : Selection
        Of all experiments, as trials that are imported belong to none.

    Returns
    -------
    DataFrame
        Means over people; ``_low`` and ``_high`` are the least and the most among them.
    """
    columns = ["trials", "manipulation", "condition", *RANGES, "n_people"]
    summary = people_by_observer(selection)
    keys = summary[["trials", "manipulation"]].drop_duplicates()
    parts = [
        over_people(rows).assign(trials=name)
        for name, rows in summary.groupby("trials", sort=False)
    ]
    found = [keys.merge(part, on="trials") for part in parts if len(part)]
    return pd.concat(found, ignore_index=True)[columns] if found else _empty(columns)


def people_by_observer(selection: Selection) -> pd.DataFrame:
    """The same of each person and network: a row for each condition.

    Returns
    -------
    DataFrame
        ``person`` is false of networks; ``seconds`` is the median time to an answer.
    """
    columns = ["observer", "person", "condition", "n_trials", "n_unanswered"]
    columns += ["accuracy", "entropy", "seconds"]
    return _of_all(selection, columns, by_observer)


def people_consistency(selection: Selection) -> pd.DataFrame:
    """Error consistency of every two observers who saw the same images (Geirhos et al. 2020).

    Returns
    -------
    DataFrame
        Means over the conditions that published ceilings do not leave out. Observers who saw
        different images have no row.
    """

    def measured(trials: Trials) -> pd.DataFrame:
        names = set(left_out(trials.experiment))
        return over_conditions(by_pair(trials, leave_out=names))

    columns = ["first", "second", "observed", "expected", "kappa", "n_images", "n_conditions"]
    return _of_all(selection, columns, measured)


def people_by_level() -> pd.DataFrame:
    """What :func:`people` says of manipulations that networks are tested with, by their levels.

    Returns
    -------
    DataFrame
        ``manipulation`` and ``level`` are as in the settings of networks; without levels that
        leave images as they are without end, such as a cut-off of infinity. Of experiments of one
        manipulation means, and the range over all.
    """
    frame = people(Selection())
    found = [
        manipulation_of(experiment, condition)
        for experiment, condition in zip(frame["manipulation"], frame["condition"], strict=True)
    ]
    known = [place for place, one in enumerate(found) if one and math.isfinite(one[1])]
    frame = frame.iloc[known].assign(
        manipulation=[one[0] for one in found if one and math.isfinite(one[1])],
        level=[one[1] for one in found if one and math.isfinite(one[1])],
    )
    ways = {name: "min" if name.endswith("_low") else "max" for name in RANGES}
    ways |= {"accuracy": "mean", "entropy": "mean"}
    return frame.groupby(["manipulation", "level"], as_index=False).agg(ways)


def _of_all(
    selection: Selection, columns: list[str], measured: Callable[[Trials], pd.DataFrame]
) -> pd.DataFrame:
    """What is measured of each import, with its name."""
    columns = ["trials", "manipulation", *columns]
    found = [
        measured(trials).assign(trials=name, manipulation=trials.experiment)
        for name, trials in _imported(selection)
    ]
    found = [frame for frame in found if len(frame)]
    return pd.concat(found, ignore_index=True)[columns] if found else _empty(columns)


def _imported(selection: Selection) -> Iterator[tuple[str, Trials]]:
    base.require_active()
    if not selection.everything:
        raise ValueError(
            "people: trials that are imported belong to no experiment; leave out the names of an "
            "experiment, a scale and a user"
        )
    for name in sorted(read_rows(Psychophysics)["psychophysics"]):
        yield name, Psychophysics.load({"psychophysics": name})


def _empty(columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=columns)


def people_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: mean over people, and their full range."""
    shown = frame[["trials", "condition"]].copy()
    for value, digits in (("accuracy", 3), ("entropy", 2)):
        shown[f"{value} (range)"] = [
            f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
            for mean, low, high in frame[[value, f"{value}_low", f"{value}_high"]].itertuples(
                index=False
            )
        ]
    return shown.assign(people=frame["n_people"])


PEOPLE = register(
    Result(
        name="people",
        place=110,
        title="People on manipulated images: accuracy, and entropy of answers in bits",
        question="How well do people see manipulated images?",
        read=people,
        table=people_table,
        imported=IMPORT_FIRST,
        figures={
            "people": Drawing(
                "pipeline.figures.people:people_figure",
                "accuracy and entropy of people's answers to manipulated images",
            )
        },
        further={
            "people_by_observer": people_by_observer,
            "people_consistency": people_consistency,
        },
    )
)
