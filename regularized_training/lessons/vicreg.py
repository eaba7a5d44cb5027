"""Variance, invariance and covariance of a trunk's features and responses: Bardes et al. 2022."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.lessons.projections import Projections, projections_of
from regularized_training.lessons.response_config import VicregConfig
from regularized_training.lessons.response_level import ResponseLesson

if TYPE_CHECKING:
    from regularized_training.teachers.responses import ResponseTeacher

DEVIATION = 1.0  # gamma of Eq. 1, the standard deviation that each component should reach
TINY = 1e-4  # epsilon of Eq. 1


def variance_term(embedding: Tensor) -> Tensor:
    """Eq. 1 of Bardes et al. 2022: how far components fall short of a standard deviation of 1."""
    return F.relu(DEVIATION - torch.sqrt(embedding.var(0) + TINY)).mean()


def covariance_term(embedding: Tensor) -> Tensor:
    """Eq. 3 and 4 of Bardes et al. 2022: squared covariances of different components over d."""
    n, d = embedding.shape
    centred = embedding - embedding.mean(0)
    covariance = centred.mT @ centred / (n - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / d


def vicreg_loss(first: Tensor, second: Tensor, config: VicregConfig) -> Tensor:
    """Eq. 6 of Bardes et al. 2022, of two embeddings (image, component) of the same images.

    The invariance term, Eq. 5, is the squared distance averaged over images and, as in the released
    code, over components.
    """
    return (
        config.invariance * F.mse_loss(first, second)
        + config.variance * (variance_term(first) + variance_term(second))
        + config.covariance * (covariance_term(first) + covariance_term(second))
    )


class VicregLesson(ResponseLesson):
    """Pulls the trunk toward features from which a linear map makes an embedding of responses.

    Parameters
    ----------
    network, layers, teacher, config, n_channels, rng
        See :class:`~regularized_training.lessons.lesson.Lesson`.
    """

    config: VicregConfig
    module: Projections

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: ResponseTeacher,
        config: VicregConfig,
        n_channels: int,
        rng: torch.Generator,
    ) -> None:
        super().__init__(
            network,
            layers,
            teacher,
            config,
            n_channels,
            rng,
            make=lambda shape, teacher: projections_of(config, shape, teacher),
        )

    def loss(self, *drawn: Tensor) -> Tensor:
        """Eq. 6 of a batch."""
        chosen, responses = drawn
        features = self.trunk(chosen)
        with torch.autocast(features.device.type, enabled=False):
            first, second = self.module(features, responses)
            return vicreg_loss(first, second, self.config)
