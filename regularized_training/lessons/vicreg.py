"""Variance, invariance and covariance of a trunk's features and responses: Bardes et al. 2022."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from regularized_training.lessons.projections import ProjectedLesson
from regularized_training.lessons.response_config import VicregConfig

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


class VicregLesson(ProjectedLesson):
    """Pulls the trunk toward features from which a linear map makes an embedding of responses."""

    config: VicregConfig

    def compare(self, of_features: Tensor, of_responses: Tensor) -> Tensor:
        """Eq. 6."""
        return vicreg_loss(of_features, of_responses, self.config)
