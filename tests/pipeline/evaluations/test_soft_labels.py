"""People's labels in the database: to compare networks with, and to learn by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.soft_labels import SOFT_LABELS
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.query import deletion
from pipeline.workers import populate
from regularized_training.behaviour.soft_labels import SoftLabels as Answers
from regularized_training.tasks.labelled_task import TaskError, labels_digest
from regularized_training.training_config import TrainingConfig
from schemas import experiment, training
from schemas.configurations import config_hash
from schemas.evaluations.soft_labels import SoftLabelScores
from schemas.images import ImageSet, LabelSet
from schemas.soft_labels import SoftLabels
from tests.tiny_experiment import few_digits, tiny_experiment

KEY = {"image_set": "digits"}


def answers() -> Answers:
    """Ten people, of whom every third image leaves some in doubt."""
    labels = few_digits().test_labels
    doubt = np.where(np.arange(len(labels)) % 3 == 0, 4, 0)
    counts = np.zeros((len(labels), 10), np.int64)
    counts[np.arange(len(labels)), labels] = 10 - doubt
    counts[np.arange(len(labels)), (labels + 1) % 10] = doubt
    return Answers(counts, labels)


def wrong_labels() -> Any:
    labels = few_digits().train_labels
    return (labels + (np.arange(len(labels)) % 2 == 0)) % 10


def asked(*, soft: bool = True, **training: Any) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": []}
    described["training"] = {**described["training"], **training}
    if soft:
        described["soft_labels"] = {"n_bins": 3}
    return ExperimentSettings.model_validate(described)


@pytest.mark.database
def test_networks_are_measured_by_what_people_answer(database: Database) -> None:
    ImageSet.add(few_digits(), source="test")
    with pytest.raises(LookupError, match="no answers of people to the test images of digits, but"):
        add_experiment(asked(), name="people", scale="smoke")
    assert not len(experiment.Experiment())
    people = answers()
    with pytest.raises(TaskError, match=r"counts: \(49, 10\) of images and classes, expected \(50"):
        SoftLabels.add("digits", Answers(people.counts[:49], people.labels[:49]), source="test")
    assert SoftLabels.add("digits", people, source="test", licence="CC BY")
    assert not SoftLabels.add("digits", people, source="elsewhere")
    with pytest.raises(TaskError, match="other answers of people; `neuroteach delete soft-labels"):
        SoftLabels.add("digits", Answers(people.counts * 2, people.labels), source="test")
    np.testing.assert_array_equal(SoftLabels.load(KEY).counts, people.counts)

    assert add_experiment(asked(), name="people", scale="smoke")
    assert populate.populate(Selection("people")).failures == []
    row = SoftLabelScores.fetch1()
    network = training.TrainedNetwork.load(row)
    from regularized_training.analysis.errors import answers_of

    right = answers_of(network, few_digits().test_images) == people.labels
    assert row["accuracy"] == pytest.approx(right.mean())
    assert (
        row["cross_entropy"]
        > row["people_entropy"]
        == pytest.approx(people.entropy.mean() * np.log(2))
    )
    frame = results.soft_labels("people")
    above = frame["cross_entropy"] - frame["people_entropy"]
    assert frame["above_people"].tolist() == pytest.approx(above.tolist())
    by_entropy = results.soft_labels_by_entropy("people")
    assert by_entropy["n_in_bin"].tolist() == [33, 17]
    assert by_entropy["people_accuracy"].tolist() == pytest.approx([1.0, 0.6])
    expected = [right[people.entropy == 0].mean(), right[people.entropy > 0].mean()]
    assert by_entropy["accuracy"].tolist() == pytest.approx(expected)
    table = SOFT_LABELS.table(frame)  # type: ignore[misc]
    assert list(table.columns[:3]) == ["condition", "cross_entropy", "people's entropy"]
    SOFT_LABELS.figures["soft-labels"](Selection("people"))
    deletion.of_soft_labels("digits").execute()
    assert not len(SoftLabelScores()) and len(training.TrainedNetwork()) == 1


@pytest.mark.database
def test_networks_learn_labels_of_people_and_are_tested_by_the_right_ones(
    database: Database,
) -> None:
    ImageSet.add(few_digits(), source="test")
    worst = wrong_labels()
    with pytest.raises(ExperimentError, match="'worst' is no label set of image set 'digits', wh"):
        add_experiment(asked(soft=False, labels="worst"), name="noisy", scale="smoke")
    assert not len(experiment.Experiment())
    with pytest.raises(TaskError, match=r"labels short: shape \(5,\), expected \(64,\)"):
        LabelSet.add("digits", {"worst": worst, "short": worst[:5]}, source="test")
    assert not len(LabelSet())
    assert LabelSet.add("digits", {"worst": worst}, source="test") == ["worst"]
    assert LabelSet.add("digits", {"worst": worst}, source="test") == []
    with pytest.raises(TaskError, match="other labels named 'worst'; `neuroteach delete labels"):
        LabelSet.add("digits", {"worst": few_digits().train_labels}, source="test")
    assert LabelSet.fetch1("error_rate") == 0.5

    assert add_experiment(asked(soft=False), name="clean", scale="smoke")
    assert add_experiment(asked(soft=False, labels="worst"), name="noisy", scale="smoke")
    assert not add_experiment(asked(soft=False, labels="worst"), name="noisy", scale="smoke")
    config = (training.TrainingConfig & "config->>'labels' = 'worst'").fetch1("config")
    assert config["labels_digest"] == labels_digest(worst)
    assert populate.populate(Selection("noisy")).failures == []
    assert populate.populate(Selection("clean")).failures == []

    from regularized_training.networks.config import NetworkConfig
    from regularized_training.training import train

    plain = training.TrainedNetwork & (training.TrainingPlan & "experiment = 'noisy'").proj()
    key = plain.fetch1("KEY")
    task = few_digits().with_label_sets({"worst": worst})
    described = TrainingConfig.model_validate(config)
    here = train(task, NetworkConfig(width=2), described, key["seed"])
    learned = training.TrainedNetwork.Labels.proj().to_dicts()
    assert learned == [{**key, "label_set": "worst"}]
    found = (training.TrainedNetwork.Epoch & key).fetch1("task_loss", "test_accuracy")
    assert found == pytest.approx((here.history[0].task_loss, here.history[0].test_accuracy))
    frame = results.accuracy()
    assert sorted(frame["setting"]) == ["", "labels worst"]

    gone = {one.table: one.rows for one in deletion.of_labels("digits", "worst").affected()}
    assert (gone["TrainedNetwork"], gone["LabelSet"]) == (1, 1)
    deletion.of_labels("digits", "worst").execute()
    assert len(training.TrainedNetwork()) == 1 and not len(LabelSet())
    # What is planned still asks for the labels that were there.
    LabelSet.add("digits", {"worst": few_digits().train_labels}, source="test")
    (failure,) = populate.populate(Selection("noisy")).failures
    assert "are others than when this training was planned" in failure.message


def test_a_label_set_changes_the_settings_hash_and_its_absence_none() -> None:
    assert config_hash(TrainingConfig()) == config_hash(TrainingConfig(labels=None))
    assert "labels" not in TrainingConfig().described() and TrainingConfig().needs() == ""
    assert config_hash(TrainingConfig(labels="worst")) != config_hash(TrainingConfig())
    with pytest.raises(ValidationError, match="labels: 'worst' beside shuffled_labels"):
        TrainingConfig(labels="worst", shuffled_labels=0.1)
    with pytest.raises(ValidationError, match="labels_digest: given without labels"):
        TrainingConfig(labels_digest="0" * 64)
