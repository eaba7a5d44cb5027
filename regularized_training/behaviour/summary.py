"""How observers do in each condition: accuracy and entropy of their answers, and confusions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regularized_training.behaviour.response_distribution import entropy_bits
from regularized_training.behaviour.trials import NO_ANSWER, Trials, is_person


def confusion_matrix(trials: Trials) -> NDArray[np.int64]:
    """How often each category was answered to each.

    Parameters
    ----------
    trials : Trials
        Of one observer and condition, or of several together.

    Returns
    -------
    (category, answer + 1) int64
        Both in the order of the categories; the last column counts images without an answer.

    Examples
    --------
    >>> trials = Trials.of("demo", [("subject-01", "bw", "a", "bear", "bear"),
    ...                             ("subject-01", "bw", "b", "bear", "na")])
    >>> confusion_matrix(trials)[1, [1, -1]]
    array([1, 1])
    """
    n = len(trials.categories)
    place = {name: i for i, name in enumerate((*trials.categories, NO_ANSWER))}
    rows = np.array([place[name] for name in trials.category.tolist()])
    columns = np.array([place[name] for name in trials.answer.tolist()])
    counts = np.bincount(rows * (n + 1) + columns, minlength=n * (n + 1))
    return counts.reshape(n, n + 1)


def by_observer(trials: Trials, *, by_condition: bool = True) -> pd.DataFrame:
    """Accuracy and entropy of the answers of each observer in each condition.

    Parameters
    ----------
    trials : Trials
    by_condition : bool
        A row for each observer and condition, or one for each observer.

    Returns
    -------
    DataFrame
        ``observer``, ``person``, ``condition``, ``n_trials``, ``n_unanswered``, ``accuracy`` (no
        answer is a wrong one), ``entropy`` in bits of the distribution over the categories that
        were answered, 0 for one who always says the same, and ``seconds``, the median time to an
        answer. Observers and conditions in the order that `trials` has them in.

    Examples
    --------
    >>> trials = Trials.of("demo", [("subject-01", "bw", "a", "cat", "cat"),
    ...                             ("subject-01", "bw", "b", "dog", "cat")])
    >>> by_observer(trials)[["observer", "condition", "accuracy", "entropy"]].to_dict("records")
    [{'observer': 'subject-01', 'condition': 'bw', 'accuracy': 0.5, 'entropy': 0.0}]
    """
    keys = ["observer", "condition"] if by_condition else ["observer"]
    frame = trials.frame().assign(correct=trials.correct, none=trials.answer == NO_ANSWER)
    groups = frame.groupby(keys)
    found = pd.DataFrame(
        {
            "n_trials": groups.size(),
            "n_unanswered": groups["none"].sum(),
            "accuracy": groups["correct"].mean(),
            "seconds": groups["seconds"].median(),
        }
    )
    given = frame[~frame["none"]].groupby([*keys, "answer"]).size().unstack(fill_value=0)
    found.insert(3, "entropy", entropy_bits(given.reindex(found.index, fill_value=0).to_numpy()))
    order = {"observer": trials.observers, "condition": trials.conditions}
    found = found.reset_index().sort_values(
        keys, key=lambda column: column.map(order[str(column.name)].index)
    )
    found.insert(1, "person", [is_person(name) for name in found["observer"]])
    return found.reset_index(drop=True)


def over_people(
    summary: pd.DataFrame, values: Sequence[str] = ("accuracy", "entropy")
) -> pd.DataFrame:
    """Mean and full range over people of what :func:`by_observer` says, a row for each condition.

    Parameters
    ----------
    summary : DataFrame
        Also of several experiments, with a column ``experiment``.
    values : sequence of str

    Returns
    -------
    DataFrame
        Each value, its ``_low`` and ``_high``, the least and the most among people, and
        ``n_people``.

    Examples
    --------
    >>> trials = Trials.of("demo", [("subject-01", "bw", "a", "cat", "cat"),
    ...                             ("subject-02", "bw", "a", "cat", "dog")])
    >>> over_people(by_observer(trials), ["accuracy"]).to_dict("records")
    [{'condition': 'bw', 'accuracy': 0.5, 'accuracy_low': 0.0, 'accuracy_high': 1.0, 'n_people': 2}]
    """
    keys = [name for name in ("experiment", "condition") if name in summary]
    groups = summary[summary["person"].astype(bool)].groupby(keys, sort=False)
    found = {}
    for value in values:
        found[value] = groups[value].mean()
        found[f"{value}_low"], found[f"{value}_high"] = groups[value].min(), groups[value].max()
    return pd.DataFrame({**found, "n_people": groups.size()}).reset_index()
