"""Responses predicted from trained networks: asked for in a file, computed, and read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations import robustness
from pipeline.evaluations.neural_prediction import NEURAL_PREDICTION
from pipeline.evaluations.robustness import ROBUSTNESS
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.registry import NothingToShowError
from pipeline.workers import populate
from regularized_training.alignment.prediction import PredictionConfig, neural_prediction
from schemas import teacher_plan, teaching, training
from schemas.evaluations.neural_prediction import NeuralPrediction
from tests.schemas.test_teaching import import_encoders
from tests.tiny_experiment import tiny_experiment

ASKED = {"layer": "stage1", "epochs": 2, "batch_size": 8}


def asked(stimuli: str, **changes: Any) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described["network"] = {"width": 2}
    described["training"]["regularizer"] = {
        "method": "responses",
        "layer": "stage1",
        "n_stimuli": 8,
        "stimulus_size": [16, 16],
    }
    return ExperimentSettings.model_validate(
        described
        | {
            "sources": {"lab": {"encoders": ["a", "b"], "stimuli": stimuli}},
            "recordings": [],
            "seeds": [0, 1],
            "teachers": [
                "none",
                {"kind": "responses", "source": "lab"},
                {"kind": "responses_shuffle", "source": "lab"},
            ],
            "noise": [{"levels": [0, 0.1, 0.3]}, {"kind": "uniform", "levels": [0.2]}],
            "neural_prediction": ASKED,
        }
        | changes
    )


@pytest.mark.database
def test_every_network_is_asked_for_the_responses_that_the_brain_gives(database: Database) -> None:
    """Whatever it was taught: nothing, these responses, or shuffled ones."""
    stimuli = import_encoders()
    assert add_experiment(asked(stimuli), name="predicted", scale="smoke")
    assert populate.populate(Selection("predicted")).failures == []
    rows = NeuralPrediction.to_dicts()
    assert len(rows) == 6
    brain = (teaching.Teacher * (teacher_plan.TeacherConfig & {"teacher": "responses"})).proj()
    judge = teaching.Teacher.load(brain.fetch1())
    config = PredictionConfig(**ASKED, stimulus_size=(16, 16))  # as the teacher teaches
    for row in rows:
        network = training.TrainedNetwork.load(row)
        expected = neural_prediction(network, judge, config, n_channels=1).single_trial
        np.testing.assert_allclose(np.asarray(row["correlations"]), expected, atol=1e-4)
        assert row["correlation"] == pytest.approx(expected.mean(), abs=1e-4)
        assert (row["n_neurons"], row["n_compared"]) == (judge.n_neurons, len(judge.held_out))

    frame = results.neural_prediction("predicted")
    assert set(frame["teacher"]) == {"none", "responses", "responses_shuffle"}
    assert set(frame["judge"]) == {"mouse V1, stage1"}
    table = NEURAL_PREDICTION.table(frame)  # type: ignore[misc]
    assert list(table.columns) == ["judge", "condition", "correlation"]
    NEURAL_PREDICTION.figures["neural-prediction"](Selection("predicted"))
    measured = set(results.differences("predicted")["measure"])
    assert {"prediction of mouse V1, stage1", "robustness to noise"} <= measured
    assert_robustness_is_relative_to_networks_without_a_teacher()


def assert_robustness_is_relative_to_networks_without_a_teacher() -> None:
    """Literally, from the rows: a mean over kinds of noise of a ratio of means over levels."""
    noise = results.noise_by_seed("predicted")
    noise = noise[noise["level"] > 0]
    frame = results.robustness_by_seed("predicted")
    assert len(frame) == 6
    for row in frame.itertuples():
        ratios = []
        for kind in ("gaussian", "uniform"):
            levels = noise[noise["noise"] == kind]
            own = levels[(levels["teacher"] == row.teacher) & (levels["seed"] == row.seed)]
            ratios.append(
                own["accuracy"].mean() / levels[levels["teacher"] == "none"]["accuracy"].mean()
            )
        assert row.robustness == pytest.approx(np.mean(ratios))
    plain = frame[frame["teacher"] == "none"]
    assert plain["robustness"].mean() == pytest.approx(1)
    both = results.robustness_and_prediction("predicted")
    assert len(both) == 6 and both["prediction"].notna().all()
    assert results.robustness_regression("predicted").empty  # of two networks each
    ROBUSTNESS.figures["robustness"](Selection("predicted"))
    with pytest.MonkeyPatch.context() as patch:
        without = frame.assign(robustness=np.nan)
        patch.setattr(type(ROBUSTNESS), "frame_by_seed", lambda self, selection: without)
        with pytest.raises(NothingToShowError, match="it takes networks without a teacher"):
            ROBUSTNESS.figures["robustness"](Selection("predicted"))


def test_a_regression_is_made_for_each_kind_of_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=40) for name in robustness.FACTORS})
    names = {*robustness.OF_REGRESSION, "network_hash", "alike"} - {"teacher"}
    frame = frame.assign(**dict.fromkeys(names, "same"))
    frame = frame.assign(teacher=["x"] * 20 + ["y"] * 20)
    frame["robustness"] = 2 * frame["clean_accuracy"] + frame["prediction"] * (frame.teacher == "x")
    monkeypatch.setattr(robustness, "robustness_and_prediction", lambda selection: frame)
    found = robustness.robustness_regression(Selection()).set_index(["teacher", "factor"])
    assert found.loc[("x", "prediction"), "slope"] == pytest.approx(1)
    assert found.loc[("y", "prediction"), "slope"] == pytest.approx(0, abs=1e-9)
    assert (found["n"] == 20).all() and found["r_squared"].to_numpy() == pytest.approx(1)
    frame["alike"] = ["one"] * 10 + ["other"] * 10 + ["one"] * 17 + ["other"] * 3
    apart = robustness.robustness_regression(Selection())
    assert apart["n"].tolist() == [10, 10, 10, 10, 17, 17]  # three networks explain nothing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers": ["none"]}, "predicts what is said by responses teachers, of which there"),
        ({"neural_prediction": {**ASKED, "layer": "conv3"}}, "layers: conv3 are not among"),
        ({"neural_prediction": {"epochs": 3}}, "neural_prediction.*layer"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_the_file(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        asked("0" * 16, **changes)
