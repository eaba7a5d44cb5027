"""What training asks of a lesson, ours or another package's."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from regularized_training.lessons.config import LessonConfig


class Lesson(Protocol):
    """How a network learns from a teacher, made anew for each training.

    A class of lessons is called with ``(network, layers, teacher, config, n_channels, rng)``: the
    network on its device, names of the layers to compare, a
    :class:`~regularized_training.teachers.teacher.SimilarityTeacher` of which ``teacher.teaching``
    has the stimuli that teach, the settings, the network's number of channels, and a
    ``torch.Generator`` on the CPU, from which alone it draws.

    Attributes
    ----------
    config : LessonConfig
    regularizer : nn.Module
        Its parameters are trained with the network's, without weight decay unless that is one of
        all (``weight_decay_of``); its state is part of a checkpoint.
    """

    config: LessonConfig
    regularizer: nn.Module

    @property
    def layer_weights(self) -> tuple[float, ...]:
        """How much each layer counts; they sum to one."""

    def loss(self) -> Tensor:
        """The teacher's loss of newly drawn stimuli, a scalar; called once in a step."""

    def weight(self, alpha: float, task_loss: Tensor, loss: Tensor) -> Tensor:
        """What the teacher's loss is multiplied with before it is added to the task's.

        Parameters
        ----------
        alpha : float
            What ``config.alpha_at`` says of this step.
        task_loss, loss : scalar Tensor
            Of this step.
        """
