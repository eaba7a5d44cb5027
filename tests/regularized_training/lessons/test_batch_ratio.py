"""Batches of stimuli beside batches of task images, in any ratio."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from regularized_training.lessons.batch_ratio import batches_in_step
from regularized_training.lessons.config import RegularizerConfig, RsmConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.controls import pixel_teacher
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig
from tests.regularized_training.short_trainings import first_images

STIMULI = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16)).astype(np.uint8)
TEACHER = pixel_teacher(STIMULI)
NETWORK = NetworkConfig(width=2)


def config(ratio: str, epochs: int = 2) -> TrainingConfig:
    return TrainingConfig(
        epochs=epochs,
        batch_size=16,
        n_train=96,  # six steps an epoch: no whole number of times four
        n_test=20,
        learning_rate=0.01,
        regularizer=RegularizerConfig(n_stimuli=4, batch_ratio=ratio),
    )


@pytest.mark.parametrize("ratio", ["1:4", "1:1", "4:1", "3:2", "2:3", "5:7"])
def test_after_any_number_of_whole_rounds_the_ratio_is_exact(ratio: str) -> None:
    lesson, task = map(int, ratio.split(":"))
    counts = [batches_in_step(ratio, step) for step in range(20 * task)]
    assert sum(counts) == 20 * lesson
    assert max(counts) - min(counts) <= 1  # as evenly as whole numbers allow


@pytest.mark.parametrize(("ratio", "batches"), [("1:4", 3), ("1:1", 12), ("4:1", 48)])
def test_batches_are_counted_exactly_also_after_a_kill(
    small_digits: ImageTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: str,
    batches: int,
) -> None:
    """Twelve steps; killed after each third step, and resumed to the same bits."""
    monkeypatch.setattr("regularized_training.training_checkpoint.CHECKPOINT_SHARE", math.inf)
    whole = train(small_digits, NETWORK, config(ratio), 0, teacher=TEACHER)
    drawn: list[torch.Tensor] = []
    sampled = "regularized_training.lessons.similarity.sample_stimuli"
    from regularized_training.lessons.similarity import sample_stimuli

    def noted(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        drawn.append(torch.tensor(0))
        return sample_stimuli(*args)  # type: ignore[arg-type]

    step, n_steps = Training.step, 0

    def dying(self: Training, *args: object, **kwargs: object) -> torch.Tensor:
        nonlocal n_steps
        if n_steps and n_steps % 3 == 0:
            n_steps += 1
            raise KeyboardInterrupt
        found = step(self, *args, **kwargs)  # type: ignore[arg-type]
        n_steps += 1
        return found

    monkeypatch.setattr(sampled, noted)
    monkeypatch.setattr(Training, "step", dying)
    kills = 0
    while True:
        try:
            resumed = train(
                small_digits,
                NETWORK,
                config(ratio),
                0,
                teacher=TEACHER,
                checkpoint=tmp_path / "a.pt",
            )
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills == 5
    assert len(drawn) == batches + (kills + 1)  # each lesson samples once when it is made
    for name, value in whole.state_dict.items():
        assert torch.equal(resumed.state_dict[name], value), name
    for name, value in whole.lesson_state.items():
        assert torch.equal(resumed.lesson_state[name], value), name
    assert [r.similarity_loss for r in resumed.history] == [
        r.similarity_loss for r in whole.history
    ]


def test_gradients_of_all_batches_are_added_up(small_digits: ImageTask) -> None:
    """Four batches in a step: the task's gradient and four of the teacher's."""
    gradients = {}
    for n_batches in (0, 1, 2):
        training = Training(small_digits, NETWORK, config("1:1"), 0, teacher=TEACHER)
        assert training.lesson is not None
        always = training.lesson.draw()
        training.lesson.draw = lambda always=always: always  # type: ignore[method-assign]
        training.lesson.module.eval()  # the running mean stays
        training.step(*first_images(small_digits, 16), 0.0, n_batches=n_batches)
        gradients[n_batches] = training.network.get_parameter("stem.0.weight").grad
    one = gradients[1] - gradients[0]  # type: ignore[operator]
    two = gradients[2] - gradients[0]  # type: ignore[operator]
    torch.testing.assert_close(two, 2 * one, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


def test_a_ratio_is_in_lowest_terms_and_one_to_one_is_not_written_down() -> None:
    assert RegularizerConfig(batch_ratio="4:8").batch_ratio == "1:2"
    assert "batch_ratio" not in RegularizerConfig().described()
    assert RsmConfig(method="rsm", batch_ratio="1:4").described()["batch_ratio"] == "1:4"


@pytest.mark.parametrize("ratio", ["0:1", "1:0", "1", "1:1:1", "-1:2", "0.5:1", "1:10000"])
def test_ratios_that_cannot_be_are_refused(ratio: str) -> None:
    with pytest.raises(ValidationError, match=r"batch_ratio: .*, expected two whole numbers"):
        RegularizerConfig(batch_ratio=ratio)
