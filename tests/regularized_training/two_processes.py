"""Run as a script: two processes train together, and each writes down what it comes to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from regularized_training.lessons.config import RegularizerConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.trained_network import EpochRecord
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig
from tests.regularized_training.short_trainings import first_images

WORLD, SEED, RATE = 2, 3, 0.1
NETWORK = NetworkConfig(width=4)
CONFIG = TrainingConfig(
    epochs=2,
    batch_size=16,
    augment=AugmentConfig(padding=2, flip=False),
    regularizer=RegularizerConfig(n_stimuli=8),
)
# Two ways to draw stimuli and two to centre their features: all of what processes share.
STEPS = {
    "all pairs, running mean": RegularizerConfig(n_stimuli=8),
    "independent pairs, batch mean": RegularizerConfig(
        n_stimuli=8, pair_sampling="independent", centering="batch"
    ),
}
REFUSED: dict[str, dict[str, Any]] = {
    "odd batch": {"batch_size": 15},
    "odd stimuli": {"regularizer": RegularizerConfig(n_stimuli=7)},
    "one stimulus each": {"regularizer": RegularizerConfig(n_stimuli=2)},
    "odd pairs": {"regularizer": RegularizerConfig(n_stimuli=6, pair_sampling="independent")},
}


class Killed(Exception):
    pass


def unaugmented(regularizer: RegularizerConfig) -> TrainingConfig:
    still = AugmentConfig(padding=0, flip=False)
    return CONFIG.model_copy(update={"augment": still, "regularizer": regularizer})


def read(folder: Path) -> tuple[ImageTask, SimilarityTeacher]:
    arrays = np.load(folder / "task.npz")
    task = ImageTask("digits", **arrays, classes=tuple("0123456789"))
    return task, SimilarityTeacher("random", **np.load(folder / "teacher.npz"))


def message(call: Callable[[], object]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "not refused"


def kill(record: EpochRecord) -> None:
    raise Killed


def work(rank: int, folder: Path) -> None:
    """What one of the processes does."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=60),
    )
    task, teacher = read(folder)
    came_to: dict[str, Any] = {}
    for name, regularizer in STEPS.items():
        training = Training(task, NETWORK, unaugmented(regularizer), SEED, teacher=teacher)
        images, labels = map(training.share.of, first_images(task, 16))
        losses = training.step(images, labels, RATE)
        came_to[name] = {
            "losses": losses,
            "gradients": {n: p.grad for n, p in training.network.named_parameters()},
            "weights": training.network.state_dict(),
            "logits": training.lesson.module.logits.data,  # type: ignore[union-attr]
        }
    own = folder / f"of_process_{rank}.pt"
    whole = train(task, NETWORK, CONFIG, SEED, teacher=teacher, checkpoint=own)
    common = folder / "common.pt"
    try:
        train(
            task, NETWORK, CONFIG, SEED, teacher=teacher, checkpoint=common, progress=kill
        )  # after the first of two epochs
    except Killed:
        seen: list[int] = []
        resumed = train(
            task,
            NETWORK,
            CONFIG,
            SEED,
            teacher=teacher,
            checkpoint=common,
            progress=lambda record: seen.append(record.epoch),
        )
    for name, trained in (("whole", whole), ("resumed", resumed)):
        history = [vars(replace(record, seconds=0.0)) for record in trained.history]
        came_to[name] = {"weights": trained.state_dict, "history": history}
    came_to["epochs after the kill"] = seen
    for name, change in REFUSED.items():
        config = CONFIG.model_copy(update=change)
        came_to[name] = message(
            lambda config=config: Training(task, NETWORK, config, SEED, teacher=teacher)
        )
    few = task.subset(15, None)
    came_to["fewer images than a batch"] = message(
        lambda: Training(few, NETWORK, CONFIG, SEED, teacher=teacher)
    )
    torch.save(came_to, folder / f"came_to_{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Forked before they compute anything: importing torch takes longer than all they do.
    torch.multiprocessing.start_processes(
        work, (Path(sys.argv[1]),), nprocs=WORLD, start_method="fork"
    )
