"""Canonical correlation of a trunk's features and responses, after Pirlot et al. 2022."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regularized_training.lessons.projections import Projections, projections_of
from regularized_training.lessons.response_config import CcaConfig
from regularized_training.lessons.response_level import ResponseLesson

if TYPE_CHECKING:
    from regularized_training.teachers.responses import ResponseTeacher


def canonical_correlations(first: Tensor, second: Tensor, ridge: float) -> Tensor:
    """Canonical correlations of two sets of variables, (component,), largest first.

    The singular values of T of Andrew et al. 2013, Sec. 3: inverse square roots of the covariances,
    to whose diagonals ``ridge`` is added, are taken as Cholesky factors, which leaves singular
    values as they are and has gradients everywhere.

    Parameters
    ----------
    first, second : (image, component) Tensor
        More images than components.
    ridge : float
        r of Andrew et al.

    Examples
    --------
    >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    >>> [round(float(r), 2) for r in canonical_correlations(x, x @ torch.randn(3, 3), 1e-6)]
    [1.0, 1.0, 1.0]
    """
    n = len(first)
    first, second = first - first.mean(0), second - second.mean(0)
    eye = torch.eye(first.shape[1], dtype=first.dtype, device=first.device)
    roots = [torch.linalg.cholesky(x.mT @ x / (n - 1) + ridge * eye) for x in (first, second)]
    crossed = first.mT @ second / (n - 1)
    whitened = torch.linalg.solve_triangular(roots[0], crossed, upper=False)
    whitened = torch.linalg.solve_triangular(roots[1], whitened.mT, upper=False)
    return torch.linalg.svdvals(whitened)


class CcaLesson(ResponseLesson):
    """Pulls the trunk toward features that are correlated with responses.

    The loss is one minus the mean canonical correlation of linear projections of both, that of
    Andrew et al. 2013 over the number of components: Pirlot et al. 2022 regularise by it.

    Parameters
    ----------
    network, layers, teacher, config, n_channels, rng
        See :class:`~regularized_training.lessons.lesson.Lesson`.
    """

    config: CcaConfig
    module: Projections

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: ResponseTeacher,
        config: CcaConfig,
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
            at_least=2 * config.n_components + 2,
        )

    def loss(self, *drawn: Tensor) -> Tensor:
        """One minus the mean canonical correlation of a batch."""
        chosen, responses = drawn
        features = self.trunk(chosen)
        with torch.autocast(features.device.type, enabled=False):
            first, second = self.module(features, responses)
            return 1 - canonical_correlations(first, second, self.config.ridge).mean()
