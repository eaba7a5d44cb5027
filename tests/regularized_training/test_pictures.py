"""Networks that are trained on pictures which stay in their files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from regularized_training.lessons.config import RegularizerConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.picture_files import find_pictures
from regularized_training.tasks.picture_task import PictureShape, PictureTask
from regularized_training.teachers.controls import pixel_teacher
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig
from tests.picture_sets import write_pictures

NETWORK = NetworkConfig(width=2)
STIMULI = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16)).astype(np.uint8)
CONFIG = TrainingConfig(
    epochs=2,
    batch_size=4,
    learning_rate=0.01,
    hold_out_validation=True,
    regularizer=RegularizerConfig(n_stimuli=4),
)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> PictureTask:
    folder = write_pictures(tmp_path_factory.mktemp("pictures") / "few")
    return find_pictures(folder, shape=PictureShape(size=16))


def test_what_is_read_in_other_processes_and_resumed_in_an_epoch_comes_to_the_same_bits(
    task: PictureTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regularized_training.training_checkpoint.CHECKPOINT_SHARE", math.inf)
    teacher = pixel_teacher(STIMULI)
    whole = train(task, NETWORK, CONFIG, 0, teacher=teacher)
    assert [r.validation_accuracy is not None for r in whole.history] == [True, True]
    step, left = Training.step, [7]

    def dying(self: Training, *args: object, **kwargs: object) -> torch.Tensor:
        left[0] -= 1
        if left[0] == 0:  # in the second epoch
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "step", dying)
    file = tmp_path / "a.pt"
    with pytest.raises(KeyboardInterrupt):
        train(task, NETWORK, CONFIG, 0, teacher=teacher, checkpoint=file)
    resumed = train(task, NETWORK, CONFIG, 0, teacher=teacher, checkpoint=file, reading_processes=1)
    for name, value in whole.state_dict.items():
        assert torch.equal(resumed.state_dict[name], value), name
    assert [r.task_loss for r in resumed.history] == [r.task_loss for r in whole.history]
