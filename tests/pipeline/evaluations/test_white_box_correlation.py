"""Predictivity beside white-box accuracy over a pool of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations import white_box_correlation as tested
from pipeline.evaluations.composite import COMPOSITE
from pipeline.evaluations.white_box import MEAN
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.figures import draw
from pipeline.results.conditions import CONDITION
from pipeline.workers import populate
from predictive_model.recordings.recording import Recording
from schemas import training
from schemas.recording import Scan
from tests.tiny_experiment import few_digits, tiny_experiment

EVERYTHING = Selection()
N, HARDENED = 40, ("net38", "net39")


def pool(n: int = N) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Networks of two seeds whose mean accuracy goes with their predictivity by r = .8."""
    rng = np.random.default_rng(0)
    brain, other, clean = rng.normal(size=(3, n))
    about: dict[str, Any] = {name: "" for name in CONDITION}
    about |= {"image_set": "digits", "teacher": "none", "alpha": 0.0, "shuffled_labels": 0.0}
    attacked, judged = [], []
    for i in range(n):
        for seed, wobble in ((0, 0.02), (1, -0.02)):
            name = f"net{i}"
            key = {**about, "imported_network": name, "network_hash": name, "seed": seed}
            for strength in (1.0, 4.0):
                y = 0.5 + 0.05 * (0.8 * brain[i] + 0.6 * other[i]) / strength + wobble
                for norm in ("L2", MEAN):
                    attacked.append(
                        {
                            **key,
                            "norm": norm,
                            "attack": "PGD",
                            "attack_strength": strength,
                            "accuracy": y if norm == MEAN else -1.0,
                            "clean_accuracy": 0.7 + 0.05 * clean[i],
                            "white_box_hash": "weak",
                        }
                    )
            for judge, known in (("v1, pls", True), ("v4, pls", False)):
                score = 0.5 + 0.05 * brain[i] - wobble
                judged.append(
                    {
                        **key,
                        "judge": judge,
                        "area": "macaque",
                        "taught": judge == "v4, pls" and i == 0,
                        "score": score,
                        "explained": score**2 / 0.8 if known else np.nan,
                    }
                )
    return pd.DataFrame(attacked), pd.DataFrame(judged)


@pytest.fixture
def of_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    attacked, judged = pool()
    monkeypatch.setattr(tested, "white_box_by_seed", lambda selection: attacked)
    monkeypatch.setattr(tested, "predictivity_by_seed", lambda selection: judged)
    monkeypatch.setattr(tested, "with_caveat", lambda title, selection: title)


