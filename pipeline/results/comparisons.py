"""Conditions compared with each other, paired over seeds: which, and how sure the difference is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.results.conditions import conditions, settings
from regularized_training.analysis.paired import holm, paired_difference
from regularized_training.teachers.kinds import ORACLE

# Teachers that speak for a brain, and what makes two of them the same but for their strength.
_OF_A_BRAIN = ("neural_model", "rsm", "recorded_rsm", "responses")
_BUT_STRENGTH = ("teacher_hash", "scan_group", "compared", "n_stimuli", "stimulus_size")


def compared(by_seed: pd.DataFrame, value: str, measure: str | pd.Series[str]) -> pd.DataFrame:
    """Differences between conditions in one column of a frame by seed.

    Parameters
    ----------
    by_seed : DataFrame
        A row per network, and per ``level`` if it has such a column.
    value : str
        Name of the column.
    measure : str or Series of str
        What to call it.

    Returns
    -------
    DataFrame
        As of :func:`pipeline.evaluations.differences.differences`.
    """
    columns = ["measure", "level", "first", "second", "difference", "sem"]
    columns += ["p", "p_holm", "p_greater", "p_greater_holm", "effect", "n"]
    if by_seed.empty:
        return pd.DataFrame(columns=columns)
    # Only networks of one task and architecture, trained alike, are compared.
    setting = settings(by_seed)
    frame = by_seed.assign(measure=measure, value=by_seed[value].astype(float))
    frame["measure"] = frame["measure"].where(setting == "", frame["measure"] + ", " + setting)
    frame["condition"] = conditions(frame)
    if "level" not in frame:
        frame["level"] = np.nan
    rows: list[dict[str, Any]] = []
    for (name, level), group in frame.groupby(["measure", "level"], dropna=False, sort=False):
        rows += [{"measure": name, "level": level, **row} for row in _compared(group)]
    return pd.DataFrame(rows, columns=columns)


def above_none(frame: pd.DataFrame, value: str) -> dict[str, float]:
    """How sure each condition is above the one without a teacher.

    Parameters
    ----------
    frame : DataFrame
        By seed, of networks that are trained alike.
    value : str
        Name of the column.

    Returns
    -------
    dict of str to float
        p of one-tailed paired t-tests over seeds, corrected for their number (Holm 1979), by the
        condition's name; empty without a network that nobody taught.
    """
    frame = frame.assign(condition=conditions(frame))
    by_seed = _by_condition(frame, value)
    plain = (frame["teacher"] == "none") & (frame["distorted"] == "")
    plain &= frame["imported_network"] == ""
    alone = frame.loc[plain, "condition"].unique()
    if len(alone) != 1:
        return {}
    none = by_seed.pop(alone[0])
    p = [(_paired(values, none) or {}).get("p_greater", np.nan) for values in by_seed.values()]
    return dict(zip(by_seed, holm(p), strict=True))


def _compared(group: pd.DataFrame) -> list[dict[str, Any]]:
    values = _by_condition(group, "value")
    rows = []
    for first, second in _pairs_to_compare(group.drop_duplicates("condition")):
        if (found := _paired(values[first], values[second])) is not None:
            unknown = {"p": np.nan, "p_greater": np.nan}
            rows.append({"first": first, "second": second, **unknown, **found})
    for p in ("p", "p_greater"):
        for row, corrected in zip(rows, holm([row[p] for row in rows]), strict=True):
            row[f"{p}_holm"] = corrected
    return rows


def _by_condition(frame: pd.DataFrame, value: str) -> dict[str, pd.Series[float]]:
    """Values by seed, of each condition."""
    return {
        str(name): rows.set_index("seed")[value].astype(float)
        for name, rows in frame.groupby("condition", sort=False)
    }


def _paired(first: pd.Series[float], second: pd.Series[float]) -> dict[str, Any] | None:
    """The difference over the seeds that both have; None without any."""
    both = pd.concat([first, second], axis=1, join="inner").to_numpy()
    if not len(both):
        return None
    both = both[~np.isnan(both).any(axis=1)]
    return vars(paired_difference(both[:, 0], both[:, 1])) if len(both) else {"n": 0}


def _is_plain(condition: dict[Any, Any]) -> bool:
    """Whether nobody taught it, and it learned clean images alone, here."""
    elsewhere = condition["distorted"] or condition["imported_network"]
    return condition["teacher"] == "none" and not elsewhere


def _pairs_to_compare(group: pd.DataFrame) -> list[tuple[str, str]]:
    """Which conditions are compared, a row of `group` each: every pair costs the others power."""
    conditions = group.to_dict("records")
    brains = [c for c in conditions if c["teacher"] in _OF_A_BRAIN]
    pairs = []
    for first in conditions:
        for second in conditions:
            if first in brains:
                # Not again the other way round, nor one teacher with itself at another strength.
                again = second in brains[: brains.index(first) + 1]
                same = all(first[name] == second[name] for name in _BUT_STRENGTH)
                wanted = not again and not (same and first["alpha"] != second["alpha"])
            elif _is_plain(second):
                # Of Federer et al. it is asked whether a teacher without a brain helps as well, of
                # Safarani et al. how far an oracle comes, and who is taught by it.
                helps = first["strength"] == "r" or first["teacher"] == ORACLE
                wanted = (helps and first["teacher"] != "none") or bool(first["distorted"])
            else:
                wanted = first["teacher"] == ORACLE and bool(second["distorted"])
            if wanted:
                pairs.append((first["condition"], second["condition"]))
    return pairs
