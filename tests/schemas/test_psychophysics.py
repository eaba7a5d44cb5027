"""Trials come back as they went in, once for each name, and can be asked for by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.database.opening import Database
from regularized_training.behaviour.summary import by_observer
from regularized_training.behaviour.trials import Trials, TrialsError
from schemas.psychophysics import Psychophysics

pytestmark = pytest.mark.database


def demo() -> Trials:
    """Two people and a network; one person never answers."""
    rows = [("subject-02", "c05", "a", "cat", "na"), ("subject-02", "c05", "b", "dog", "na")]
    rows += [("subject-01", "c50", "a", "cat", "cat"), ("subject-01", "c05", "b", "dog", "cat")]
    rows += [("vgg", "c05", "a", "cat", "dog"), ("vgg", "c05", "b", "dog", "dog")]
    trials = Trials.of("contrast", rows)
    return replace(trials, seconds=np.array([np.nan, np.nan, 0.5, 0.25, np.nan, np.nan]))


def test_trials_come_back_as_they_went_in_and_are_added_once(database: Database) -> None:
    trials = demo()
    assert Psychophysics.add(trials, name="grey", source="contrast-experiment", licence="CC BY")
    shuffled = trials.where(np.array([5, 0, 3, 1, 2, 4]))
    assert not Psychophysics.add(shuffled, name="grey", source="elsewhere")
    with pytest.raises(TrialsError, match="other trials named 'grey'; choose another name, or"):
        Psychophysics.add(replace(trials, answer=trials.category), name="grey", source="")
    found = Psychophysics.load({"psychophysics": "grey"})
    assert (found.experiment, found.categories) == (trials.experiment, trials.categories)
    before = trials.where(np.argsort(trials.observer, kind="stable")).frame()
    np.testing.assert_array_equal(
        found.frame().drop(columns="seconds"), before.drop(columns="seconds")
    )
    np.testing.assert_array_equal(found.seconds, before["seconds"])
    row = (Psychophysics & {"psychophysics": "grey"}).fetch1()
    assert (row["n_people"], row["n_networks"], row["n_conditions"], row["n_trials"]) == (
        2,
        1,
        2,
        6,
    )
    assert (row["manipulation"], row["licence"]) == ("contrast", "CC BY")


def test_observers_and_trials_are_rows(database: Database) -> None:
    trials = demo()
    Psychophysics.add(trials, name="grey", source="")
    rows = {row["observer"]: row for row in Psychophysics.Observer.to_dicts()}
    assert rows["subject-02"]["accuracy"] == 0
    assert rows["subject-02"]["entropy"] is None or np.isnan(rows["subject-02"]["entropy"])
    assert (rows["vgg"]["person"], rows["vgg"]["accuracy"], rows["vgg"]["entropy"]) == (
        False,
        0.5,
        0,
    )
    assert (Psychophysics.Trial & {"image": "b", "answer": "cat"}).fetch1(
        "observer"
    ) == "subject-01"
    expected = by_observer(trials, by_condition=False).set_index("observer")["accuracy"]
    assert {name: row["accuracy"] for name, row in rows.items()} == expected.to_dict()
