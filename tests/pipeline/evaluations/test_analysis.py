"""What networks do with the test images: errors, activations, and tests of differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from neuroteach import results
from pipeline import figures
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results import registry
from pipeline.results.conditions import conditions
from pipeline.workers import populate
from predictive_model.recordings.recording import Recording
from regularized_training.analysis.errors import answers_of
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.teachers.rsm import recorded_rsm_teacher
from schemas import recording, training
from schemas.evaluations import activations as activations_tables
from schemas.evaluations import superclass_errors as superclass_errors_tables
from schemas.teacher_plan import TeacherPlan
from schemas.teaching import Rsm, Teacher
from tests.schemas.test_rsm import v1
from tests.tiny_experiment import few_digits, tiny_recording

# What all of them read is computed once.
pytestmark = [pytest.mark.database, pytest.mark.xdist_group("analysis")]

PARITY = tuple("even" if int(digit) % 2 == 0 else "odd" for digit in "0123456789")


def grouped_digits() -> ImageTask:
    return replace(few_digits(), superclasses=PARITY)


def study(**changes: Any) -> ExperimentSettings:
    return ExperimentSettings.model_validate(
        {
            "title": "labels",
            "images": "digits",
            "seeds": [0, 1, 2],
            "noise": [],
            "network": {"architecture": "cornet_z", "width": 4},
            "teachers": [
                "none",
                {"kind": "rsm", "rsm": "v1"},
                {"kind": "shuffle", "rsm": "v1"},
                {"kind": "gaussian", "rsm": "v1"},
            ],
            "variants": [{}, {"training": {"shuffled_labels": 0.5}}],
            "training": {
                "epochs": 2,
                "batch_size": 16,
                "schedule": "constant",
                "learning_rate": 0.01,
                "augment": {"padding": 0, "flip": False},
                "regularizer": {"method": "rsm", "layer": "V2", "n_pairs": 10},
            },
            "activations": {"layer": "V2", "n_shown": 40, "perplexity": 8},
        }
        | changes
    )


@pytest.fixture(scope="class")
def populated(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The finished study, for every test of the class."""
    with open_database(new_tables(tmp_path_factory.mktemp("labels"))):
        training.ImageSet.add(grouped_digits(), source="test")
        Rsm.add("v1", v1(), source="test")
        assert add_experiment(study(), name="labels", scale="smoke")
        again = study(activations={"layer": "V2", "n_shown": 0})
        assert add_experiment(again, name="again", scale="smoke")
        assert populate.populate().failures == []
        yield


