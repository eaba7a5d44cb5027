"""Linear projections of features and responses to one space, for lessons that compare them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regularized_training.lessons.response_config import ProjectedConfig
from regularized_training.lessons.response_level import ResponseLesson
from regularized_training.lessons.similarity import flatten_features

if TYPE_CHECKING:
    from regularized_training.teachers.responses import ResponseTeacher


class Projections(nn.Module):
    """Two linear maps, one for features and one for standardised responses.

    Parameters
    ----------
    n_features, n_neurons, n_components : int
    mean, deviation : (neuron,) Tensor
        Of the responses, by which they are standardised; a deviation of 0 leaves a neuron out.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int, n_components: int, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.of_features = nn.Linear(n_features, n_components, bias=False)
        self.of_responses = nn.Linear(len(mean), n_components, bias=False)
        silent = deviation <= 0
        self.register_buffer("mean", mean)
        self.register_buffer(
            "scale", deviation.where(~silent, 1).reciprocal().masked_fill(silent, 0)
        )

    def forward(self, features: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Both projections, (image, component) each, of features (image, channels, h, w)."""
        standardised = (responses - self.mean) * self.scale
        return self.of_features(flatten_features(features)), self.of_responses(standardised)


class ProjectedLesson(ResponseLesson):
    """Compares linear projections of the trunk's features and of responses, both learned.

    Parameters
    ----------
    network, layers, teacher, config, n_channels, rng
        See :class:`~regularized_training.lessons.lesson.Lesson`.
    """

    config: ProjectedConfig
    module: Projections

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: ResponseTeacher,
        config: ProjectedConfig,
        n_channels: int,
        rng: torch.Generator,
    ) -> None:
        def make(shape: tuple[int, int, int], teacher: ResponseTeacher) -> Projections:
            mean, variance = (torch.from_numpy(values).float() for values in teacher.statistics())
            n_features = math.prod(shape)
            return Projections(n_features, config.n_components, mean, variance.sqrt())

        fewest = config.fewest_stimuli
        super().__init__(
            network, layers, teacher, config, n_channels, rng, make=make, at_least=fewest
        )

    def loss(self, *drawn: Tensor) -> Tensor:
        """What :meth:`compare` says of a batch, in float32."""
        chosen, responses = drawn
        features = self.trunk(chosen)
        with torch.autocast(features.device.type, enabled=False):
            return self.compare(*self.module(features, responses))

    @abstractmethod
    def compare(self, of_features: Tensor, of_responses: Tensor) -> Tensor:
        """The loss of two projections (image, component) of the same images, a scalar."""
