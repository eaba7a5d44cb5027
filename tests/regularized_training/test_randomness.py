"""A seed decides every training to the bit, whatever layers draw, also when it is resumed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from regularized_training.lessons.config import RegularizerConfig, RsmConfig
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.registry import SIMILARITY_LAYERS
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.training import Training
from regularized_training.training_config import TrainingConfig

RNG = np.random.default_rng(0)
TASK = ImageTask(
    name="noise",
    train_images=RNG.integers(0, 256, (48, 1, 32, 32), np.uint8),
    train_labels=RNG.integers(0, 4, 48),
    test_images=RNG.integers(0, 256, (16, 1, 32, 32), np.uint8),
    test_labels=RNG.integers(0, 4, 16),
    classes=("a", "b", "c", "d"),
)
STIMULI = RNG.integers(0, 256, (30, 1, 32, 32), np.uint8)
TEACHER = SimilarityTeacher("noise", STIMULI, np.eye(30, dtype=np.float32))
LESSONS = ("none", "li", "rsm", "static")


def training(architecture: str, lesson: str, seed: int = 3) -> Training:
    width = {} if ":" in architecture else {"width": 4}
    network = NetworkConfig(architecture=architecture, **width)
    layer = compared_layers(network)[0]
    regularizer = {
        "none": None,
        "li": RegularizerConfig(n_stimuli=4),
        "rsm": RsmConfig(method="rsm", layer=layer, n_pairs=6),
        "static": RsmConfig(method="rsm", layer=layer, n_pairs=6, weighting="static"),
    }[lesson]
    config = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.01, regularizer=regularizer)
    teacher = None if regularizer is None else TEACHER
    return Training(TASK, network, config, seed, teacher=teacher)


def weights_of(finished: Training) -> dict[str, torch.Tensor]:
    lesson = finished.lesson
    taught = {} if lesson is None else lesson.module.state_dict()
    return finished.result().state_dict | {f"lesson.{k}": v for k, v in taught.items()}


class Killed(Exception):
    pass


def kill() -> None:
    raise Killed


@pytest.mark.parametrize(
    ("architecture", "lesson"),
    [*product(SIMILARITY_LAYERS, LESSONS), ("torchvision:mobilenet_v3_small", "none")],
)
def test_a_seed_decides_a_training_also_one_that_is_resumed(architecture: str, lesson: str) -> None:
    whole, stopped = training(architecture, lesson), training(architecture, lesson)
    for _ in range(2):
        whole.run_epoch()
    torch.manual_seed(1)  # what others draw meanwhile changes nothing
    stopped.run_epoch()
    with pytest.raises(Killed):  # in the middle of an epoch
        stopped.run_epoch(kill)
    resumed = training(architecture, lesson)
    resumed.load_state_dict(stopped.state_dict())
    torch.rand(3)
    resumed.run_epoch()
    expected, found = weights_of(whole), weights_of(resumed)
    assert expected.keys() == found.keys()
    assert [r.task_loss for r in resumed.history] == [r.task_loss for r in whole.history]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def test_dropout_of_another_seed_is_another() -> None:
    """Not the same masks for all, and not none."""
    one, other = (training("cornet_z_dense", "none", seed) for seed in (0, 1))
    with one._draws.own():
        first = torch.rand(5)
    with other._draws.own():
        assert not torch.equal(torch.rand(5), first)
