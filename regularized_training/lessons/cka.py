"""Centred kernel alignment, without its bias, between features and a teacher's similarity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regularized_training import parallel
from regularized_training.lessons.cka_config import CkaConfig
from regularized_training.lessons.lesson import Lesson
from regularized_training.lessons.similarity import flatten_features, inner_products
from regularized_training.lessons.stimuli import StimulusReader
from regularized_training.teachers.teacher import SimilarityTeacher


def unbiased_centred(kernel: Tensor) -> Tensor:
    """A kernel matrix, U-centred: rows, columns and all sum to 0 without the diagonal, which is 0.

    Definition 2 of Székely and Rizzo 2014. The inner product of two of these over n (n - 3) is the
    unbiased HSIC of Song et al. 2012, Eq. 5.

    Parameters
    ----------
    kernel : (..., n, n) Tensor
        Symmetric, n at least 4.
    """
    n = kernel.shape[-1]
    diagonal = torch.eye(n, dtype=torch.bool, device=kernel.device)
    hollow = kernel.masked_fill(diagonal, 0)
    rows = hollow.sum(-1, keepdim=True) / (n - 2)
    whole = rows.sum(-2, keepdim=True) / (n - 1)
    return (hollow - rows - rows.mT + whole).masked_fill(diagonal, 0)


def unbiased_cka(first: Tensor, second: Tensor) -> Tensor:
    """Centred kernel alignment (Kornblith et al. 2019, Eq. 2) with the unbiased HSIC.

    Parameters
    ----------
    first, second : (..., n, n) Tensor
        Kernel matrices of the same n images, symmetric.

    Returns
    -------
    (...) Tensor
        From -1 to 1: 0 on average for kernels that have nothing to do with each other, however
        few images there are; 0 where one is constant.

    Examples
    --------
    >>> features = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    >>> kernel = features @ features.T
    >>> round(float(unbiased_cka(kernel, 3 * kernel)), 4)
    1.0
    """
    a, b = unbiased_centred(first), unbiased_centred(second)
    norms = a.square().sum((-1, -2)) * b.square().sum((-1, -2))
    flat = norms <= torch.finfo(norms.dtype).tiny
    scale = torch.where(flat, 1, norms).rsqrt().masked_fill(flat, 0)
    return (a * b).sum((-1, -2)) * scale


class CkaRegularizer(nn.Module):
    """One minus the alignment of each layer with a teacher, layers weighed by learned weights.

    Parameters
    ----------
    n_layers : int
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_layers))

    @property
    def layer_weights(self) -> Tensor:
        """Positive, sum to one; (layer,)."""
        return self.logits.softmax(0)

    def forward(self, features: Sequence[Tensor], target: Tensor) -> Tensor:
        """One minus the weighted mean of the layers' :func:`unbiased_cka`; in float32.

        Parameters
        ----------
        features : sequence of (stimulus, channels, height, width) Tensor
        target : (stimulus, stimulus) Tensor
        """
        with torch.autocast(target.device.type, enabled=False):
            flat = [flatten_features(feature) for feature in features]
            # Changes nothing but rounding: a kernel's mean is taken off below in any case.
            kernels = inner_products([rows - rows.mean(0) for rows in flat])
            alignment = unbiased_cka(kernels, target.to(kernels.dtype))
            return 1 - (self.layer_weights * alignment).sum()


class CkaLesson(Lesson):
    """Draws stimuli, reads all layers, aligns their kernels with the teacher's similarity.

    Parameters
    ----------
    network, layers, teacher, config, n_channels, rng
        See :class:`~regularized_training.lessons.lesson.Lesson`.
    """

    config: CkaConfig
    module: CkaRegularizer

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: SimilarityTeacher,
        config: CkaConfig,
        n_channels: int,
        rng: torch.Generator,
    ) -> None:
        teacher = teacher.teaching
        self.config, self._rng = config, rng
        self._share = parallel.Share(config.n_stimuli, at_least=4)
        self._stimuli = StimulusReader(network, layers, teacher, config, n_channels)
        self._stimuli.require_enough()
        self.module = CkaRegularizer(len(layers)).to(self._stimuli.device)
        self._similarity = torch.from_numpy(teacher.similarity).float().to(self._stimuli.device)

    @property
    def layer_weights(self) -> tuple[float, ...]:
        """How much each layer counts."""
        return tuple(self.module.layer_weights.tolist())

    def draw(self) -> tuple[Tensor]:
        """Stimuli, (stimulus,) int64."""
        return (self._share.of(self._stimuli.draw(self._rng)),)

    def loss(self, *drawn: Tensor) -> Tensor:
        """One minus the alignment of the layers with the teacher."""
        (chosen,) = drawn
        return self.module(
            self._stimuli.features(chosen), self._similarity[chosen[:, None], chosen]
        )
