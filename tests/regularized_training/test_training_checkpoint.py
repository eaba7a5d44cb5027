"""A training that was killed goes on from its checkpoint, and from no other's."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from predictive_model.checkpoint import CheckpointError
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.trained_network import EpochRecord
from regularized_training.training import train
from tests.regularized_training.short_trainings import (
    NETWORK,
    PLAIN,
    TAUGHT,
    Killed,
    assert_same_weights,
    without_time,
)


@pytest.mark.parametrize("with_teacher", [False, True])
def test_killed_and_resumed_training_ends_bit_identical(
    small_digits: ImageTask,
    teacher: SimilarityTeacher,
    tmp_path: Path,
    with_teacher: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("regularized_training.training_checkpoint.CHECKPOINT_SHARE", math.inf)
    config = (TAUGHT if with_teacher else PLAIN).model_copy(update={"epochs": 3})
    taught_by = teacher if with_teacher else None
    whole = train(small_digits, NETWORK, config, seed=3, teacher=taught_by)

    def kill(record: EpochRecord) -> None:
        if record.epoch == 1:
            raise Killed

    path = tmp_path / "runs" / "a.pt"
    with pytest.raises(Killed):
        train(small_digits, NETWORK, config, 3, teacher=taught_by, checkpoint=path, progress=kill)
    seen: list[EpochRecord] = []
    resumed = train(
        small_digits,
        NETWORK,
        config,
        3,
        teacher=taught_by,
        checkpoint=path,
        progress=seen.append,
    )
    assert [record.epoch for record in seen] == [2]
    assert_same_weights(resumed, whole)
    assert without_time(resumed.history) == without_time(whole.history)
    # Once done, nothing is trained again.
    again = train(small_digits, NETWORK, config, 3, teacher=taught_by, checkpoint=path)
    assert [asdict(r) for r in again.history] == [asdict(r) for r in resumed.history]
    assert_same_weights(again, whole)


def test_checkpoints_that_take_long_are_written_seldom_but_at_the_end(
    small_digits: ImageTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regularized_training.training_checkpoint.CHECKPOINT_SHARE", 1e-9)
    path = tmp_path / "a.pt"
    written = []

    def look(record: EpochRecord) -> None:
        written.append(len(torch.load(path, weights_only=True)["state"]["history"]))

    config = PLAIN.model_copy(update={"epochs": 4})
    train(small_digits, NETWORK, config, 0, checkpoint=path, progress=look)
    assert written == [0, 0, 0, 4]  # the first one after the first step


def test_checkpoint_of_another_training_is_refused(
    small_digits: ImageTask, teacher: SimilarityTeacher, tmp_path: Path
) -> None:
    config = PLAIN.model_copy(update={"epochs": 1})
    path = tmp_path / "a.pt"
    train(small_digits, NETWORK, config, 0, checkpoint=path)
    mirrored = replace(small_digits, train_images=small_digits.train_images[:, :, :, ::-1])
    others = (
        (small_digits, NETWORK, config, 1),
        (small_digits, NetworkConfig(width=5), config, 0),
        (small_digits, NETWORK, config.model_copy(update={"momentum": 0.8}), 0),
        (mirrored, NETWORK, config, 0),
    )
    for other in others:
        with pytest.raises(CheckpointError, match="other data, settings or seed"):
            train(*other, checkpoint=path)
    with pytest.raises(CheckpointError):
        taught = TAUGHT.model_copy(update={"epochs": 1})
        train(small_digits, NETWORK, taught, 0, teacher=teacher, checkpoint=path)


def test_checkpoint_of_a_teacher_that_held_out_others_is_refused(
    small_digits: ImageTask, teacher: SimilarityTeacher, tmp_path: Path
) -> None:
    config = TAUGHT.model_copy(update={"epochs": 1, "n_train": 128})
    path = tmp_path / "a.pt"
    taught_by = replace(teacher, held_out=np.arange(10))
    train(small_digits, NETWORK, config, 0, teacher=taught_by, checkpoint=path)
    with pytest.raises(CheckpointError, match="other data, settings or seed"):
        other = replace(teacher, held_out=np.arange(1, 11))
        train(small_digits, NETWORK, config, 0, teacher=other, checkpoint=path)


HELD_OUT = PLAIN.model_copy(update={"hold_out_validation": True})


def test_a_checkpoint_from_before_there_was_a_validation_part_is_resumed(
    small_digits: ImageTask, tmp_path: Path
) -> None:
    file, stop = tmp_path / "old.pt", RuntimeError("stopped")

    def stopped(record: EpochRecord) -> None:
        raise stop

    with pytest.raises(RuntimeError, match="stopped"):
        train(small_digits, NETWORK, PLAIN, 0, checkpoint=file, progress=stopped)
    saved = torch.load(file, weights_only=True)
    for record in saved["state"]["history"]:
        del record["validation_accuracy"]
    torch.save(saved, file)
    resumed = train(small_digits, NETWORK, PLAIN, 0, checkpoint=file)
    whole = train(small_digits, NETWORK, PLAIN, 0)
    assert [r.task_loss for r in resumed.history] == [r.task_loss for r in whole.history]
