"""Evaluations on the test or the validation part: which images are read, and what results say."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schemas.stored
from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.activations import embeddings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings, read_experiment
from pipeline.experiments.selection import Selection
from pipeline.experiments.studies import studies
from pipeline.results.encoders import caveat
from pipeline.results.registry import results as registered
from pipeline.workers import populate
from regularized_training.robustness.noise import NoiseConfig, accuracy_under_noise
from regularized_training.tasks import image_files
from regularized_training.tasks.image_task import ImageTask
from schemas import training
from schemas.evaluations.noise import NoiseAccuracy, NoisePlan

LEVELS = [0, 0.3]
PGD = {"method": "pgd", "norm": "Linf", "step_sizes": [0.02], "steps": [2], "n_images": 10}
HELD_OUT = {"hold_out_validation": True}


@functools.cache
def some_digits() -> ImageTask:
    return replace(image_files.digits(16).subset(200, 50), name="digits")


def asked(**changes: Any) -> ExperimentSettings:
    return ExperimentSettings.model_validate(
        {
            "title": "parts",
            "images": "digits",
            "teachers": ["none"],
            "seeds": [0],
            "network": {"architecture": "cornet_z", "width": 4},
            "training": {"epochs": 1, "batch_size": 32, **HELD_OUT},
            "noise": [{"levels": LEVELS}, {"levels": LEVELS, "part": "validation"}],
        }
        | changes
    )


def test_the_part_that_a_network_learned_is_refused_in_the_file() -> None:
    with pytest.raises(ValueError, match="noise.part: validation, but the network was trained on"):
        asked(training={"epochs": 1})
    mixed = [{"training": {}}, {"training": {"hold_out_validation": False}}]
    with pytest.raises(ValueError, match="set hold_out_validation = true"):
        asked(variants=mixed)


def test_settings_that_ask_for_the_test_part_keep_their_hash() -> None:
    for config in (NoiseConfig(), NoiseConfig(part="test")):
        assert "part" not in config.described()
    assert NoiseConfig(part="validation").needs()


@pytest.mark.parametrize("study", ["li2019", "li2019_cifar100", "li2019_layers"])
def test_published_studies_say_what_they_were_chosen_on(study: str) -> None:
    assert read_experiment(studies()[study], "small").chosen["alpha"] == "test"


@pytest.mark.database
def test_evaluations_read_their_part_alone_and_results_say_which(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.ImageSet.add(some_digits(), source="test")
    looking = {
        "attacks": [PGD, {**PGD, "part": "validation"}],
        "activations": {"layer": "V1", "n_shown": 0, "part": "validation"},
        "chosen": {"alpha": "validation", "layers": "validation", "levels": "test"},
    }
    with pytest.raises(ExperimentError, match="attacks.n_images: 30, but .* has 20 validation"):
        attacks = [{**PGD, "n_images": 30, "part": "validation"}]
        add_experiment(asked(attacks=attacks), name="parts", scale="paper")
    with pytest.raises(ExperimentError, match="n_train: 190, but .* has 180 training without"):
        add_experiment(asked(training={"n_train": 190, **HELD_OUT}), name="parts", scale="paper")
    assert add_experiment(asked(), name="parts", scale="paper")
    said = asked(chosen={"alpha": "test"})
    assert not add_experiment(said, name="parts", scale="paper"), "the same, and more is said"
    assert caveat(Selection("parts")) == "alpha was chosen on the test images"
    assert add_experiment(asked(**looking), name="looking", scale="paper")
    assert caveat(Selection("looking")) == (
        "alpha and layers were chosen on the validation images; "
        "levels was chosen on the test images"
    )
    assert "alpha of parts was chosen on the test images" in caveat(Selection())
    assert populate.populate(Selection("looking")).failures == []

    task = some_digits().with_validation()
    assert task.validation_images is not None and task.validation_labels is not None
    network = training.TrainedNetwork.load(training.TrainedNetwork.fetch1("KEY"))
    parts = {
        "test": (task.test_images, task.test_labels),
        "validation": (task.validation_images, task.validation_labels),
    }
    frame = results.noise("looking")
    for part, images in parts.items():
        expected = accuracy_under_noise(network, *images, NoiseConfig(levels=LEVELS)).accuracy
        np.testing.assert_allclose(frame.loc[frame["part"] == part, "accuracy"], expected)
    assert set(frame["noise_name"]) == {"gaussian", "gaussian, validation images"}
    by_epoch = results.accuracy_by_epoch("looking")
    assert by_epoch["validation_accuracy"].iloc[-1] == pytest.approx(
        frame.loc[(frame["part"] == "validation") & (frame["level"] == 0), "accuracy"].item()
    )
    assert "validation_accuracy" in registered()["accuracy"].table(results.accuracy("looking"))  # type: ignore[misc]
    names = results.adversarial("looking")["attack_name"]
    assert list(names) == ["pgd Linf", "pgd Linf, validation images"]
    heading = registered()["activations"].heading(results.activations("looking"))
    assert heading == "Variance of a layer's activations, validation images"
    assert registered()["noise"].heading(frame) == "Accuracy under noise"

    # What is asked of the test images reads no others.
    read: list[str] = []
    read_object = schemas.stored.read_object

    def watched(backend: Any, stored: Any) -> bytes:
        read.append(Path(stored["path"]).name)
        return read_object(backend, stored)

    monkeypatch.setattr(schemas.stored, "read_object", watched)
    again = [{"levels": [0.1]}]
    attacks = [{**PGD, "steps": [1]}]
    shown = {"layer": "V1", "n_shown": 20, "perplexity": 5}
    add_experiment(
        asked(noise=again, attacks=attacks, activations=shown), name="test", scale="paper"
    )
    assert populate.populate(Selection("test")).failures == []
    embeddings(Selection("test"))
    assert any("test_images" in name for name in read)
    assert not any("train_images" in name for name in read)


@pytest.mark.database
def test_a_training_that_stopped_early_counts_with_the_epoch_that_it_kept(
    database: Database,
) -> None:
    """After two epochs, as none is better than the first by nine tenths."""
    training.ImageSet.add(some_digits(), source="test")
    stalling = {"schedule": "plateau", "patience": 1, "threshold": 0.9, "reductions": 1}
    settings = asked(training={**HELD_OUT, **stalling, "epochs": 5, "best_epoch": True})
    assert add_experiment(settings, name="early", scale="paper")
    assert populate.populate(Selection("early")).failures == []
    by_epoch = results.accuracy_by_epoch("early")
    assert by_epoch["epoch"].tolist() == [0, 1]
    best = by_epoch["validation_accuracy"].idxmax()
    assert by_epoch["kept"].tolist() == [best == row for row in by_epoch.index]
    row = training.TrainedNetwork.proj("test_accuracy", "weights_epoch").fetch1()
    assert row["weights_epoch"] == by_epoch.loc[best, "epoch"]
    found = results.accuracy_by_seed("early")
    assert found["test_accuracy"].item() == row["test_accuracy"]
    task, network = some_digits(), training.TrainedNetwork.load(row)
    clean = accuracy_under_noise(
        network, task.test_images, task.test_labels, NoiseConfig(levels=[0])
    )
    assert row["test_accuracy"] == pytest.approx(clean.accuracy[0])


@pytest.mark.database
def test_the_part_that_a_network_learned_is_refused_when_it_is_computed(
    database: Database,
) -> None:
    """Plans can be filled by hand, and settings be those of another version."""
    training.ImageSet.add(some_digits(), source="test")
    add_experiment(asked(training={"epochs": 1, "batch_size": 32}, noise=[]), name="a", scale="s")
    noise = NoiseConfig(levels=(0,), part="validation")
    assert NoiseAccuracy.settings is not None
    config = NoiseAccuracy.settings.row(noise)
    NoiseAccuracy.Config.insert1(config)
    NoisePlan.insert1({**training.TrainingPlan.fetch1(), "noise_hash": config["noise_hash"]})
    (failure,) = populate.populate().failures
    assert "the network was trained on these images too" in failure.message
    assert not len(NoiseAccuracy())
