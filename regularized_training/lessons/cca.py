"""Canonical correlation of a trunk's features and responses, after Pirlot et al. 2022."""

from __future__ import annotations

import torch
from torch import Tensor

from regularized_training.lessons.projections import ProjectedLesson
from regularized_training.lessons.response_config import CcaConfig


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


class CcaLesson(ProjectedLesson):
    """Pulls the trunk toward features that are correlated with responses.

    The loss is one minus the mean canonical correlation of linear projections of both, that of
    Andrew et al. 2013 over the number of components: Pirlot et al. 2022 regularise by it.
    """

    config: CcaConfig

    def compare(self, of_features: Tensor, of_responses: Tensor) -> Tensor:
        """One minus the mean canonical correlation."""
        return 1 - canonical_correlations(of_features, of_responses, self.config.ridge).mean()
