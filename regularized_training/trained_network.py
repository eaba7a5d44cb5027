"""What a training comes to: weights, their history, and all that says where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from predictive_model.tensor_file import tensors_to_bytes
from regularized_training.networks.architectures import load_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.saved import network_to_bytes
from regularized_training.plateau import best_epoch
from regularized_training.training_config import TrainingConfig


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch came to.

    Attributes
    ----------
    epoch : int
        From 0.
    task_loss : float
        Cross-entropy in nats, mean over the steps.
    similarity_loss : float or None
        The teacher's: Eq. 8 of Li et al. 2019, the cost of an RSM, or what else its lesson has for
        a loss; mean over its batches, before it is weighed; None without a teacher, and where it
        rested.
    train_accuracy : float
        Of the augmented training images, while the network was changing.
    test_loss, test_accuracy : float
        Of all test images, after the epoch; cross-entropy in nats. Less ``task_loss`` it is the
        generalisation gap of Federer et al. 2020.
    learning_rate : float
        Of the last step.
    layer_weights : tuple of float
        The gamma of Eq. 10, after the epoch; empty without a teacher, or where layers have none.
    seconds : float
        Wall time, testing included.
    validation_accuracy : float or None
        Of the validation part, after the epoch; None unless it is held out.
    measures : dict of str to float
        What else the lesson has learned, after the epoch.
    """

    epoch: int
    task_loss: float
    similarity_loss: float | None
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    layer_weights: tuple[float, ...]
    seconds: float
    validation_accuracy: float | None = None
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """Weights, and all it takes to use them and to know where they came from.

    Attributes
    ----------
    state_dict : dict of str to Tensor
        On the CPU, contiguous.
    history : tuple of EpochRecord
        Of all epochs, also those after `epoch`.
    network_config : NetworkConfig
    config : TrainingConfig
    seed : int
    n_channels, n_classes : int
    layers : tuple of str
        Layers compared with the teacher, in the order of ``EpochRecord.layer_weights``; empty
        without a teacher.
    lesson_state : dict of str to Tensor
        What the lesson has learned and kept, on the CPU; empty without a teacher.
    earlier : tuple of EpochRecord
        Of the first part of a training in two, in which the trunk was learned; `history` is that
        of the second.
    """

    state_dict: dict[str, Tensor]
    history: tuple[EpochRecord, ...]
    network_config: NetworkConfig
    config: TrainingConfig
    seed: int
    n_channels: int
    n_classes: int
    layers: tuple[str, ...]
    lesson_state: dict[str, Tensor] = field(default_factory=dict)
    earlier: tuple[EpochRecord, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, testing included."""
        return sum(record.seconds for record in (*self.earlier, *self.history))

    @property
    def epoch(self) -> int:
        """The epoch that the weights are of, from 0: the last, unless the best is kept."""
        return kept_epoch(self.config, self.history)

    def to_bytes(self) -> bytes:
        """A safetensors file with the settings in its header, which ``read_network`` reads."""
        return network_to_bytes(
            self.state_dict,
            self.network_config,
            self.n_channels,
            self.n_classes,
            training=self.config.model_dump_json(),
        )

    def lesson_to_bytes(self) -> bytes:
        """The same of what the lesson has learned."""
        return tensors_to_bytes(self.lesson_state, {"training": self.config.model_dump_json()})

    def network(self) -> nn.Module:
        """The network, on the CPU and in evaluation mode."""
        return load_network(self.network_config, self.n_channels, self.n_classes, self.state_dict)


@dataclass(frozen=True)
class Before:
    """The first part of a training in two, whose trunk the second takes over.

    Attributes
    ----------
    weights : dict of str to Tensor
        Of the whole network.
    history : tuple of EpochRecord
    """

    weights: dict[str, Tensor]
    history: tuple[EpochRecord, ...]

    @classmethod
    def of_result(cls, trained: TrainedNetwork) -> Before:
        """What the first part came to."""
        return cls(trained.state_dict, trained.history)

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Before:
        """As :meth:`state` described it."""
        return cls(state["weights"], tuple(EpochRecord(**record) for record in state["history"]))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"weights": self.weights, "history": [asdict(record) for record in self.history]}


def validation_accuracies(history: Sequence[EpochRecord]) -> list[float]:
    """After each epoch; empty without a validation part."""
    found = [record.validation_accuracy for record in history]
    return [accuracy for accuracy in found if accuracy is not None]


def kept_epoch(config: TrainingConfig, history: Sequence[EpochRecord]) -> int:
    """The epoch whose weights a training has to show, from 0."""
    return best_epoch(validation_accuracies(history)) if config.best_epoch else len(history) - 1


def on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, contiguous."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
