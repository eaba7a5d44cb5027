"""Predicting responses from a trunk that the task shares: co-training as Safarani et al. 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.encoders.encoder import Population, build_readout
from regularized_training.lessons.response_config import ResponsesConfig
from regularized_training.lessons.response_level import ResponseLesson

if TYPE_CHECKING:
    from regularized_training.teachers.responses import ResponseTeacher


def co_training_loss(task_loss: Tensor, losses: Sequence[Tensor], log_variances: Tensor) -> Tensor:
    """Loss of Safarani et al. 2021, after Kendall et al. 2018, of a step.

    With s = log sigma squared: ``CE exp(-s_c) + s_c / 2 + MSE exp(-s_n) / 2 + s_n / 2``. Each batch
    of responses adds its own two terms.

    Parameters
    ----------
    task_loss : scalar Tensor
        Cross-entropy, CE.
    losses : sequence of scalar Tensor
        Mean squared error of each batch, MSE; empty in a step that has none.
    log_variances : (2,) Tensor
        s_c and s_n.
    """
    of_task, of_responses = log_variances
    total = task_loss * torch.exp(-of_task) + of_task / 2
    for loss in losses:
        total = total + loss * torch.exp(-of_responses) / 2 + of_responses / 2
    return total


class ResponsePredictor(nn.Module):
    """A readout of the trunk, and the variances by which losses are weighed.

    Parameters
    ----------
    config : ResponsesConfig
    shape : (channels, height, width)
        Of the trunk's features.
    mean_response : (neuron,) Tensor
        Where predictions start.
    """

    def __init__(
        self, config: ResponsesConfig, shape: tuple[int, int, int], mean_response: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        population = Population(len(mean_response), mean_response=mean_response)
        self.readout = build_readout(config.readout, population, shape)
        learned = config.weighting == "learned"
        self.log_variances = nn.Parameter(torch.zeros(2)) if learned else None

    def forward(self, features: Tensor, neurons: Tensor | None = None) -> Tensor:
        """Responses (image, neuron) that are predicted from features of the trunk.

        Parameters
        ----------
        features : (image, channels, height, width) Tensor
        neurons : (chosen,) int64 Tensor, optional
            Those that are asked for; all by default.
        """
        chosen = {} if neurons is None else {"out_idx": neurons}
        with torch.autocast(features.device.type, enabled=False):
            return F.elu(self.readout(features.float(), **chosen)) + 1

    def penalty(self) -> Tensor | float:
        """L1 norm of a neuron's feature vector times gamma, mean over neurons."""
        if not self.config.readout.gamma:
            return 0.0
        return self.readout.regularizer(reduction="sum") / self.readout.outdims


class ResponsesLesson(ResponseLesson):
    """One step's part of co-training: responses to stimuli are predicted from the trunk.

    Parameters
    ----------
    network, layers, teacher, config, n_channels, rng
        See :class:`~regularized_training.lessons.lesson.Lesson`.
    """

    config: ResponsesConfig
    module: ResponsePredictor

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: ResponseTeacher,
        config: ResponsesConfig,
        n_channels: int,
        rng: torch.Generator,
    ) -> None:
        def make(shape: tuple[int, int, int], teacher: ResponseTeacher) -> ResponsePredictor:
            mean = torch.from_numpy(teacher.statistics()[0]).float()
            return ResponsePredictor(config, shape, mean)

        super().__init__(network, layers, teacher, config, n_channels, rng, make=make)

    def draw(self) -> tuple[Tensor, ...]:
        """As other lessons draw, with the neurons that are asked for, unless all of them are."""
        chosen, responses = super().draw()
        most, there = self.config.neurons_per_batch, responses.shape[1]
        if most is None or most >= there:
            return chosen, responses
        neurons = torch.randperm(there, generator=self._rng)[:most].sort().values
        return chosen, responses[:, neurons], neurons

    def loss(self, *drawn: Tensor) -> Tensor:
        """Mean squared error over stimuli and neurons, and the readout's penalty."""
        chosen, responses, *neurons = drawn
        predicted = self.module(self.trunk(chosen), *neurons)
        return F.mse_loss(predicted, responses) + self.module.penalty()

    def total(
        self, strength: float | Tensor, task_loss: Tensor, losses: Sequence[Tensor]
    ) -> Tensor:
        """:func:`co_training_loss`, or the weighted sum where the weight is constant."""
        if self.module.log_variances is None:
            return super().total(strength, task_loss, losses)
        return co_training_loss(task_loss, losses, self.module.log_variances)

    def measures(self) -> dict[str, float]:
        """The two variances, where they are learned: s_c and s_n."""
        if self.module.log_variances is None:
            return {}
        names = ("log_variance_of_task", "log_variance_of_responses")
        return dict(zip(names, self.module.log_variances.tolist(), strict=True))

    def _decayed(self) -> list[nn.Parameter]:
        return [self.module.readout.features]