@pytest.mark.usefixtures("of_pool")
def test_a_known_correlation_is_found_over_networks_and_not_over_seeds() -> None:
    both = tested.white_box_and_predictivity(EVERYTHING)
    of_v1 = both[(both["judge"] == "v1, pls") & (both["attack_strength"] == 1)]
    assert len(of_v1) == N and (of_v1["n_seeds"] == 2).all()
    assert set(of_v1["measure"]) == {"explained"}
    np.testing.assert_allclose(
        of_v1["relative_accuracy"], of_v1["white_box_accuracy"] / of_v1["clean_accuracy"]
    )
    of_v4 = both[(both["judge"] == "v4, pls") & (both["attack_strength"] == 1)]
    assert set(of_v4["measure"]) == {"score"} and len(of_v4) == N - 1, "one is taught by it"

    found = tested.white_box_correlation(EVERYTHING)
    assert set(found["networks"]) == {"all"} and set(found["attack_strength"]) == {1.0, 4.0}
    row = found[(found["judge"] == "v1, pls") & (found["accuracy"] == "white-box")].iloc[0]
    assert row["n"] == N and row["low"] < 0.8 < row["high"] and row["p"] < 1e-5
    x, y = of_v1["predictivity"], of_v1["white_box_accuracy"]
    assert row["r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    # Accuracy on clean images has nothing to do with either: given it, the correlation stays.
    given = found[(found["judge"] == "v1, pls") & (found["accuracy"] == "given clean")].iloc[0]
    assert given["r"] == pytest.approx(row["r"], abs=0.05)


@pytest.mark.usefixtures("of_pool")
def test_hardened_networks_are_left_out_by_name() -> None:
    found = tested.white_box_correlation(EVERYTHING, hardened=HARDENED)
    n = found[found["judge"] == "v1, pls"].groupby("networks")["n"].unique()
    assert list(n["all"]) == [N] and list(n["without hardened"]) == [N - 2]
    with pytest.raises(ValueError, match="hardened: net99, expected imported networks"):
        tested.white_box_correlation(EVERYTHING, hardened=["net99"])
    table = tested.white_box_correlation_table(found)
    assert table["strength"].tolist()[:1] == ["1 x"] and " to " in table["95 % (Fisher)"][0]
    figure = tested.white_box_correlation_figure(EVERYTHING, HARDENED)
    assert len(figure.axes) == 4
    assert "without hardened: r = " in figure.axes[0].get_title() and "n = 38" in (
        figure.axes[0].get_title()
    )
    open_dots, *_ = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert len(open_dots.get_xdata()) == 2  # type: ignore[arg-type]


def test_fewer_than_four_networks_are_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    attacked, judged = pool(3)
    monkeypatch.setattr(tested, "white_box_by_seed", lambda selection: attacked)
    monkeypatch.setattr(tested, "predictivity_by_seed", lambda selection: judged)
    assert tested.white_box_correlation(EVERYTHING).empty
    said = tested.why_none(EVERYTHING)
    assert said.startswith("white-box accuracy of 3 networks, predictivity of 3, and both")
    assert "of 3; expected at least 4: ask for [white_box] and [[predictivity]]" in said


@pytest.mark.database
def test_a_pool_is_planned_computed_and_correlated(database: Database, tmp_path: Path) -> None:
    assert tested.white_box_correlation(EVERYTHING).empty
    assert "nothing planned yet" in tested.CORRELATION.why_nothing(EVERYTHING)
    with pytest.raises(LookupError, match="nothing planned yet"):
        draw("white-box-correlation", tmp_path / "f.png", EVERYTHING)
    with pytest.raises(ValueError, match="does not tell hardened networks apart"):
        draw("accuracy", tmp_path / "f.png", EVERYTHING, hardened=["a"])

    training.ImageSet.add(few_digits(), source="test")
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 12, 12)).astype(np.uint8)
    values = images.reshape(40, -1)[:, :5].astype(np.float32)
    Scan.add(Recording("v1", images, np.arange(40), values, area="V1"), source="test")
    trials = np.repeat(values, 4, 0) + np.random.default_rng(1).normal(0, 9, (160, 5))
    shown = np.repeat(np.arange(40), 4)
    tier = np.where(shown < 10, "test", "train")
    repeated = Recording("v4", images, shown, trials.astype(np.float32), tier=tier, area="V4")
    Scan.add(repeated, source="test")
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    hardened = {"method": "pgd", "epsilon": 0.01, "steps": 1}
    entries: list[dict[str, Any]] = [
        *({"kind": "none", "network": {"width": width}} for width in (2, 3, 4, 5)),
        {"kind": "none", "training": {"hardened": hardened}},
    ]
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "teachers": entries}
    weak = {"n_images": "all", "steps": 2, "radii": {"Linf": 0.02}, "strengths": [1]}
    judge = {"scan": "v1", "layers": ["stage1"], "n_components": 2, "n_splits": 2}
    described |= {"white_box": weak, "predictivity": [judge, {**judge, "scan": "v4"}]}
    assert add_experiment(ExperimentSettings.model_validate(described), name="p", scale="smoke")
    nothing_yet = tested.CORRELATION.why_nothing(Selection("p"))
    assert nothing_yet.startswith("white-box accuracy of 0 networks, predictivity of 0")
    assert populate.populate(Selection("p")).failures == []
    both = results.white_box_and_predictivity("p")
    assert len(both) == 10 and both["hardened"].sum() == 2
    measures = both.drop_duplicates("judge").set_index("judge")["measure"].to_dict()
    assert measures == {"v1, pls": "score", "v4, pls": "explained"}
    found = results.white_box_correlation("p")
    found = found[found["measure"] == "score"].set_index(["networks", "accuracy"])
    assert found.loc[("all", "white-box"), "n"] == 5
    assert found.loc[("without hardened", "white-box"), "n"] == 4
    draw("white-box-correlation", tmp_path / "f.png", Selection("p"))

    ranked = results.composite("p")
    assert ranked["rank"].tolist() == [1, 2, 3, 4, 5] and set(ranked["parts"]) == {"v4, pls"}
    stored = results.predictivity_by_seed("p").dropna(subset=["explained"])
    positive = stored["explained"].where(stored["score"] > 0, 0)
    np.testing.assert_allclose(sorted(ranked["score"]), sorted(positive), atol=1e-6)
    with pytest.raises(ValueError, match="parts: v1, pls, expected regressions with a ceiling"):
        results.composite("p", parts=["v1, pls"])
    assert len(COMPOSITE.table(ranked)) == 5  # type: ignore[misc]
