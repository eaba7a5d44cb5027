"""Oracles from an experiment's file on: trained on distorted images, and what they teach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from neuroteach import results
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.conditions import conditions
from pipeline.workers import populate
from regularized_training.oracle_config import OracleConfig
from regularized_training.teachers.config import TeacherConfig
from schemas import recording, teacher_plan, teaching, training
from schemas.configurations import read_config
from schemas.task_stimuli import TaskStimuli
from tests.schemas.test_response_teachers import settings_of, teacher_of
from tests.schemas.test_teaching import SHAPE, import_encoders

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("oracle")]

DISTORTED = {"layer": "stage1", "by": {"gaussian": [0.3]}}
TEACHERS: list[Any] = [
    "none",
    {"kind": "none", "training": {"distorted": DISTORTED}},
    {"kind": "responses", "source": "lab"},
    {
        "kind": "responses_oracle",
        "source": "lab",
        "oracle": {"training": {"distorted": DISTORTED}, "readout_epochs": 1},
    },
]


def oracle_settings(stimuli: str, **changes: Any) -> ExperimentSettings:
    return settings_of(stimuli, **{"recordings": [], "teachers": TEACHERS} | changes)


@pytest.fixture(scope="module")
def opened(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with open_database(new_tables(tmp_path_factory.mktemp("oracle"))) as database:
        import_encoders()
        key = TaskStimuli.add("digits", SHAPE)
        add_experiment(oracle_settings(key), name="lab", scale="smoke")
        assert populate.populate(Selection("lab")).failures == []
        yield database


@pytest.fixture(autouse=True)
def _finished(opened: Database) -> None:
    """Every test reads the finished experiment."""


def test_an_oracle_speaks_of_the_same_neurons_and_stimuli_as_the_brain() -> None:
    brain, oracle = teacher_of("responses"), teacher_of("responses_oracle")
    np.testing.assert_array_equal(oracle.stimuli, brain.stimuli)
    np.testing.assert_array_equal(oracle.held_out, brain.held_out)
    assert oracle.n_neurons == brain.n_neurons
    both = [teacher.rows(np.arange(brain.n_stimuli)) for teacher in (brain, oracle)]
    assert (both[1] >= 0).all()
    assert not np.allclose(*both)
    # A readout starts at the means of its neurons.
    np.testing.assert_allclose(both[1].mean(0), both[0].mean(0), rtol=0.5, atol=0.2)


def test_it_is_built_and_trained_as_networks_are_but_for_the_teacher() -> None:
    row = (teacher_plan.TeacherConfig & {"teacher": "responses_oracle"}).fetch1()
    config = read_config(TeacherConfig, row["config"], row["needs"])
    planned = oracle_settings("0" * 16)
    assert isinstance(config.oracle, OracleConfig) and planned.training is not None
    assert config.oracle.network == planned.network
    assert config.oracle.training.regularizer is None
    assert config.oracle.training.batch_size == planned.training.batch_size


def test_conditions_say_who_learned_distorted_images() -> None:
    assert set(conditions(results.noise("lab", "smoke"))) == {
        "none",
        "none, distorted images",
        "responses, alpha 1",
        "responses oracle, alpha 1",
    }


def test_epochs_are_those_of_the_part_that_is_kept() -> None:
    rows = (training.TrainedNetwork.proj() * training.TrainingConfig).to_dicts()
    (row,) = [row for row in rows if row["config"].get("distorted")]
    assert row["config"]["distorted"]["retrained"]
    epochs = training.TrainedNetwork.Epoch & {
        n: row[n] for n in training.TrainedNetwork().primary_key
    }
    assert list(epochs.to_arrays("epoch")) == list(range(row["epochs"]))
    assert not len(training.TrainingProgress())


def test_oracles_are_compared_with_untaught_networks_and_with_those_they_taught() -> None:
    found = results.differences("lab", "smoke")
    pairs = {(row.first, row.second) for row in found.itertuples()}
    assert pairs == {
        ("responses, alpha 1", "none"),
        ("responses, alpha 1", "none, distorted images"),
        ("responses, alpha 1", "responses oracle, alpha 1"),
        ("none, distorted images", "none"),
        ("responses oracle, alpha 1", "none"),
        ("responses oracle, alpha 1", "none, distorted images"),
    }


def test_rows_say_what_an_oracle_was_trained_on_and_that_it_learned() -> None:
    row = teaching.Teacher.Oracle.proj("image_set", "test_accuracy", "epochs").fetch1()
    assert (row["image_set"], len(row["epochs"])) == ("digits", 1)
    assert row["epochs"][-1]["test_accuracy"] == row["test_accuracy"]
    assert len(training.ImageSet & teaching.Teacher.Oracle) == 1
    key = {n: row[n] for n in teaching.Teacher().primary_key}
    seconds = (teaching.Teacher & key).fetch1("seconds")
    assert seconds >= sum(epoch["seconds"] for epoch in row["epochs"])


def test_who_is_trained_in_another_way_is_no_baseline() -> None:
    changed = {"augment": {"padding": 0, "flip": False}}
    teachers = [*TEACHERS[:3], {"kind": "none", "training": changed}]
    stimuli = TaskStimuli.fetch1("stimulus_set")
    add_experiment(oracle_settings(stimuli, teachers=teachers), name="two", scale="smoke")
    assert populate.populate(Selection("two")).failures == []
    frame = results.robustness_by_seed("two", "smoke")
    plain = frame[(frame["teacher"] == "none") & (frame["distorted"] == "")]
    assert plain["robustness"].tolist() == [1, 1]
    assert frame["alike"].nunique() == 2


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([{"kind": "none", "alphas": [1, 2]}], "none has alphas or batch_ratios"),
        (
            [{"kind": "none", "training": {"distorted": {**DISTORTED, "layer": "stage9"}}}],
            "stage9 are not among",
        ),
        (
            [
                {
                    "kind": "responses_oracle",
                    "source": "lab",
                    "oracle": {"training": {"distorted": {**DISTORTED, "layer": "stage9"}}},
                }
            ],
            "stage9 are not among",
        ),
        (
            [{"kind": "responses_oracle", "oracle": TEACHERS[3]["oracle"]}],
            "recordings or a source|needs a source",
        ),
        ([{"kind": "responses_oracle", "source": "lab"}], "distorted: missing, expected"),
        (
            [{"kind": "responses", "source": "lab", "oracle": TEACHERS[3]["oracle"]}],
            "oracle",
        ),
        (
            [{"kind": "none", "training": {"distorted": {"layer": "stage1", "by": {}}}}],
            "by: no kind of distortion",
        ),
    ],
)
def test_oracles_that_cannot_be_are_refused_in_the_file(teachers: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        oracle_settings("0" * 16, teachers=teachers)


def test_stimuli_that_are_no_images_of_a_task_are_refused_and_nothing_is_planned() -> None:
    (other,) = {*recording.StimulusSet.to_arrays("stimulus_set")} - {
        *TaskStimuli.to_arrays("stimulus_set")
    }
    n_planned = len(teaching.TeacherPlan())
    with pytest.raises(ExperimentError, match="training images of none, expected .*--from-images"):
        add_experiment(oracle_settings(other), name="other", scale="smoke")
    assert len(teaching.TeacherPlan()) == n_planned
