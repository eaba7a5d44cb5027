"""Hypotheses of an experiment: frozen, hidden until all seeds are there, judged, and peeked at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.hypotheses import hypotheses_table
from pipeline.experiments.adding import add_experiment, remove_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.hypotheses import digest
from pipeline.experiments.selection import Selection
from pipeline.results.power import power_of_hypotheses, power_table
from regularized_training.analysis.paired import holm
from schemas import base, experiment, teaching, training
from schemas.evaluations.noise import NoiseAccuracy
from tests.tiny_experiment import few_digits

pytestmark = pytest.mark.database

KEY = {"experiment": "study", "scale": "smoke"}
SEEDS = [0, 1, 2, 3, 4, 5]
LEVELS = [0.0, 0.1, 0.2]
LONGER: dict[str, Any] = {"kind": "none", "training": {"epochs": 2}}
BETTER: dict[str, Any] = {
    "name": "longer training is better",
    "measure": "noise",
    "of": {"noise": "gaussian"},
    "level": [0.1, 0.2],
    "first": LONGER,
    "second": "none",
    "direction": "greater",
    "smallest_effect": 0.02,
}
CLEAN = BETTER | {"name": "not on clean images", "level": 0, "direction": "different"}


def settings(*hypotheses: Mapping[str, Any], **changes: Any) -> ExperimentSettings:
    content: dict[str, Any] = {
        "title": "a study",
        "images": "digits",
        "teachers": ["none", LONGER],
        "network": {"width": 16},
        "training": {"epochs": 1, "augment": {"flip": False}},
        "seeds": SEEDS,
        "noise": [{"levels": LEVELS}, {"kind": "uniform", "levels": [0.1]}],
        "hypotheses": list(hypotheses),
    }
    return ExperimentSettings.model_validate(content | changes)


@pytest.fixture
def images(database: Database) -> Database:
    training.ImageSet.add(few_digits(), source="test")
    return database


def computed(**columns: Any) -> dict[str, Any]:
    return columns | base.Stopwatch().provenance()


def compute(folder: Path, seeds: Sequence[int], noises: Sequence[str] = ("gaussian",)) -> None:
    """Results as they might be: longer training gains 0.05 under noise, and nothing without it."""
    weights = folder / "weights"
    weights.write_bytes(b"weights")
    network = training.TrainedNetwork()
    for row in (training.TrainingPlan & KEY).to_dicts():
        if row["seed"] not in seeds:
            continue
        key = {name: row[name] for name in network.primary_key}
        longer = (training.TrainingConfig & key).fetch1("epochs") == 2
        taught = {name: key[name] for name in ("teacher_hash", "scan_group")}
        inserted = {"allow_direct_insert": True, "skip_duplicates": True}
        teaching.Teacher.insert1(computed(**taught), **inserted)
        about = {"test_accuracy": 0.5, "layers": [], "weights": str(weights)}
        network.insert1(computed(**key, **about), **inserted)
        for config in (NoiseAccuracy.Config & [{"noise": name} for name in noises]).to_dicts():
            hashed = {**key, "noise_hash": config["noise_hash"]}
            if NoiseAccuracy & hashed:
                continue
            NoiseAccuracy.insert1(computed(**hashed, n_images=50), **inserted)
            rng = np.random.default_rng([row["seed"], longer])
            NoiseAccuracy.Level.insert(
                [
                    {
                        **hashed,
                        "level_index": i,
                        "level": level,
                        "accuracy": 0.5 + 0.05 * longer * (level > 0) + rng.normal(0, 0.004),
                        "confidence": 0.5,
                        "calibration_error": 0.1,
                    }
                    for i, level in enumerate(config["config"]["levels"])
                ],
                allow_direct_insert=True,
            )


def by_name(frame: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {row["hypothesis"]: row for row in frame.to_dict("records")}


def test_verdicts_wait_for_all_seeds_and_a_peek_is_never_forgotten(
    images: Database, tmp_path: Path
) -> None:
    assert add_experiment(settings(BETTER, CLEAN), name="study", scale="smoke")
    shown = ["effect", "low", "high", "sd", "p", "p_holm", "p_smaller", "seeds_to_decide"]

    compute(tmp_path, SEEDS[:4])
    early = results.hypotheses("study")
    assert (early["verdict"] == "incomplete").all() and early[shown].isna().all(axis=None)
    assert (early["missing"] == "first: seeds 4, 5; second: seeds 4, 5").all()
    assert early["n"].tolist() == [4, 4] and early["peeked"].isna().all()

    peeked = results.hypotheses("study", peek=True)
    assert (peeked["verdict"] == "incomplete").all() and peeked[shown].notna().all(axis=None)
    assert peeked["peeked"].notna().all()
    marked = (experiment.Hypothesis & KEY).to_arrays("peeked", order_by="place")
    assert results.hypotheses("study")[shown].isna().all(axis=None)

    compute(tmp_path, SEEDS)
    frame = results.hypotheses("study", peek=True)
    assert frame["verdict"].tolist() == ["supported", "refuted"]
    assert frame["size"].tolist() == ["at least", "smaller"] and (frame["missing"] == "").all()
    assert pd.to_datetime(frame["peeked"]).tolist() == pd.to_datetime(marked).tolist()
    assert (frame["changed"] == "").all() and (frame["computed_before"] == 0).all()
    np.testing.assert_allclose(frame["p_holm"], holm(frame["p"]))
    np.testing.assert_allclose(frame["p_smaller_holm"], holm(frame["p_smaller"]))

    # The same by hand: means over two levels, paired over seeds.
    noise = results.noise_by_seed("study")
    noise = noise[noise["level"].isin([0.1, 0.2]) & (noise["noise"] == "gaussian")]
    wide = noise.groupby(["seed", "epochs"])["accuracy"].mean().unstack()
    d = wide[2] - wide[1]
    row = by_name(frame)["longer training is better"]
    assert (row["effect"], row["sd"]) == pytest.approx((d.mean(), d.std()))

    table = hypotheses_table(frame)
    assert table["verdict"].tolist() == ["supported, at least the smallest effect", "refuted"]
    assert table["remarks"].str.contains("peeked at on 2").all()
    assert table["claim"].iloc[0] == (
        'noise, gaussian, 0.1 and 0.2: none, training {"epochs": 2} > none (of interest: 0.02)'
    )


def test_what_was_changed_after_freezing_is_named(images: Database, tmp_path: Path) -> None:
    add_experiment(settings(BETTER, CLEAN), name="study", scale="smoke")
    compute(tmp_path, SEEDS)
    stored = (experiment.Experiment & KEY).fetch1("settings")

    def said_after(change: Callable[[dict[str, Any]], object]) -> str:
        now = copy.deepcopy(stored)
        change(now)
        experiment.Experiment.update1({**KEY, "settings": now})
        return str(by_name(results.hypotheses("study"))[BETTER["name"]]["changed"])

    assert said_after(lambda now: None) == ""
    assert said_after(lambda now: now.update(title="another")) == ""
    assert said_after(lambda now: now["seeds"].pop()) == f"seeds {SEEDS}, now {SEEDS[:-1]}"
    changed = said_after(lambda now: now["hypotheses"][0].update(smallest_effect=0.001))
    assert changed == "smallest_effect 0.02, now 0.001"
    assert said_after(lambda now: now["noise"][0].update(n_images=7)) == "noise"
    assert said_after(lambda now: now["training"].update(epochs=9)) == "training"
    assert "now longer training is better" in said_after(lambda now: now["hypotheses"].pop())
    assert said_after(lambda now: now["hypotheses"].pop(0)) == "hypothesis taken out"
    # A setting that a later version leaves out or adds, at its default, changes nothing.
    assert said_after(lambda now: now["network"].pop("architecture")) == ""
    assert said_after(lambda now: None) == ""

    key = {**KEY, "hypothesis": BETTER["name"]}
    content = (experiment.Hypothesis & key).fetch1("content")
    content["hypothesis"]["direction"] = "less"
    experiment.Hypothesis.update1({**key, "content": content})
    row = by_name(results.hypotheses("study"))[BETTER["name"]]
    assert row["changed"] == "what was frozen (digest); direction less, now greater"
    assert "CHANGED since it was frozen" in hypotheses_table(results.hypotheses("study")).to_csv()


def test_what_is_frozen_can_be_checked_and_goes_with_its_experiment(images: Database) -> None:
    add_experiment(settings(BETTER), name="study", scale="smoke")
    row = (experiment.Hypothesis & KEY).fetch1()
    assert row["digest"] == digest(row["content"])
    planned = {(r["training_hash"], r["network_hash"]) for r in training.TrainingPlan.to_dicts()}
    frozen = [row["content"][which] for which in ("first", "second")]
    assert {(key["training_hash"], key["network_hash"]) for key in frozen} == planned
    assert add_experiment(settings(BETTER), name="study", scale="smoke") is False
    with pytest.raises(ExperimentError, match="with other settings"):
        add_experiment(settings(BETTER, CLEAN), name="study", scale="smoke")
    remove_experiment("study", "smoke")
    assert not experiment.Hypothesis()


def test_results_that_were_there_before_are_counted(images: Database, tmp_path: Path) -> None:
    add_experiment(settings(), name="study", scale="smoke")
    compute(tmp_path, SEEDS[:2])
    for row in NoiseAccuracy.to_dicts():
        key = {name: row[name] for name in NoiseAccuracy().primary_key}
        NoiseAccuracy.update1({**key, "computed": "2020-01-01 00:00:00"})
    add_experiment(settings(BETTER), name="later", scale="smoke")
    assert results.hypotheses("later")["computed_before"].tolist() == [4]
    said = hypotheses_table(results.hypotheses("later"))["remarks"].iloc[0]
    assert "4 results were there before it was frozen" in said


def test_a_hypothesis_waits_for_its_own_noise_alone(images: Database, tmp_path: Path) -> None:
    uniform = BETTER | {"name": "uniform", "of": {"noise": "uniform"}, "level": 0.1}
    every = BETTER | {"name": "range", "level": {"low": 0.05, "high": 1}, "test": "wilcoxon"}
    score = {k: v for k, v in BETTER.items() if k not in ("of", "level")}
    score |= {"name": "score", "measure": "robustness", "of": {"to": "noise"}}
    add_experiment(settings(uniform, every, score), name="study", scale="smoke")
    compute(tmp_path, SEEDS)
    found = by_name(results.hypotheses("study"))
    assert found["uniform"]["verdict"] == "incomplete"
    assert found["score"]["verdict"] == "incomplete", "it may change with the other noise"
    assert found["range"]["verdict"] == "supported"
    assert found["range"]["p"] == pytest.approx(2**-6)
    assert found["range"]["p_holm"] == pytest.approx(3 * 2**-6), "all of the family count"
    compute(tmp_path, SEEDS, ("gaussian", "uniform"))
    found = by_name(results.hypotheses("study"))
    assert found["uniform"]["verdict"] == found["range"]["verdict"] == "supported"
    # Networks are scored beside untaught ones that were trained as long, which both are.
    assert found["score"]["verdict"] == "refuted"
    assert found["score"]["effect"] == pytest.approx(0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"measure": "charm"}, "hypotheses.0: measure: 'charm', expected one of accuracy.test_accurac"),
    ({"measure": "noise.charm"}, "hypotheses.0: measure: 'noise.charm', expected one of"),
    ({"measure": "corruptions", "of": {}}, r"asks for none; add a table \[corruptions\]"),
    ({"level": 0.3}, "level: 0.3, expected one of those of the file, 0, 0.1, 0.2"),
    ({"level": {"low": 0.5, "high": 1}}, "level: none from 0.5 to 1, the file has 0, 0.1, 0.2"),
    ({"of": {"noise": "pink"}}, "of.noise: pink, expected one of those of the file, gaussian, uni"),
    ({"of": {"colour": "pink"}}, "of: colour tells no rows apart, expected clamped, level, noise"),
    ({"of": {}, "level": None}, "of: noise is gaussian and uniform, expected one of them"),
    ({"measure": "accuracy", "of": {}}, "level: given, but this measure has no levels"),
]


@pytest.mark.usefixtures("images")
def test_what_is_not_measured_is_refused_before_anything_is_written() -> None:
    for change, message in WRONG:
        with pytest.raises(ExperimentError, match=message):
            add_experiment(settings(BETTER | change), name="study", scale="smoke")
    attacks = [{"method": "pgd", "norm": norm, "n_images": 20} for norm in ("L2", "Linf")]
    distance = BETTER | {"measure": "adversarial.median_correct", "of": {}, "level": None}
    with pytest.raises(ExperimentError, match="of: norm is L2 and Linf, expected one of them"):
        add_experiment(settings(distance, attacks=attacks), name="study", scale="smoke")
    one = attacks[0] | {"n_images": 9}
    distance["of"] = {"norm": "L2"}
    with pytest.raises(ExperimentError, match="of: attack_hash is .* and .*, expected one"):
        add_experiment(settings(distance, attacks=[*attacks, one]), name="study", scale="smoke")
    assert not experiment.Experiment() and not experiment.Hypothesis()


def test_power_is_estimated_from_earlier_networks_a_pilot_or_a_spread(
    images: Database, tmp_path: Path
) -> None:
    planned = settings(BETTER, CLEAN)
    nothing = power_of_hypotheses(planned)
    assert nothing["sd"].isna().all() and (nothing["n_pairs"] == 0).all()
    assert (nothing["sd_from"] == "not known: give --sd or --pilot").all()
    given = power_of_hypotheses(planned, sd=0.02)
    assert (given["alpha"] == 0.025).all() and (given["seeds"] == 6).all()
    # d = 1 at .025, one-tailed and two-tailed: powers .803 of 10 and .835 of 13 by SciPy's nct.
    assert given["seeds_to_support"].tolist() == [10, 13]

    pilot = settings(noise=[{"levels": LEVELS, "n_images": 50}], seeds=SEEDS[:5])
    add_experiment(pilot, name="study", scale="smoke")
    compute(tmp_path, SEEDS[:5])
    assert power_of_hypotheses(planned)["n_pairs"].tolist() == [0, 0], "another measure"
    found = power_of_hypotheses(planned, pilot=Selection("study", "smoke"))
    assert found["n_pairs"].tolist() == [5, 5] and (found["sd"] < 0.02).all()
    assert (found["sd_from"] == "pilot study").all()
    assert (found["power_to_support"] > 0.9).all()
    again = power_of_hypotheses(pilot.model_copy(update={"hypotheses": planned.hypotheses}))
    assert again["sd"].tolist() == found["sd"].tolist()
    assert power_table(found)["seeds to support, to refute"].str.match(r"\d+, \d+").all()

    for options, message in (
        ({"sd": 0.0}, "sd: 0, expected a number above 0"),
        ({"power": 1.0}, "power: 1, expected a number between 0 and 1"),
        ({"sd": 0.1, "pilot": Selection("study")}, "both given"),
    ):
        with pytest.raises(ExperimentError, match=message):
            power_of_hypotheses(planned, **options)  # type: ignore[arg-type]
    with pytest.raises(ExperimentError, match="hypotheses: none"):
        power_of_hypotheses(settings())
    other = settings(BETTER | {"level": 0.3}, noise=[{"levels": [0.3]}])
    with pytest.raises(ExperimentError, match="pilot: longer training is better: level: 0.3"):
        power_of_hypotheses(other, pilot=Selection("study"))
