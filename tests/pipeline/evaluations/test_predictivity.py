"""Networks judged by recordings: asked for in a file, computed, and read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.predictivity import PREDICTIVITY
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from predictive_model.recordings.recording import Recording
from regularized_training.alignment.scan_config import ScanPredictivityConfig
from regularized_training.alignment.scan_predictivity import score_by_scan
from schemas import experiment, training
from schemas.evaluations.predictivity import ScanPredictivity
from schemas.recording import Scan
from tests.tiny_experiment import few_digits, tiny_experiment

N, NEURONS = 60, 6
RSA = {"scan": "it", "metric": "rsa", "degrees": 8, "n_resamples": 20}
PLS = {"scan": "v4", "layers": ["stage1"], "n_components": 3, "n_splits": 4}


def scan(name: str, *, repeats: int, **about: Any) -> Recording:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 1, 12, 12)).astype(np.uint8)
    index = np.repeat(np.arange(N), repeats)
    signal = images.reshape(N, -1)[:, :NEURONS] / 64.0
    tier = np.where(index < 10, "test", np.where(index < 20, "validation", "train"))
    values = (signal[index] + rng.normal(size=(len(index), NEURONS))).astype(np.float32)
    return Recording(name, images, index, values, tier=tier, species="macaque", **about)


def asked(*judges: dict[str, Any], **changes: Any) -> ExperimentSettings:
    described = tiny_experiment(seeds=(0, 1)).model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": []}
    return ExperimentSettings.model_validate(described | {"predictivity": list(judges)} | changes)


def add_inputs() -> None:
    training.ImageSet.add(few_digits(), source="test")
    groups = np.array(["bear", "car", "dog"] * (N // 3))
    Scan.add(scan("it", repeats=4, area="IT", degrees=8.0, image_groups=groups), source="test")
    Scan.add(scan("v4", repeats=1, area="V4"), source="test")


@pytest.mark.database
def test_every_network_is_judged_by_each_scan_and_metric(database: Database) -> None:
    add_inputs()
    assert add_experiment(asked(RSA, PLS), name="judged", scale="smoke")
    assert populate.populate(Selection("judged")).failures == []
    assert len(ScanPredictivity()) == 4 and len(ScanPredictivity.Layer & "scan = 'v4'") == 2
    for row in (ScanPredictivity & "scan = 'it'").to_dicts():
        network = training.TrainedNetwork.load(row)
        key = {name: row[name] for name in ScanPredictivity().primary_key}
        parts = (ScanPredictivity.Layer & key).to_dicts(order_by="layer_index")
        layers = [part["layer"] for part in parts]
        config = ScanPredictivityConfig(**RSA)
        found = score_by_scan(
            network, tuple(layers), Scan.load({"scan": "it"}), config, (1, 16, 16)
        )
        assert row["score"] == pytest.approx(found.best.score.score, abs=1e-5)
        assert row["layer"] == found.best.layer and row["chosen"] and row["n_images"] == N // 2
        assert row["explained"] == pytest.approx(row["score"] ** 2 / row["reliability"])
    averaged = (ScanPredictivity & "scan = 'v4'").to_dicts()
    assert all(row["ratio"] is None and not row["chosen"] for row in averaged)
    assert all(np.asarray(row["correlations"]).shape == (4, NEURONS) for row in averaged)

    frame = results.predictivity("judged")
    assert list(frame["judge"]) == ["it, rsa", "v4, pls"]
    assert list(frame["area"]) == ["macaque IT", "macaque V4"] and not frame["taught"].any()
    by_layer = results.predictivity_by_layer("judged")
    halved = by_layer[by_layer["scan"] == "it"]
    assert halved["choosing"].notna().all() and halved["layer"].nunique() > 1
    table = PREDICTIVITY.table(frame).set_index("judge")  # type: ignore[misc]
    assert table.loc["v4, pls", "ceiling"] == "none"
    assert table.loc["v4, pls", "note"] == "no repeats: only mean responses are known"
    assert float(table.loc["it, rsa", "ceiling"]) > 0.3
    repeated, once = PREDICTIVITY.figures["predictivity"](Selection("judged")).axes
    assert repeated.get_title() == f"macaque IT, {NEURONS} neurons\nit, rsa"
    assert once.get_title() == f"macaque V4, {NEURONS} neurons\nv4, pls"
    for ax, score in zip((repeated, once), frame["score"], strict=True):
        (bar,) = ax.patches
        assert bar.get_width() == pytest.approx(score)  # type: ignore[attr-defined]
    ceiling = np.sqrt(frame["reliability"].iloc[0])
    assert any(np.allclose(line.get_xdata(), ceiling) for line in repeated.lines)


@pytest.mark.database
@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"scan": "v1"}, "v1 is not in the database with its trials, which has it, v4"),
        ({"scan": "v4", "degrees": 8}, "how wide the images of v4 were shown is not known"),
    ],
)
def test_scans_that_cannot_judge_are_named_and_nothing_is_planned(
    database: Database, judge: dict[str, Any], said: str
) -> None:
    add_inputs()
    with pytest.raises((LookupError, ValueError), match=said):
        add_experiment(asked(judge), name="judged", scale="smoke")
    assert not len(experiment.Experiment()) and not len(training.TrainingPlan())


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({**PLS, "layers": ["conv3"]}, "layers: conv3 are not among"),
        ({**RSA, "n_components": 4}, "the metric rsa has none"),
        ({"metric": "pls"}, "scan"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_the_file(judge: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        asked(judge)
