"""Settings of trainings that take a moment, and what they are compared by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from regularized_training.lessons.config import RegularizerConfig
from regularized_training.lessons.similarity import (
    cosine_similarity,
)
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.trained_network import EpochRecord, TrainedNetwork
from regularized_training.training_config import TrainingConfig

NETWORK = NetworkConfig(width=4)
PLAIN = TrainingConfig(
    epochs=2,
    schedule="one_cycle",
    augment=AugmentConfig(padding=2, flip=False),
    n_train=320,
    n_test=100,
)
TAUGHT = PLAIN.model_copy(update={"regularizer": RegularizerConfig(n_stimuli=9)})


def edge_similarity(stimuli: np.ndarray) -> np.ndarray:
    """An observer of vertical edges: cosine of centred differences of neighbouring pixels."""
    edges = prepare_stimuli(stimuli, 1).diff(dim=3).flatten(1)
    return cosine_similarity(edges - edges.mean(0)).clamp(-1, 1).numpy()


def first_images(task: ImageTask, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first training images of a task and their labels, as a step takes them."""
    return torch.tensor(task.train_images[:n]), torch.tensor(task.train_labels[:n])


class Killed(Exception):
    pass


def assert_same_weights(a: TrainedNetwork, b: TrainedNetwork) -> None:
    assert a.state_dict.keys() == b.state_dict.keys()
    for name, value in a.state_dict.items():
        assert torch.equal(value, b.state_dict[name]), name


def without_time(history: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    return [replace(record, seconds=0.0) for record in history]
