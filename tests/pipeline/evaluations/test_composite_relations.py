"""Composite scores beside accuracy and simplicity over a pool of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluations import composite_relations as tested
from pipeline.experiments.selection import Selection
from pipeline.results.conditions import CONDITION
from pipeline.results.registry import NothingToShowError, figures, results

EVERYTHING = Selection()
N = 30


def pool(n: int = N) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Networks of two seeds whose composite score goes with accuracy, and not with their path."""
    accuracy = np.random.default_rng(0).uniform(0.3, 0.9, n)
    about: dict[str, Any] = {name: "" for name in CONDITION}
    about |= {"image_set": "digits", "teacher": "none", "alpha": 0.0, "shuffled_labels": 0.0}
    scored, tested_on = [], []
    for i in range(n):
        for seed, wobble in ((0, 0.01), (1, -0.01)):
            key = {**about, "imported_network": f"net{i}", "network_hash": f"{i}", "seed": seed}
            score = 0.2 + 0.5 * accuracy[i] + wobble
            scored.append({**key, "score": score, "low": score - 0.1, "high": score + 0.1})
            tested_on.append({**key, "test_accuracy": accuracy[i]})
    return pd.DataFrame(scored), pd.DataFrame(tested_on)


def path(key: dict[str, Any]) -> float:
    """Of the network of a key: 5 or 6 in turn, unknown for the first."""
    i = int(key["network_hash"])
    return 5.0 + i % 2 if i else np.nan


@pytest.fixture
def n_networks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    n = getattr(request, "param", N)
    scored, tested_on = pool(n)

    def composite(selection: Selection, parts: Sequence[str] = ()) -> pd.DataFrame:
        return scored

    monkeypatch.setattr(tested, "composite", composite)
    monkeypatch.setattr(tested, "accuracy_by_seed", lambda selection: tested_on)
    monkeypatch.setattr(tested, "_longest_path", path)
    monkeypatch.setattr(tested, "with_caveat", lambda title, selection: title)
    return n


def test_a_network_is_one_observation_whatever_its_seeds(n_networks: int) -> None:
    networks = tested.composite_and_network(EVERYTHING)
    assert len(networks) == n_networks and (networks["n_seeds"] == 2).all()
    np.testing.assert_allclose(networks["score"], 0.2 + 0.5 * networks["accuracy"])
    np.testing.assert_allclose(networks["high"] - networks["low"], 0.2)
    known = networks.dropna(subset="simplicity")
    assert len(known) == n_networks - 1
    np.testing.assert_allclose(known["simplicity"], 1 / np.log(known["longest_path"]))


@pytest.mark.usefixtures("n_networks")
def test_what_goes_with_the_score_is_found_and_what_does_not_is_not() -> None:
    found = tested.composite_relations(EVERYTHING).set_index("measure")
    assert found.loc["accuracy", "r"] == pytest.approx(1)
    assert found.loc["accuracy", "n"] == N and found.loc["simplicity", "n"] == N - 1
    assert found.loc["simplicity", "low"] < 0 < found.loc["simplicity", "high"]
    table = tested.composite_relations_table(found.reset_index())
    assert table["composite and"].tolist() == ["accuracy", "simplicity"]
    assert table["r"].tolist()[0] == "1.00"


@pytest.mark.usefixtures("n_networks")
def test_figures_have_a_dot_with_a_name_for_each_network() -> None:
    for measure, n in (("accuracy", N), ("simplicity", N - 1)):
        figure = figures()[f"composite-{measure}"](EVERYTHING)
        (ax,) = figure.axes
        assert len(ax.lines[0].get_xdata()) == n  # type: ignore[arg-type]
        assert {one.get_text() for one in ax.texts} <= {f"net{i}" for i in range(N)}
        assert "digits\nr = " in ax.get_title() and f"n = {n}" in ax.get_title()


@pytest.mark.parametrize("n_networks", [3], indirect=True)
def test_fewer_than_four_networks_have_a_figure_and_no_correlation(n_networks: int) -> None:
    assert tested.composite_relations(EVERYTHING).empty
    assert tested.why_none(EVERYTHING) == (
        "3 networks with a composite score, expected at least 4 of one image set"
    )
    (ax,) = figures()["composite-accuracy"](EVERYTHING).axes
    assert ax.get_title() == "digits" and len(ax.texts) == n_networks


def test_nothing_is_drawn_of_nothing(n_networks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    none = tested.composite(EVERYTHING).head(0)
    monkeypatch.setattr(tested, "composite", lambda selection, parts=(): none)
    monkeypatch.setattr(type(tested.RELATIONS), "why_nothing", lambda self, selection: "nothing")
    with pytest.raises(NothingToShowError, match="nothing"):
        figures()["composite-simplicity"](EVERYTHING)
    assert n_networks == N and results()["composite-relations"] is tested.RELATIONS
