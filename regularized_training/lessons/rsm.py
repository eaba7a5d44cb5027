"""A representational similarity matrix as a teacher of one layer: Federer et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from regularized_training import parallel
from regularized_training.lessons.config import RsmConfig
from regularized_training.lessons.lesson import Lesson
from regularized_training.lessons.similarity import flatten_features
from regularized_training.lessons.stimuli import StimulusReader
from regularized_training.lessons.weighting import RatioWeight

if TYPE_CHECKING:
    from regularized_training.teachers.teacher import SimilarityTeacher


def uncentred_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Eq. 1 of Federer et al. 2020 of rows of features, (pair,); 0 with a row of zeros."""
    norms = first.square().sum(1) * second.square().sum(1)
    silent = norms <= torch.finfo(norms.dtype).tiny
    scale = torch.where(silent, 1, norms).rsqrt().masked_fill(silent, 0)
    return (first * second).sum(1) * scale


def rsm_cost(features: Tensor, target: Tensor) -> Tensor:
    """First term of Eq. 2 of Federer et al. 2020, without lambda: sum over pairs.

    Parameters
    ----------
    features : (2 * pair, channels, height, width) Tensor
        The first stimulus of each pair, then the second of each; in float32 also under mixed
        precision.
    target : (pair,) Tensor
        Similarity of the pairs according to the teacher.

    Returns
    -------
    scalar Tensor
    """
    with torch.autocast(target.device.type, enabled=False):
        first, second = flatten_features(features).chunk(2)
        return (uncentred_cosine(first, second) - target).square().sum()


class RsmLesson(Lesson):
    """What one step learns from an RSM: draw pairs, read one layer, compare.

    Parameters
    ----------
    network : nn.Module
        On its device already.
    layers : tuple of str
        The one layer that is taught.
    teacher : SimilarityTeacher
        Whose similarity is uncentred. Not all pairs need be known.
    config : RsmConfig
    n_channels : int
        Channels of the network.
    rng : torch.Generator
        On the CPU; draws the pairs.
    """

    config: RsmConfig
    module: RatioWeight

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: SimilarityTeacher,
        config: RsmConfig,
        n_channels: int,
        rng: torch.Generator,
    ) -> None:
        teacher = teacher.teaching
        pairs = teacher.known_pairs
        if not pairs.size:
            raise ValueError(
                f"similarity: teacher {teacher.name!r} knows of no pair among the stimuli that "
                "teach; hold out fewer"
            )
        device = next(network.parameters()).device
        self.config = config
        self.rng = rng
        self.module = RatioWeight(config.weighting == "static").to(device)
        self._share = parallel.Share(config.n_pairs, at_least=1)
        self._stimuli = StimulusReader(network, layers, teacher, config, n_channels)
        self._pairs = torch.from_numpy(pairs).to(device)
        known = teacher.similarity[pairs[0], pairs[1]].astype(np.float32)
        self._target = torch.from_numpy(known).to(device)

    @property
    def layer_weights(self) -> tuple[float, ...]:
        """The one layer's."""
        return (1.0,)

    def draw(self) -> tuple[Tensor]:
        """Pairs among those that the teacher knows, (pair,) int64."""
        n_known = self._pairs.shape[1]
        chosen = torch.randint(n_known, (self.config.n_pairs,), generator=self.rng)
        return (self._share.of(chosen),)

    def loss(self, *drawn: Tensor) -> Tensor:
        """Cost of pairs, whose stimuli pass through the network up to the taught layer."""
        (chosen,) = drawn
        (features,) = self._stimuli.features(self._pairs[:, chosen].flatten())
        return rsm_cost(features, self._target[chosen])

    def total(
        self, strength: float | Tensor, task_loss: Tensor, losses: Sequence[Tensor]
    ) -> Tensor:
        """Eq. 2 of Federer et al. 2020."""
        if not losses:
            return task_loss
        cost = torch.stack(list(losses)).sum()
        return task_loss + self.module(strength, task_loss, cost) * cost
