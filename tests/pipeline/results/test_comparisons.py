"""Which conditions are compared, how sure they are above no teacher, and what the stars show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from pipeline.figures.curves import dots, height
from pipeline.results.comparisons import above_none, compared
from regularized_training.analysis.paired import holm
from tests.pipeline.results.test_conditions import ALONE, TAUGHT, differing

N = 6
NOISE = np.random.default_rng(0).normal(0, 1, (20, N))


def frame(*rows: tuple[dict[str, Any], float]) -> pd.DataFrame:
    """By seed: each condition's values lie around a mean."""
    found = []
    for i, (row, mean) in enumerate(rows):
        hashes = {"teacher_hash": f"t{row['teacher']}{row['brain']}", "training_hash": f"r{i}"}
        for seed in range(N):
            value = mean + NOISE[i, seed]
            found.append(TAUGHT | row | hashes | {"seed": seed, "value": value})
    return pd.DataFrame(found)


def teacher(kind: str, brain: str = "v1", alpha: float = 0.1, **more: Any) -> dict[str, Any]:
    return TAUGHT | {"teacher": kind, "brain": brain, "alpha": alpha, "strength": "r"} | more


def pairs(table: pd.DataFrame) -> set[tuple[str, str]]:
    found = compared(table, "value", "accuracy")
    return set(zip(found["first"], found["second"], strict=True))


def test_one_teacher_at_two_strengths_is_compared_with_the_others_alone() -> None:
    table = frame((ALONE, 0), (teacher("rsm"), 0), (teacher("rsm", alpha=1.0), 0))
    assert pairs(table) == {("rsm, r 0.1", "none"), ("rsm, r 1", "none")}


def test_one_teacher_of_two_layers_is_compared_with_itself() -> None:
    table = frame(
        (ALONE, 0), (teacher("rsm", compared="V1"), 0), (teacher("rsm", compared="IT"), 0)
    )
    v1, it = "rsm, r 0.1, layers V1", "rsm, r 0.1, layers IT"
    assert pairs(table) == {(v1, "none"), (it, "none"), (v1, it)}


def test_recorded_rates_are_compared_with_their_shuffle() -> None:
    table = frame((ALONE, 0), (teacher("recorded_rsm"), 0), (teacher("shuffle_neurons"), 0))
    assert pairs(table) == {
        ("recorded rsm, r 0.1", "none"),
        ("recorded rsm, r 0.1", "shuffle neurons, r 0.1"),
        ("shuffle neurons, r 0.1", "none"),
    }


def test_of_li_et_al_only_the_brain_is_compared() -> None:
    table = frame((ALONE, 0), (TAUGHT, 0), (TAUGHT | {"teacher": "gabor"}, 0))
    assert {first for first, _ in pairs(table)} == {"neural model, alpha 30"}


def test_every_teacher_is_tested_against_none_and_all_tests_count() -> None:
    table = frame((ALONE, 0), (TAUGHT, 4), (TAUGHT | {"teacher": "gabor"}, 4), (teacher("rsm"), -4))
    found = above_none(table, "value")
    values = [part["value"].to_numpy() for _, part in table.groupby("training_hash")]
    expected = holm(
        [stats.ttest_rel(v, values[0], alternative="greater").pvalue for v in values[1:]]
    )
    assert list(found.values()) == pytest.approx(expected)
    assert above_none(table[table["teacher"] != "none"], "value") == {}


def test_stars_stand_by_what_is_above_none_and_by_nothing_else() -> None:
    table = frame((ALONE, 0), (TAUGHT | {"teacher": "gabor"}, 6), (teacher("rsm"), -6))
    ax = Figure().subplots()
    dots(ax, table, "value")
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert [name.split(",")[0].split(" (")[0] for name in names] == ["none", "gabor", "rsm"]
    assert all(name.endswith(f"(n = {N})") for name in names)
    stars = {int(text.xy[1]): text.get_text() for text in ax.texts}
    assert stars[0] == stars[2] == ""
    assert stars[1] in ("*", "**")
    assert height(table, 0.1) == pytest.approx(0.6 + 3 * 0.24)


def test_a_single_seed_has_no_star_and_no_bar() -> None:
    table = frame((ALONE, 0), (teacher("rsm"), 50))
    ax = Figure().subplots()
    dots(ax, table[table["seed"] == 0], "value")
    assert all(text.get_text() == "" for text in ax.texts)


def test_an_empty_frame_has_no_differences() -> None:
    assert compared(frame((ALONE, 0)).iloc[:0], "value", "accuracy").empty


def test_networks_that_start_from_other_weights_are_not_compared() -> None:
    said = differing(weights="default")
    random, pretrained = ({"setting": setting, "network_hash": setting} for setting in said)
    rows = [ALONE | random, teacher("rsm", **random)]
    rows += [ALONE | pretrained, teacher("rsm", **pretrained)]
    found = compared(frame(*((row, 0) for row in rows)), "value", "accuracy")
    assert found[["measure", "first", "second"]].to_numpy().tolist() == [
        ["accuracy", "rsm, r 0.1", "none"],
        [
            "accuracy, weights default",
            "rsm, r 0.1, weights default",
            "none, weights default",
        ],
    ]
