"""Networks on other images: asked for in a file, computed, and read."""

from __future__ import annotations

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.other_images import OTHER_IMAGES
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from regularized_training.analysis.errors import answers_of
from regularized_training.analysis.other_images import score_on_other_images
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.evaluation_set import EvaluationSet as Images
from regularized_training.tasks.labelled_task import TaskError
from schemas import experiment, training
from schemas.evaluation_set import EvaluationSet
from schemas.evaluations.other_images import OtherImagesAccuracy
from tests.tiny_experiment import few_digits, tiny_experiment

OUTPUTS = {"even": tuple("02468"), "odd": tuple("13579"), "nothing": ("blank",)}


def parity(size: int = 16, *, labels: tuple[str, ...] = ("even", "odd")) -> Images:
    """Digits in colour, labelled by whether they are even."""
    task = few_digits()
    images = np.repeat(task.test_images[:, :, :size, :size], 3, axis=1)
    outputs = {name: OUTPUTS[name] for name in labels}
    return Images(f"parity-{size}", images, task.test_labels % 2, labels, outputs)


def asked(*sets: str) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": []}
    described |= {"other_images": [{"set": name} for name in sets]}
    return ExperimentSettings.model_validate(described)


@pytest.mark.database
def test_networks_are_tested_by_what_their_outputs_mean(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    EvaluationSet.add(parity(), source="test")
    assert add_experiment(asked("parity-16"), name="other", scale="smoke")
    assert populate.populate(Selection("other")).failures == []
    row = OtherImagesAccuracy.fetch1()
    network, task = training.TrainedNetwork.load(row), few_digits()
    answers = np.asarray(row["answers"])
    assert answers.shape == (50,)
    # The likeliest class is mostly of the likelier parity.
    assert (answers == answers_of(network, task.test_images) % 2).mean() > 0.5
    right = answers == task.test_labels % 2
    assert (row["accuracy"], row["n_images"]) == (pytest.approx(right.mean()), 50)

    frame = results.other_images("other")
    assert list(frame["evaluation_set"]) == ["parity-16"]
    assert frame["accuracy"].iloc[0] == pytest.approx(right.mean())
    by_label = results.other_images_by_label("other")
    assert list(by_label["label"]) == ["even", "odd"]
    of_all = np.average(by_label["accuracy"], weights=by_label["n_labelled"])
    assert of_all == pytest.approx(right.mean())
    table = OTHER_IMAGES.table(frame)  # type: ignore[misc]
    assert list(table.columns) == ["images", "condition", "accuracy"]
    OTHER_IMAGES.figures["other-images"](Selection("other"))


@pytest.mark.database
def test_a_set_that_is_not_there_is_named_and_nothing_is_planned(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    EvaluationSet.add(parity(), source="test")
    with pytest.raises(LookupError, match="sketches is not in the database, which has parity-16"):
        add_experiment(asked("sketches"), name="other", scale="smoke")
    assert not len(experiment.Experiment()) and not len(training.TrainingPlan())


def test_images_that_do_not_fit_the_network_are_refused() -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    classes, shape = tuple("0123456789"), (1, 16, 16)
    with pytest.raises(TaskError, match="12 x 12, expected 16 x 16, .* with --size 16"):
        score_on_other_images(network, classes, parity(12), shape)
    images = parity(labels=("even", "odd", "nothing"))
    with pytest.raises(TaskError, match="1 of 3 labels, such as 'nothing', are meant by none"):
        score_on_other_images(network, classes, images, shape)