class TestAStudyOfLabels:
    """Four teachers, two fractions of shuffled labels, three seeds."""

    @pytest.fixture(autouse=True)
    def _finished(self, populated: None) -> None:
        """Every test starts from the finished experiment."""

    def test_errors_within_superclasses_are_those_of_the_networks(self) -> None:
        task = grouped_digits()
        rows = superclass_errors_tables.SuperclassErrors.to_dicts()
        assert len(rows) == 24
        for row in rows[:3]:
            answers = answers_of(training.TrainedNetwork.load(row), task.test_images)
            wrong = answers != task.test_labels
            same = answers[wrong] % 2 == task.test_labels[wrong] % 2
            assert row["n_errors"] == wrong.sum()
            assert row["within_superclass"] == pytest.approx(same.mean())
            counts = np.zeros((10, 10), int)
            np.add.at(counts, (task.test_labels, answers), 1)
            assert np.array_equal(row["confusion"], counts)

    def test_variance_and_embedding_are_of_the_layer(self) -> None:
        rows = (
            activations_tables.LayerActivations
            & (activations_tables.ActivationConfig & "n_shown > 0")
        ).to_dicts()
        assert len(rows) == 24
        row = rows[0]
        read = LayerReader(training.TrainedNetwork.load(row), ("V2",))
        with torch.no_grad():
            images = torch.from_numpy(few_digits().test_images).float() / 255
            features = read(images)[0].flatten(1).double().numpy()
        assert row["variance"] == pytest.approx(features.var(0).mean(), rel=1e-5)
        assert np.asarray(row["embedding"]).shape == (40, 2)
        assert np.asarray(row["shown"]).shape == (40,)

    def test_the_gap_is_that_of_the_losses_and_the_last_epoch_is_what_counts(self) -> None:
        by_epoch = results.accuracy_by_epoch("labels")
        assert len(by_epoch) == 48
        assert np.allclose(by_epoch["gap"], by_epoch["test_loss"] - by_epoch["train_loss"])
        last = results.accuracy_by_seed("labels")
        assert len(last) == 24
        found = {
            (row["training_hash"], row["teacher_hash"], row["seed"]): row["test_accuracy"]
            for row in training.TrainedNetwork.proj("test_accuracy").to_dicts()
        }
        for row in last.itertuples():
            key = (row.training_hash, row.teacher_hash, row.seed)
            assert found[key] == row.test_accuracy
        assert set(last["shuffled_labels"]) == {0, 0.5}

    def test_a_layer_that_two_experiments_look_at_counts_once(self) -> None:
        assert len(activations_tables.LayerActivations()) == 48
        assert len(results.activations_by_seed()) == 24
        assert len(results.activations()) == 8
        of_both, of_one = (
            results.differences(name).set_index(["measure", "first", "second"]).sort_index()
            for name in (None, "labels")
        )
        pd.testing.assert_frame_equal(of_both, of_one)

    def test_only_networks_trained_on_the_same_labels_are_compared(self) -> None:
        found = results.differences("labels")
        assert set(found["measure"]) == {
            f"{measure}, {fraction} of labels shuffled"
            for measure in (
                "test accuracy",
                "generalisation gap",
                "errors within superclass",
                "variance of V2",
            )
            for fraction in ("0", "0.5")
        }
        frame = results.accuracy_by_seed("labels")
        frame = frame.assign(condition=conditions(frame))
        values = {
            name: rows.sort_values("seed")["test_accuracy"].to_numpy()
            for name, rows in frame.groupby("condition")
        }
        accuracy = found[found["measure"] == "test accuracy, 0.5 of labels shuffled"]
        assert {(row.first, row.second) for row in accuracy.itertuples()} == {
            (f"{a}, 0.5 of labels shuffled", f"{b}, 0.5 of labels shuffled")
            for a, b in (
                ("rsm, r 0.1", "none"),
                ("rsm, r 0.1", "shuffle, r 0.1"),
                ("rsm, r 0.1", "gaussian, r 0.1"),
                ("shuffle, r 0.1", "none"),
                ("gaussian, r 0.1", "none"),
            )
        }
        for row in accuracy.itertuples():
            a, b = values[row.first], values[row.second]
            if np.ptp(a - b) == 0:
                continue
            two = stats.ttest_rel(a, b).pvalue
            one = stats.ttest_rel(a, b, alternative="greater").pvalue
            assert (row.p, row.p_greater) == (pytest.approx(two), pytest.approx(one))
            assert row.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
            assert row.p_holm >= row.p

    @pytest.mark.parametrize("name", ["accuracy", "superclass-errors", "activations"])
    def test_tables_have_a_row_for_each_condition(self, name: str) -> None:
        result = registry.results()[name]
        frame = result.read(Selection("labels"))
        assert len(frame) == 8
        assert set(frame["n_seeds"]) == {3}
        assert result.table is not None
        table = result.table(frame)
        assert table["condition"].is_unique

    @pytest.mark.parametrize(
        "name",
        [
            "accuracy",
            "accuracy-distribution",
            "superclass-errors",
            "label-corruption",
            "activations",
            "stimuli",
        ],
    )
    def test_figures_are_drawn(self, name: Any, tmp_path: Path) -> None:
        figures.draw(name, tmp_path / "figure.png", Selection("labels"))
        assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_superclasses_are_added_later_but_not_changed(database: Database) -> None:
    assert training.ImageSet.add(few_digits(), source="test")
    assert training.ImageSet.load({"image_set": "digits"}).superclasses == ()
    assert training.ImageSet.add(grouped_digits(), source="test")
    assert not training.ImageSet.add(grouped_digits(), source="test")
    assert not training.ImageSet.add(few_digits(), source="test")
    assert training.ImageSet.load({"image_set": "digits"}).superclasses == PARITY
    other = replace(few_digits(), superclasses=("all",) * 10)
    with pytest.raises(TaskError, match="'digits' has others in the database"):
        training.ImageSet.add(other, source="test")


def test_recorded_rates_and_their_shuffle_teach(database: Database) -> None:
    recording.Scan.add(tiny_recording(), source="test")
    training.ImageSet.add(few_digits(), source="test")
    teachers = [{"kind": "recorded_rsm"}, {"kind": "shuffle_neurons", "seed": 4}]
    settings = study(
        recordings=["sim"],
        teachers=teachers,
        variants=[],
        seeds=[0],
        activations=None,
        fit={"max_epochs": 1},
    )
    assert add_experiment(settings, name="rates", scale="smoke")
    assert populate.populate().failures == []
    loaded = {t.name: t for t in map(Teacher.load, (Teacher & TeacherPlan).keys()) if t}
    scan: Recording = recording.Scan.load({"scan": "sim"})
    for kind, shuffled in (("recorded_rsm", False), ("shuffle_neurons", True)):
        expected = recorded_rsm_teacher([scan], shuffled=shuffled, seed=4 if shuffled else 0)
        assert np.array_equal(loaded[kind].similarity, expected.similarity)
    assert not np.allclose(loaded["recorded_rsm"].similarity, loaded["shuffle_neurons"].similarity)
