"""Frames of results as tables that people read: one line for each condition or level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.results.conditions import CONDITION, conditions


def summary_table(frame: pd.DataFrame, forms: Mapping[str, str]) -> pd.DataFrame:
    """A row for each condition: mean ± SEM over seeds of some columns, in their format."""
    cells = {
        name: [mean_sem(m, s, form) for m, s in frame[[name, f"{name}_sem"]].to_numpy()]
        for name, form in forms.items()
    }
    return pd.DataFrame({"condition": with_seeds(frame), **cells})


def accuracy_by_condition(
    frame: pd.DataFrame, keys: Sequence[str], sem: str = "accuracy_sem"
) -> pd.DataFrame:
    """A row for each combination of keys, in their order, and a column for each condition.

    Parameters
    ----------
    frame : DataFrame
        A row for each combination and condition, with ``accuracy``.
    keys : sequence of str
        Columns.
    sem : str
        Column of the accuracy's standard error.
    """
    keys = list(keys)
    cells = [mean_sem(mean, error) for mean, error in frame[["accuracy", sem]].to_numpy()]
    frame = frame.assign(condition=with_seeds(frame), cell=cells)
    columns = list(dict.fromkeys(frame["condition"]))
    table = frame.pivot(index=keys, columns="condition", values="cell")[columns].fillna("")
    return frame[keys].drop_duplicates().merge(table.reset_index(), on=keys)


def with_seeds(frame: pd.DataFrame) -> pd.Series[str]:
    """Each row's condition with the number of its seeds."""
    return conditions(frame[CONDITION]) + " (n = " + frame["n_seeds"].astype(str) + ")"


def mean_sem(mean: float, sem: float, form: str = "{:.3f}") -> str:
    """A mean and its standard error, of which a single seed has none."""
    if math.isnan(mean):
        return "undefined"
    shown = form.format(mean)
    return shown if math.isnan(sem) else f"{shown} ± {form.format(sem).lstrip('+')}"
