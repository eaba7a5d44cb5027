"""A training that asks for two devices starts two processes, and is one training to its caller."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from regularized_training.joint_loss import TrainingError
from regularized_training.lessons.response_config import ResponsesConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.training import train
from regularized_training.training_config import TrainingConfig
from tests.regularized_training.short_trainings import Killed, assert_same_weights, without_time

NETWORK = NetworkConfig(width=2)
RNG = np.random.default_rng(0)
TEACHER = ResponseTeacher(
    "brain", RNG.integers(0, 256, (24, 1, 16, 16)).astype(np.uint8), RNG.gamma(1, 1, (24, 5))
)
CONFIG = TrainingConfig(
    epochs=2,
    batch_size=16,
    n_train=64,
    n_test=20,
    learning_rate=0.01,
    devices=2,
    regularizer=ResponsesConfig(method="responses", layer="stage1", n_stimuli=8),
)


def test_a_training_on_two_devices_is_resumed_and_reports_its_epochs(
    small_digits: ImageTask, tmp_path: Path
) -> None:
    def kill(record: object) -> None:
        raise Killed

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train(
            small_digits, NETWORK, CONFIG, 0, teacher=TEACHER, checkpoint=checkpoint, progress=kill
        )
    assert not multiprocessing.active_children()
    epochs: list[int] = []
    resumed = train(
        small_digits,
        NETWORK,
        CONFIG,
        0,
        teacher=TEACHER,
        checkpoint=checkpoint,
        progress=lambda record: epochs.append(record.epoch),
    )
    assert epochs in ([1], [])  # the second may have ended before the first was killed
    whole = train(small_digits, NETWORK, CONFIG, 0, teacher=TEACHER)
    assert_same_weights(resumed, whole)
    assert without_time(resumed.history) == without_time(whole.history)
    # Not that of one process, which normalises by whole batches.
    alone = train(
        small_digits, NETWORK, CONFIG.model_copy(update={"devices": 1}), 0, teacher=TEACHER
    )
    assert not torch.equal(alone.state_dict["stem.0.weight"], whole.state_dict["stem.0.weight"])
    assert alone.history[-1].task_loss == pytest.approx(whole.history[-1].task_loss, rel=0.2)


def test_what_a_process_raises_is_raised(small_digits: ImageTask) -> None:
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="no longer finite; lower learning_rate"):
        train(small_digits, NETWORK, config, 0, teacher=TEACHER)


def test_more_devices_than_there_are_or_than_divide_a_batch_are_refused(
    small_digits: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match="devices: 2, but this machine has 1 GPUs; lower it"):
        train(small_digits, NETWORK, CONFIG, 0, teacher=TEACHER, device="cuda")
    for devices in (3, 16):
        with pytest.raises(ValidationError, match="expected a divisor of batch_size, which is 16"):
            TrainingConfig.model_validate({**CONFIG.model_dump(), "devices": devices})
