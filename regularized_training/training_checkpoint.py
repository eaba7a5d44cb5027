"""When a training is saved, and what tells its checkpoint from those of others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictive_model.checkpoint import save_checkpoint
from predictive_model.digest import array_digest, fingerprint
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.picture_task import PictureTask
from regularized_training.trained_network import EpochRecord
from regularized_training.training_config import TrainingConfig

if TYPE_CHECKING:
    from regularized_training.teachers.any_teacher import Teacher

CHECKPOINT_SHARE = 0.1  # of the time, at most, goes into writing checkpoints


class Saving:
    """Writes checkpoints, as often as takes no more than ``CHECKPOINT_SHARE`` of the time.

    Parameters
    ----------
    state : callable
        Returns what is to be saved.
    path : Path
    belongs_to : str
        :func:`training_fingerprint` of the training.
    """

    def __init__(self, state: Callable[[], Any], path: Path, belongs_to: str) -> None:
        self._state, self._path, self._belongs_to = state, path, belongs_to
        self._saved, self._writing = -math.inf, 0.0

    def if_due(self, *, at_last: bool = False) -> None:
        """Write one if enough time has passed since the last, or if it is the last of all."""
        now = time.perf_counter()
        if at_last or now - self._saved >= self._writing / CHECKPOINT_SHARE:
            save_checkpoint(self._path, self._state(), belongs_to=self._belongs_to)
            self._saved = time.perf_counter()
            self._writing = self._saved - now


def training_fingerprint(
    task: ImageTask | PictureTask,
    network_config: NetworkConfig,
    config: TrainingConfig,
    seed: int,
    teacher: Teacher | None,
) -> str:
    """Hash of all that decides the outcome of a training."""
    # What was added to the record since can be missing in a checkpoint.
    recorded = [f.name for f in fields(EpochRecord) if f.default is f.default_factory is MISSING]
    return fingerprint(
        history=recorded,
        network=network_config.identity(),
        config=config.described(),
        seed=seed,
        task=_described(task),
        teacher=None if teacher is None else teacher.digest(),
    )


def _described(task: ImageTask | PictureTask) -> list[Any]:
    """What tells a task's images and labels from others'."""
    if isinstance(task, PictureTask):
        return [task.digest]
    arrays = [
        getattr(task, f"{part}_{what}") for part in task.splits for what in ("images", "labels")
    ]
    return [array_digest(*arrays), task.classes]
