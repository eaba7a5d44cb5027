"""Trials as they are published, what is refused, and what is summed up of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regularized_training.behaviour.categories import CATEGORIES
from regularized_training.behaviour.response_distribution import entropy_bits
from regularized_training.behaviour.summary import (
    by_observer,
    confusion_matrix,
    over_people,
)
from regularized_training.behaviour.trial_files import read_trials
from regularized_training.behaviour.trials import Trials, TrialsError

HEADER = "subj,session,trial,rt,object_response,category,condition,imagename"


def line(number: int, answer: str, category: str, condition: str = "0.10", who: int = 1) -> str:
    seconds = "NaN" if answer == "na" else "0.5"
    name = f"{number:04d}_nse_s{who:02d}_{condition}_{category}_10_n04111531_{number}.png"
    return f"subject-{who:02d},1,{number},{seconds},{answer},{category},{condition},{name}"


def written(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_folder_is_read_as_one_experiment(tmp_path: Path) -> None:
    folder = tmp_path / "noise-experiment"
    written(folder / "a.csv", line(1, "oven", "oven"), line(2, "na", "cat"))
    written(folder / "b.csv", line(1, "bird", "oven", "0.9", who=2))
    trials = read_trials(folder)
    assert (trials.experiment, len(trials)) == ("noise", 3)
    assert trials.observers == trials.people == ("subject-01", "subject-02")
    assert trials.conditions == ("0.10", "0.9")  # as written: 0.10 is a name
    assert trials.image.tolist() == ["n04111531_1", "n04111531_2", "n04111531_1"]
    assert trials.correct.tolist() == [True, False, False]
    np.testing.assert_array_equal(trials.seconds, [0.5, np.nan, 0.5])


def test_of_a_table_of_several_experiments_one_is_chosen(tmp_path: Path) -> None:
    lines = [f"edge,{line(1, 'oven', 'oven', '0')}", f"noise,{line(1, 'cat', 'oven')}"]
    file = tmp_path / "trials.csv.xz"
    table = written(tmp_path / "trials.csv", *lines, header=f"dataset,{HEADER}")
    pd.read_csv(table, dtype=str, keep_default_na=False).to_csv(file, index=False)
    trials = read_trials(file, experiment="noise")
    assert (trials.experiment, trials.answer.tolist()) == ("noise", ["cat"])
    with pytest.raises(TrialsError, match="has the experiments edge, noise, and none was chosen"):
        read_trials(file)
    with pytest.raises(TrialsError, match="'colour' is not among them"):
        read_trials(file, experiment="colour")


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        ([], "subj,session", "lacks the columns trial, rt, object_response"),
        (
            [line(1, "zebra", "oven")],
            HEADER,
            "answer 'zebra' in 1 trials, expected one of airplane",
        ),
        ([line(1, "oven", "na")], HEADER, "category 'na' in 1 trials"),
        ([line(1, "oven", "cat"), line(1, "cat", "cat")], HEADER, "has trial 1 of session 1 twice"),
        ([line(1, "oven", "cat").replace("0.5", "fast")], HEADER, "rt 'fast' in line 2, expected"),
        ([line(1, "oven", "cat").replace(",1,1,", ",,1,")], HEADER, "session '' in line 2"),
    ],
)
def test_files_that_are_no_trials_are_refused(
    tmp_path: Path, lines: list[str], header: str, message: str
) -> None:
    file = written(tmp_path / "noise.csv", *lines, header=header)
    with pytest.raises(TrialsError, match=message):
        read_trials(file)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_trials(tmp_path / "absent")
    with pytest.raises(TrialsError, match="no .csv file in it"):
        read_trials(tmp_path)
    with pytest.raises(TrialsError, match="expected as many of each, one or more"):
        Trials.of("demo", [("subject-01", "0", "a", "cat", "cat")]).where(np.array([False]))


def test_uniform_answers_have_four_bits_and_constant_ones_none() -> None:
    assert entropy_bits(np.full(16, 3)) == pytest.approx(4)
    assert entropy_bits([0, 7, 0]) == 0
    assert np.isnan(entropy_bits([0, 0]))
    p = np.array([0.5, 0.25, 0.125, 0.125])
    assert entropy_bits(800 * p) == pytest.approx(1.75)


def balanced(who: str, answer: str | None, condition: str) -> list[tuple[str, ...]]:
    """An image of each category, to which is answered the category itself or always the same."""
    shown = enumerate(CATEGORIES)
    return [(who, condition, f"{condition}{i}", name, answer or name) for i, name in shown]


def test_who_sees_has_accuracy_and_entropy_and_who_guesses_one_key_has_neither() -> None:
    rows = [
        *balanced("subject-01", None, "c50"),
        *balanced("subject-01", "dog", "c05"),
        *balanced("subject-02", None, "c50"),
        *balanced("subject-02", "na", "c05"),
        *balanced("vgg", "cat", "c05"),
    ]
    trials = Trials.of("contrast", rows)  # type: ignore[arg-type]
    assert trials.conditions == ("c05", "c50")
    found = by_observer(trials)
    assert list(zip(found["observer"], found["condition"], strict=True)) == [
        ("subject-01", "c05"),
        ("subject-01", "c50"),
        ("subject-02", "c05"),
        ("subject-02", "c50"),
        ("vgg", "c05"),
    ]
    assert found["accuracy"].tolist() == [1 / 16, 1, 0, 1, 1 / 16]
    np.testing.assert_allclose(found["entropy"], [0, 4, np.nan, 4, 0], atol=1e-12)
    assert found["n_unanswered"].tolist() == [0, 0, 16, 0, 0]
    people = over_people(found, ["accuracy"]).set_index("condition")
    assert people.loc["c05"].tolist() == [1 / 32, 0, 1 / 16, 2]  # without the network


def test_confusions_are_counted_where_they_belong() -> None:
    rows = [("vgg", "0", str(i), "cat", "dog") for i in range(3)]
    rows += [("vgg", "0", "x", "dog", "na")]
    counts = confusion_matrix(Trials.of("demo", rows))
    cat, dog = CATEGORIES.index("cat"), CATEGORIES.index("dog")
    assert (counts[cat, dog], counts[dog, -1], counts.sum()) == (3, 1, 4)
