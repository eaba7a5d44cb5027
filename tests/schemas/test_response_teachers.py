"""Teachers that say responses: from an experiment's file to networks that learned from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from neuroteach import results
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from predictive_model.recordings.stimuli import natural_stimuli
from schemas import encoding, recording, teacher_plan, teaching, training
from schemas.stored import read_attached
from tests.schemas.test_teaching import N_STIMULI, import_encoders
from tests.tiny_experiment import tiny_experiment, tiny_recording

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("response_teachers")]

PREDICTED = ("responses", "responses_shuffle", "responses_shuffle_neurons")
OF_SOURCE = (*PREDICTED, "responses_untrained", "responses_gabor")


def settings_of(stimuli: str, **changes: Any) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described["network"] = {"width": 4}
    described["training"]["regularizer"] = {
        "method": "responses",
        "layer": "stage1",
        "n_stimuli": 8,
    }
    teachers = [{"kind": kind, "source": "lab"} for kind in OF_SOURCE]
    return ExperimentSettings.model_validate(
        described
        | {
            "sources": {"lab": {"encoders": ["a", "b"], "stimuli": stimuli}},
            "teachers": ["none", *teachers, "responses_data"],
        }
        | changes
    )


@pytest.fixture(scope="module")
def opened(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with open_database(new_tables(tmp_path_factory.mktemp("responses"))) as database:
        recording.Scan.add(tiny_recording(), source="test")
        add_experiment(settings_of(import_encoders()), name="lab", scale="smoke")
        done = populate.populate(Selection("lab"))
        assert done.failures == []
        yield database


@pytest.fixture(autouse=True)
def _finished(opened: Database) -> None:
    """Every test reads the finished experiment."""


def teacher_of(kind: str) -> Any:
    key = (teaching.Teacher * (teacher_plan.TeacherConfig & {"teacher": kind})).proj().fetch1()
    return teaching.Teacher.load(key)


def predictions() -> np.ndarray:
    stimuli = natural_stimuli(N_STIMULI, teacher_of("responses").stimuli.shape[2:])
    keys = (encoding.FittedEncoder & "scan IN ('a', 'b')").keys(order_by="scan")
    return np.concatenate([encoding.FittedEncoder.load(k).predict(stimuli) for k in keys], 1)


def test_predictions_of_all_scans_teach_side_by_side_and_are_stored_once() -> None:
    teacher = teacher_of("responses")
    expected = predictions()
    np.testing.assert_allclose(teacher.rows(np.arange(N_STIMULI)), expected, rtol=2e-3, atol=1e-4)
    rows = (teaching.Teacher * teacher_plan.TeacherConfig).to_dicts()
    for row in rows:
        stored = row["teacher"].startswith("responses") and row["teacher"] not in PREDICTED
        assert (row["responses"] is not None) == stored, row["teacher"]
        assert (row["stimuli"] is not None) == stored, row["teacher"]
        assert row["n_neurons"] == (0 if row["teacher"] == "none" else row["n_neurons"])
    counted = {row["teacher"]: row["n_neurons"] for row in rows}
    assert counted["responses"] == counted["responses_untrained"] == expected.shape[1]
    assert counted["responses_data"] == 10


@pytest.mark.parametrize("kind", PREDICTED[1:])
def test_shuffled_responses_keep_what_is_held_out(kind: str) -> None:
    truth, shuffled = teacher_of("responses"), teacher_of(kind)
    held_out = truth.held_out
    np.testing.assert_array_equal(shuffled.held_out, held_out)
    np.testing.assert_array_equal(shuffled.rows(held_out), truth.rows(held_out))
    taught = np.setdiff1d(np.arange(N_STIMULI), held_out)
    said, true = shuffled.rows(taught), truth.rows(taught)
    assert not np.array_equal(said, true)
    axis = 0 if kind == "responses_shuffle" else 1
    np.testing.assert_array_equal(np.sort(said, axis), np.sort(true, axis))


def test_an_untrained_encoder_predicts_something_else() -> None:
    truth, random = predictions(), teacher_of("responses_untrained").rows(np.arange(N_STIMULI))
    centred = [r - r.mean(0) for r in (truth, random)]
    norms = [np.linalg.norm(r, axis=0) for r in centred]
    moved = np.flatnonzero((norms[0] > 1e-6) & (norms[1] > 1e-6))
    correlation = (centred[0] * centred[1]).sum(0)[moved] / (norms[0] * norms[1])[moved]
    assert len(moved) > 2
    assert abs(correlation.mean()) < 0.5


def test_a_single_trial_of_each_image_teaches_in_place_of_predictions() -> None:
    teacher, scan = teacher_of("responses_data"), tiny_recording()
    for image, row in zip(
        teacher.stimuli, teacher.rows(np.arange(len(teacher.stimuli))), strict=True
    ):
        (place,) = np.flatnonzero((scan.images == image).all((1, 2, 3)))
        trials = scan.responses[scan.image_index == place]
        assert (trials == row).all(1).any()


def test_networks_learn_and_keep_what_their_lesson_learned() -> None:
    found = training.TrainedNetwork.proj("similarity_loss") * teacher_plan.TeacherConfig
    rows = {row["teacher"]: row for row in found.to_dicts()}
    assert set(rows) == {"none", *OF_SOURCE, "responses_data"}
    assert rows["none"]["similarity_loss"] is None
    names = training.TrainedNetwork().primary_key
    without = training.TrainedNetwork & "lesson IS NULL"
    assert without.keys() == [{n: rows["none"][n] for n in names}]
    key = {n: rows["responses"][n] for n in training.TrainedNetwork().primary_key}
    state = safetensors.torch.load(read_attached(training.TrainedNetwork & key, "lesson"))
    assert state["readout._features"].shape[-1] == teacher_of("responses").n_neurons
    assert torch.isfinite(state["log_variances"]).all()
    measured = (training.TrainedNetwork.Epoch & key).fetch1("measures")
    assert measured["log_variance_of_task"] == pytest.approx(state["log_variances"][0].item())
    assert "responses" in set(results.noise("lab", "smoke")["teacher"])


def test_a_teacher_of_the_other_kind_is_refused_before_anything_is_planned() -> None:
    stimuli = (recording.StimulusSet & {"n_images": N_STIMULI}).fetch1("stimulus_set")
    for changes, message in (
        ({"teachers": [{"kind": "shuffle", "source": "lab"}]}, "says similarity, .* by responses"),
        ({"training": {"epochs": 1, "regularizer": {}}}, "says responses, .* by similarity"),
        (
            {"network": {"width": 4, "architecture": "cornet_z"}},
            "layers: stage1 are not among those of cornet_z",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            settings_of(stimuli, **changes)
