from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from predictive_model.parts import PartError
from regularized_training.joint_loss import TrainingError
from regularized_training.lessons.config import LESSONS, RegularizerConfig, RsmConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.controls import pixel_teacher
from regularized_training.teachers.rsm import teacher_from_pairs
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig
from tests.installed_package import installed_package
from tests.regularized_training.short_trainings import first_images

CODE = '''
from typing import ClassVar

import torch
from torch import nn

from regularized_training.lessons.config import LessonConfig
from regularized_training.lessons.lesson import Lesson


class PullConfig(LessonConfig):
    made_by: ClassVar[str] = "mylab_lessons:Pull"

    method: str
    alpha: float = 2.0
    layers: tuple[str, ...] | None = None
    n_stimuli: int = 4
    stimulus_size: tuple[int, int] | None = None
    until: int = 1

    def teaches_at(self, epoch):
        return epoch < self.until


class Pull(Lesson):
    """Pulls all weights toward what the teacher says of the first two stimuli."""

    layer_weights = (1.0,)

    def __init__(self, network, layers, teacher, config, n_channels, rng):
        self.config, self.rng = config, rng
        self.network, self.layers = network, layers
        self.target = float(teacher.teaching.similarity[0, 1])
        self.module = nn.Linear(1, 1)
        for parameter in self.module.parameters():
            nn.init.normal_(parameter, generator=rng)

    def draw(self):
        return ()

    def loss(self):
        goal = self.module(torch.full((1,), self.target)).sum()
        return sum((p - goal).square().mean() for p in self.network.parameters())


class Nameless(LessonConfig):
    made_by: ClassVar[str] = "mylab_lessons:Pull"
    alpha: float = 1.0
'''
OFFERS = {"neuroteach.lessons": "pull = mylab_lessons:PullConfig"}
STIMULI = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16)).astype(np.uint8)
TEACHER = pixel_teacher(STIMULI)
NETWORK = NetworkConfig(width=2)


@pytest.fixture
def mylab(tmp_path: Path) -> Iterator[None]:
    with installed_package(tmp_path, "mylab_lessons", CODE, OFFERS):
        yield


def config(**regularizer: object) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "epochs": 2,
            "batch_size": 64,
            "n_train": 128,
            "n_test": 50,
            "learning_rate": 0.01,
            "regularizer": regularizer,
        }
    )


@pytest.mark.parametrize("method", ["pull", "mylab_lessons:PullConfig"])
def test_a_lesson_of_another_package_teaches(
    mylab: None, small_digits: ImageTask, method: str
) -> None:
    taught = config(method=method, until=1)
    assert taught.regularizer is not None
    assert taught.regularizer.described()["until"] == 1
    assert taught.alpha_at(0) == 2
    assert TrainingConfig.model_validate(taught.model_dump(mode="json")) == taught
    assert TrainingConfig.model_validate_json(taught.model_dump_json()) == taught
    trained = train(small_digits, NETWORK, taught, 0, teacher=TEACHER)
    losses = [record.similarity_loss for record in trained.history]
    assert losses[0] is not None and losses[0] > 0
    assert losses[1] is None  # it rested
    assert trained.history[0].layer_weights == (1.0,)
    plain = taught.model_copy(update={"regularizer": None})
    alone = train(small_digits, NETWORK, plain, 0)
    assert not torch.equal(alone.state_dict["stem.0.weight"], trained.state_dict["stem.0.weight"])
    assert LESSONS.find(method).origin.distribution == "mylab-lessons"


def test_a_lesson_of_another_package_is_resumed_with_its_state(
    mylab: None, small_digits: ImageTask
) -> None:
    taught = config(method="pull", until=2)
    whole = train(small_digits, NETWORK, taught, 0, teacher=TEACHER)
    training = Training(small_digits.subset(128, 50), NETWORK, taught, 0, teacher=TEACHER)
    training.run_epoch()
    resumed = Training(small_digits.subset(128, 50), NETWORK, taught, 0, teacher=TEACHER)
    resumed.load_state_dict(training.state_dict())
    resumed.run_epoch()
    state = resumed.result().state_dict
    assert all(torch.equal(state[name], value) for name, value in whole.state_dict.items())


def test_without_a_method_the_lesson_is_that_of_li_and_need_not_be_named() -> None:
    assert config(n_stimuli=9).regularizer == RegularizerConfig(n_stimuli=9)
    assert config(method="li", n_stimuli=9) == config(n_stimuli=9)
    assert config(method="rsm").regularizer == RsmConfig(method="rsm")


@pytest.mark.parametrize(
    ("regularizer", "message"),
    [
        ({"method": "push"}, "lesson 'push': no part of this name is installed; expected .*rsm"),
        ({"method": 3}, "method: 3, expected the name of a lesson"),
        ({"method": "mylab_lessons:Pull"}, "expected a subclass of LessonConfig"),
        ({"method": "mylab_lessons:Nameless"}, "has no layers, n_stimuli, stimulus_size, method"),
        ({"method": "pull", "till": 3}, r"regularizer\.till"),
        ({"alpa": 3}, r"regularizer\.alpa"),
    ],
)
def test_lessons_that_cannot_be_are_refused(
    mylab: None, regularizer: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**regularizer)


def test_a_lesson_that_compares_all_pairs_refuses_a_teacher_that_knows_some(
    mylab: None, small_digits: ImageTask
) -> None:
    some = teacher_from_pairs(STIMULI, [[0, 1], [2, 3]], [0.1, 0.2])
    for regularizer in ({}, {"method": "pull"}):
        with pytest.raises(ValueError, match="similarity: .* not known for all pairs of stimuli"):
            Training(small_digits, NETWORK, config(**regularizer), 0, teacher=some)


def test_a_missing_lesson_is_a_part_that_is_not_installed() -> None:
    with pytest.raises(PartError):
        LESSONS.find("push")


@pytest.mark.parametrize(
    ("regularizer", "field"),
    [({}, "alpha"), ({"method": "rsm"}, "ratio"), ({"method": "pull"}, "alpha")],
)
def test_divergence_names_the_field_that_weighs_the_teacher(
    mylab: None, small_digits: ImageTask, regularizer: dict[str, object], field: str
) -> None:
    layer = {"layer": "stem"} if field == "ratio" else {}
    taught = config(**regularizer, **layer)
    teacher = replace(TEACHER, centred=None)  # nobody said, so that each lesson takes it
    training = Training(small_digits, NETWORK, taught, 0, teacher=teacher)
    with torch.no_grad():
        next(training.network.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match=rf"lower learning_rate or regularizer\.{field} "):
        training.run_epoch()


def test_a_network_that_answers_with_no_logits_is_named(small_digits: ImageTask) -> None:
    training = Training(small_digits, NETWORK, config().model_copy(update={"regularizer": None}), 0)
    training._losses.network = nn.Flatten(0)
    with pytest.raises(TrainingError, match=r"network: answered with shape \(2048,\), expected"):
        training.step(*first_images(small_digits, 8), 0.1)
