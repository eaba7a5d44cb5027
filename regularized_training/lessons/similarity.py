"""What pulls a network's features toward a teacher: Eq. 8 to 10 of Li et al. 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training import parallel
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.lessons.lesson import Lesson
from regularized_training.lessons.stimuli import StimulusReader

if TYPE_CHECKING:
    from regularized_training.teachers.teacher import SimilarityTeacher


class SimilarityRegularizer(nn.Module):
    """Similarity loss between a network's features and a teacher.

    State is a running mean of the features of each layer, as a buffer that takes its shape from
    the first batch, and trainable logits of the layer weights. The mean is updated, then used, in
    training mode, and only used in evaluation mode; while there is none yet, the mean of the batch
    stands in.

    Parameters
    ----------
    config : RegularizerConfig
    n_layers : int
        Number of layers compared, K in the paper.
    """

    logits: nn.Parameter

    def __init__(self, config: RegularizerConfig, n_layers: int) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"n_layers: {n_layers}, expected at least 1")
        self.config = config
        self.logits = nn.Parameter(torch.zeros(n_layers))
        for k in range(n_layers):
            self.register_buffer(_mean_name(k), None)

    @property
    def layer_weights(self) -> Tensor:
        """The gamma of Eq. 10, (layer,): positive, sum to one."""
        return self.logits.softmax(0)

    def forward(self, features: Sequence[Tensor], target: Tensor, pairs: Tensor) -> Tensor:
        """Eq. 8 of Li et al. 2019, mean over pairs; in float32 also under mixed precision.

        Parameters
        ----------
        features : sequence of (stimulus, channels, height, width) Tensor
            One entry for each layer.
        target : (pair,) Tensor
            :func:`shrunk_arctanh` of the similarity of these pairs according to the teacher.
        pairs : (2, pair) int64 Tensor
            Which stimuli to compare.

        Returns
        -------
        scalar Tensor
        """
        with torch.autocast(target.device.type, enabled=False):
            first, second = pairs.unbind()
            similarity = self.similarity(features)[first, second]
            seen = shrunk_arctanh(similarity, self.config.eps)
            return F.mse_loss(seen, target.to(seen.dtype))

    def similarity(self, features: Sequence[Tensor]) -> Tensor:
        """Eq. 10 of Li et al. 2019: similarities of all layers, weighted; (stimulus, stimulus)."""
        if len(features) != len(self.logits):
            raise ValueError(f"features: of {len(features)} layers, expected {len(self.logits)}")
        with torch.autocast(self.logits.device.type, enabled=False):
            flat = [flatten_features(feature) for feature in features]
            means = self._means(flat)
            centred = [rows - mean for rows, mean in zip(flat, means, strict=True)]
            # All layers at once from here on: on a GPU each operation costs its launch.
            similarities = cosines_of(inner_products(centred))
            weights = self.layer_weights.to(similarities.dtype)
            return torch.tensordot(weights, similarities, 1)

    def _means(self, flat: Sequence[Tensor]) -> list[Tensor]:
        """Mean features of the layers, after an update with this batch in training mode."""
        if self.config.centering == "batch":
            return [rows.mean(0) for rows in flat]
        names = [_mean_name(k) for k in range(len(flat))]
        means = [getattr(self, name) for name in names]
        known = all(mean is not None for mean in means)
        for k, (mean, rows) in enumerate(zip(means, flat, strict=True)):
            if known and mean.shape != rows.shape[1:]:
                raise ValueError(
                    f"features: layer {k} has {rows.shape[1]} of them, expected {len(mean)} as "
                    "before; all stimuli need one size"
                )
        if known and not self.training:
            return means
        of_batch = [parallel.averaged(rows.detach().mean(0)) for rows in flat]
        if known:
            torch._foreach_lerp_(means, of_batch, 1 - self.config.mean_momentum)
            return means
        if self.training:
            for name, mean in zip(names, of_batch, strict=True):
                setattr(self, name, mean)
        return of_batch

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        # Buffers get their shape from data, so those of a saved regulariser must be made first.
        for k in range(len(self.logits)):
            saved = state_dict.get(prefix + _mean_name(k))
            empty = None if saved is None else torch.empty_like(saved, device=self.logits.device)
            setattr(self, _mean_name(k), empty)
        super()._load_from_state_dict(state_dict, prefix, *args)


def flatten_features(feature: Tensor) -> Tensor:
    """One row of features for each image, at least float32: (image, height * width * channels).

    Channels come last, so that features of a channels-last network are not copied.
    """
    dtype = torch.promote_types(feature.dtype, torch.float32)
    return feature.to(dtype).movedim(1, -1).flatten(1)


def inner_products(layers: Sequence[Tensor]) -> Tensor:
    """Inner products of all pairs of rows of each layer, (layer, image, image).

    Parameters
    ----------
    layers : sequence of (image, feature) Tensor
        Of the same images.
    """
    # A product with itself would have two gradients as large as the features, and their sum. Here
    # only the first factor has one; the second's is added to it while it is as small as the result.
    products = torch.stack([rows @ rows.detach().mT for rows in layers])
    return products + products.mT - products.detach()


def cosine_similarity(centred: Tensor) -> Tensor:
    """Eq. 9 of Li et al. 2019: cosine of all pairs of rows, 0 with a row of zeros.

    Parameters
    ----------
    centred : (image, feature) Tensor
        Features less their mean.

    Returns
    -------
    (image, image) Tensor, in [-1, 1] up to rounding
    """
    return cosines_of(centred @ centred.mT)


def cosines_of(products: Tensor) -> Tensor:
    """Cosines of all pairs of rows from their inner products, (..., image, image)."""
    squared_norm = products.diagonal(dim1=-2, dim2=-1)
    silent = squared_norm <= torch.finfo(squared_norm.dtype).tiny
    scale = squared_norm.masked_fill(silent, torch.inf).rsqrt()
    return products * scale[..., :, None] * scale[..., None, :]


def shrunk_arctanh(similarity: Tensor, eps: float) -> Tensor:
    """arctanh of ``(1 - eps) * similarity``, finite on [-1, 1] and where rounding has left it."""
    return torch.atanh((1 - eps) * similarity.clamp(-1, 1))


class SimilarityLesson(Lesson):
    """What one step learns from a teacher: draw stimuli, read the network, compare.

    Parameters
    ----------
    network : nn.Module
        On its device already.
    layers : tuple of str
        Layers to compare.
    teacher : SimilarityTeacher
    config : RegularizerConfig
    n_channels : int
        Channels of the network.
    rng : torch.Generator
        On the CPU; draws the stimuli.
    """

    config: RegularizerConfig
    module: SimilarityRegularizer

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: SimilarityTeacher,
        config: RegularizerConfig,
        n_channels: int,
        rng: torch.Generator,
    ) -> None:
        teacher = teacher.teaching
        self._share = parallel.Share(
            config.n_stimuli,
            at_least=config.fewest_stimuli,
            parts=2 if config.pair_sampling == "independent" else 1,
        )
        sample_stimuli(
            len(teacher.stimuli), config, torch.Generator()
        )  # too few stimuli: say so before training
        device = next(network.parameters()).device
        self.config = config
        self.rng = rng
        self.module = SimilarityRegularizer(config, len(layers)).to(device)
        self._stimuli = StimulusReader(network, layers, teacher, config, n_channels)
        said = torch.from_numpy(teacher.similarity.astype(np.float32)).to(device)
        self._target = shrunk_arctanh(said, config.eps)

    @property
    def layer_weights(self) -> tuple[float, ...]:
        """The gamma of Eq. 10."""
        return tuple(self.module.layer_weights.tolist())

    def draw(self) -> tuple[Tensor, Tensor]:
        """Stimuli, (stimulus,) int64, and the pairs of them to compare, (2, pair) int64."""
        chosen, pairs = sample_stimuli(self._stimuli.n_stimuli, self.config, self.rng)
        return self._share.of_pairs(chosen, pairs) if self._share.world > 1 else (chosen, pairs)

    def loss(self, *drawn: Tensor) -> Tensor:
        """Similarity loss, Eq. 8, of stimuli, which pass through the trunk only."""
        chosen, pairs = drawn
        first, second = chosen[pairs]
        return self.module(self._stimuli.features(chosen), self._target[first, second], pairs)


# -- stimuli -------------------------------------------------------------------------------


def sample_stimuli(
    n: int, config: RegularizerConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the stimuli of one step and the pairs among them to compare.

    Parameters
    ----------
    n : int
        Number of stimuli there are.
    config : RegularizerConfig
    rng : torch.Generator
        On the CPU.

    Returns
    -------
    stimuli : (config.n_stimuli,) int64 Tensor
        Distinct for ``all_pairs``. For ``independent``, each pair is of two different stimuli,
        uniform among all such pairs.
    pairs : (2, pair) int64 Tensor
        Places in `stimuli`; no stimulus is compared with itself.
    """
    k = config.n_stimuli
    if config.pair_sampling == "all_pairs":
        if k > n:
            raise ValueError(f"n_stimuli: {k}, expected 2 to {n}, the number of stimuli there are")
        return torch.randperm(n, generator=rng)[:k], torch.triu_indices(k, k, 1)
    if n < 2:
        raise ValueError(f"stimuli: {n}, expected at least 2 to form pairs")
    first = torch.randint(n, (k // 2,), generator=rng)
    second = (first + torch.randint(1, n, (k // 2,), generator=rng)) % n
    return torch.cat([first, second]), torch.arange(k).view(2, k // 2)


def _mean_name(k: int) -> str:
    return f"mean_{k}"
