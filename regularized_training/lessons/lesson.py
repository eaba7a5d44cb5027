"""What training asks of a lesson, ours or another package's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from regularized_training.lessons.config import LessonConfig


class Lesson(ABC):
    """How a network learns from a teacher, made anew for each training.

    A class of lessons is called with ``(network, layers, teacher, config, n_channels, rng)``: the
    network on its device, names of the layers to compare, the teacher, of which
    ``teacher.teaching`` has the stimuli that teach, the settings, the network's number of channels,
    and a ``torch.Generator`` on the CPU, from which alone it draws.

    A step of the training draws as many batches as ``config.batches_in`` says, adds up the task's
    loss and theirs by :meth:`total`, and follows the gradient of that sum, once. What is drawn is
    apart from what is computed of it: nothing in :meth:`loss` and :meth:`total` depends on the
    value of a tensor, so that a device need not be waited for.

    Attributes
    ----------
    config : LessonConfig
    module : nn.Module
        Holds its parameters, which are trained with the network's, and its state; both are part of
        a checkpoint and of the result. The network is none of it.
    layer_weights : tuple of float
        How much each layer counts, which sum to one; empty where layers have no weights.
    """

    config: LessonConfig
    module: nn.Module

    @property
    def layer_weights(self) -> tuple[float, ...]:
        """None, unless a lesson says otherwise."""
        return ()

    @abstractmethod
    def draw(self) -> tuple[Tensor, ...]:
        """Which stimuli the next batch has: tensors on the CPU, of the same shapes every time."""

    @abstractmethod
    def loss(self, *drawn: Tensor) -> Tensor:
        """The teacher's loss of a batch, a scalar.

        Parameters
        ----------
        drawn : Tensor
            What :meth:`draw` returned, on the network's device.
        """

    def total(
        self, strength: float | Tensor, task_loss: Tensor, losses: Sequence[Tensor]
    ) -> Tensor:
        """One loss of the task's and of this step's batches; by default as Eq. 7 of Li et al. 2019.

        Parameters
        ----------
        strength : float or scalar Tensor
            What ``config.alpha_at`` says of this step.
        task_loss : scalar Tensor
        losses : sequence of scalar Tensor
            One for each batch; empty in a step that has none.
        """
        return task_loss + strength * sum(losses) if losses else task_loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters as an optimiser takes them, without weight decay by default.

        ``lr_factor`` of a group is what the learning rate is multiplied with for it, 1 by default.
        """
        parameters = list(self.module.parameters())
        return [{"params": parameters, "weight_decay": 0.0}] if parameters else []

    def measures(self) -> dict[str, float]:
        """What is learned besides, by name, to be recorded after each epoch; nothing by default."""
        return {}
