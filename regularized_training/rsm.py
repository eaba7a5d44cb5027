"""A representational similarity matrix as a teacher of one layer: Federer et al. 2020."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from predictive_model.config import Config
from regularized_training import parallel
from regularized_training.networks import LayerReader
from regularized_training.regularizers import (
    flatten_features,
    kept_batchnorm_statistics,
    prepare_stimuli,
)
from regularized_training.weighting import RatioWeight

if TYPE_CHECKING:
    from regularized_training.teachers import SimilarityTeacher


class RsmConfig(Config):
    """How the similarity of one layer's features is pulled toward the teacher's.

    Attributes
    ----------
    method : "rsm"
        Tells this apart from the regulariser of Li et al. 2019.
    layer : str
        Which layer is taught, among the similarity layers of the architecture: ``V1``, ``V2``,
        ``V4`` or ``IT`` of CORnet-Z, ``features.6`` for the third convolution of VGG-16.
    ratio : float
        r, the teacher's cost over the task's.
    weighting : {"ratio", "static"}
        Keep r constant, or lambda at what it was in the first step.
    taught_epochs : int or "all"
        Teach during the first so many epochs, 10 in the paper; during all of them if "all".
    decay : bool
        Let r fall linearly, to 0 at the end of the training.
    n_pairs : int
        Pairs of stimuli in each step, drawn among those that the teacher knows; 50 in the paper.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they were shown by default.
    """

    method: Literal["rsm"]
    layer: str = "V1"
    ratio: float = Field(default=0.1, ge=0)
    weighting: Literal["ratio", "static"] = "ratio"
    taught_epochs: Annotated[int, Field(ge=1)] | Literal["all"] = 10
    decay: bool = False
    n_pairs: int = Field(default=50, ge=1)
    stimulus_size: tuple[int, int] | None = None

    @property
    def alpha(self) -> float:
        """What weighs the teacher, r here."""
        return self.ratio

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer, alone."""
        return (self.layer,)

    @property
    def n_stimuli(self) -> int:
        """In a step, two for each pair."""
        return 2 * self.n_pairs

    def alpha_at(self, epoch: float, epochs: int) -> float:
        """r after so many epochs of a training."""
        if not self.teaches_at(epoch):
            return 0.0
        return self.ratio * (1 - epoch / epochs) if self.decay else self.ratio

    def teaches_at(self, epoch: float) -> bool:
        """Whether stimuli are shown after so many epochs."""
        return self.taught_epochs == "all" or epoch < self.taught_epochs


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


class RsmLesson:
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

    layer_weights: tuple[float, ...] = (1.0,)

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
        self.regularizer = RatioWeight(config.weighting == "static").to(device)
        self._share = parallel.Share(config.n_pairs, at_least=1)
        self._network = network
        self._read = LayerReader(network, layers)
        self._stimuli = prepare_stimuli(teacher.stimuli, n_channels, config.stimulus_size).to(
            device
        )
        self._pairs = torch.from_numpy(pairs).to(device)
        known = teacher.similarity[pairs[0], pairs[1]].astype(np.float32)
        self._target = torch.from_numpy(known).to(device)

    def weight(self, alpha: float, task_loss: Tensor, loss: Tensor) -> Tensor:
        """lambda of Eq. 2."""
        return self.regularizer(alpha, task_loss, loss)

    def loss(self) -> Tensor:
        """Cost of newly drawn pairs, which pass through the network up to the taught layer."""
        chosen = torch.randint(self._pairs.shape[1], (self.config.n_pairs,), generator=self.rng)
        chosen = self._share.of(chosen).to(self._pairs.device)
        stimuli = self._stimuli[self._pairs[:, chosen].flatten()]
        with kept_batchnorm_statistics(self._network):
            (features,) = self._read(stimuli.contiguous(memory_format=torch.channels_last))
        return rsm_cost(features, self._target[chosen])
