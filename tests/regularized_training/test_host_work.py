"""What a step leaves to the host: nothing that a device would have to be waited for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from regularized_training.lessons.cka_config import CkaConfig
from regularized_training.lessons.config import LessonConfig, RegularizerConfig, RsmConfig
from regularized_training.lessons.response_config import CcaConfig, ResponsesConfig, VicregConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.teachers.any_teacher import Teacher
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.training import Training
from regularized_training.training_config import DistortedConfig, TrainingConfig
from tests.regularized_training.test_randomness import STIMULI, TASK, TEACHER

RESPONSES = ResponseTeacher("noise", STIMULI, np.random.default_rng(1).gamma(1, 1, (30, 5)))
LAYER = "stage1"
# What ends in a number, a truth or a shape that only the device knows.
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique", "equal")
LESSONS: dict[str, tuple[LessonConfig | None, Teacher | None]] = {
    "none": (None, None),
    "li": (RegularizerConfig(n_stimuli=4), TEACHER),
    "batch mean": (RegularizerConfig(n_stimuli=4, centering="batch"), TEACHER),
    "rsm": (RsmConfig(method="rsm", layer=LAYER, n_pairs=6), TEACHER),
    "cka": (CkaConfig(method="cka", n_stimuli=8), TEACHER),
    "responses": (ResponsesConfig(method="responses", layer=LAYER, n_stimuli=8), RESPONSES),
    "cca": (CcaConfig(method="cca", layer=LAYER, n_stimuli=12, n_components=3), RESPONSES),
    "vicreg": (VicregConfig(method="vicreg", layer=LAYER, n_stimuli=8), RESPONSES),
}


class Waits(TorchDispatchMode):
    """Gathers operators that make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        if name in WAITS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class Computes(TorchDispatchMode):
    """Counts operators that compute: neither views, nor memory that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = [found.alias_info for found in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in returned)
        asks = func.namespace != "aten" or "empty" in func.name() or "promote" in func.name()
        self.n += not (is_view or asks or func.name() == "aten::detach")
        return func(*args, **(kwargs or {}))


def training(lesson: str, *, distorted: bool = False, optimizer: str = "sgd") -> Training:
    regularizer, teacher = LESSONS[lesson]
    config = TrainingConfig(
        epochs=1,
        batch_size=16,
        learning_rate=0.01,
        optimizer=optimizer,
        regularizer=regularizer,
        distorted=DistortedConfig(by={"gaussian": (0.1,)}, layer=LAYER) if distorted else None,
    )
    made = Training(TASK, NetworkConfig(width=4), config, 0, teacher=teacher)
    made.network.train()
    return made


@pytest.mark.parametrize(
    ("lesson", "distorted"), [*((name, False) for name in LESSONS), ("none", True)]
)
def test_a_step_waits_for_nothing(lesson: str, distorted: bool) -> None:
    under_way = training(lesson, distorted=distorted)
    images, labels = next(iter(under_way.task_batches(0)))
    under_way.step(images, labels, 0.01)
    with Waits() as waits:
        under_way.step(images, labels, 0.01)
    assert waits.found == []


def test_what_waits_is_found() -> None:
    with Waits() as waits:
        bool(torch.ones(3).sum() > 2)
        torch.ones(3)[torch.ones(3) > 0]
    assert waits.found


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_joint_step_has_few_operators_beside_two_passes(optimizer: str) -> None:
    """On a GPU each costs its launch, which is most of the time where a network is small."""
    found = {}
    for lesson in ("none", "li"):
        under_way = training(lesson, optimizer=optimizer)
        images, labels = next(iter(under_way.task_batches(0)))
        under_way.step(images, labels, 0.01)
        with Computes() as computes:
            under_way.step(images, labels, 0.01)
        found[lesson] = computes.n
    # ResNet18 has 20 convolutions, each normalised, 17 rectifiers, 3 poolings and 8 sums; forwards
    # they are preceded by two operators that normalise images.
    passage = 2 * (20 + 20 + 17 + 3 + 8) + 2
    n_parameters, n_counters = 62, 20
    # Beside the passage: what counts batches; cross-entropy, accuracy and the optimiser.
    assert found["none"] <= passage + n_counters + 30
    # Beside it: two gradients are added up for each parameter but the classifier's two.
    assert found["li"] - found["none"] <= passage + (n_parameters - 2) + 82


@pytest.mark.parametrize("lesson", [name for name in LESSONS if name != "none"])
def test_a_lesson_draws_a_number_for_each_stimulus_and_neuron_and_no_pixels(lesson: str) -> None:
    under_way = training(lesson)
    assert under_way.lesson is not None
    first, second = under_way.lesson.draw(), under_way.lesson.draw()
    # The same shapes every time, so that they can be pinned, and a device need not ask for memory.
    assert [part.shape for part in first] == [part.shape for part in second]
    assert sum(part.numel() for part in first) <= 12 * 12 + 12 * 5 + 2 * 12
