"""Does a network see stimuli as its teacher does? Layer by layer, on stimuli that did not teach.

A network with batch normalisation is tested with the statistics that it gathered of its task's
images, while a lesson may shape its features under those of the stimuli. A layer is judged under
either, and the result says under which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from predictive_model.config import Config
from regularized_training.alignment.gram import centred
from regularized_training.lessons.similarity import (
    cosines_of,
    flatten_features,
)
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.networks.normalisation import normalised_by
from regularized_training.tasks.chosen_images import evaluating
from regularized_training.teachers.similarity import similarity_correlation
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.teachers.teacher import SimilarityTeacher

Statistics = Literal["task", "stimuli"]
BATCH = 64
FEATURE_BYTES = 2**30  # of features that are held at a time
FEWEST = 4  # stimuli, for the unbiased estimate
ROUNDING = 1e-12  # of a kernel's squares, is what single precision leaves of nothing


Side = Annotated[int, Field(ge=8)]


class RepresentationConfig(Config):
    """How a network is compared with a teacher.

    Attributes
    ----------
    n_stimuli : int
        Largest number of held-out stimuli to use, the first ones.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to, at least 8 x 8; as they were shown by default.
    """

    n_stimuli: int = Field(default=500, ge=FEWEST)
    stimulus_size: tuple[Side, Side] | None = None


@dataclass(frozen=True)
class LayerSimilarity:
    """How alike a layer and a teacher are.

    Attributes
    ----------
    layer : str
    correlation : float
        Of the cosines of Eq. 9 of Li et al. 2019 with the teacher's similarity, over pairs.
    alignment : float
        Centred kernel alignment of the two similarity matrices, see
        :func:`centred_kernel_alignment`.
    """

    layer: str
    correlation: float
    alignment: float


def compare_layers(
    network: nn.Module,
    layers: tuple[str, ...],
    teacher: SimilarityTeacher,
    config: RepresentationConfig,
    device: str | torch.device = "cpu",
    *,
    n_channels: int | None = None,
    statistics: Statistics = "task",
) -> list[LayerSimilarity]:
    """Similarity of each layer's features to a teacher, over the stimuli it holds out.

    Features are centred by their mean over these stimuli, in evaluation mode, unless the teacher's
    responses are known not to be: like is compared with like.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in.
    layers : tuple of str
    teacher : SimilarityTeacher
    config : RepresentationConfig
    device : str or torch.device
    n_channels : int, optional
        Channels of the network's images, 1 or 3; those of the stimuli by default.
    statistics : {"task", "stimuli"}
        By which batch normalisation goes: what the network gathered in training and is tested with,
        or the statistics of these stimuli, near which ``batchnorm`` of ``"task"`` or ``"both"``
        shaped its features. Without batch normalisation both are the same.

    Raises
    ------
    ValueError
        If the teacher holds out fewer than four stimuli.
    """
    if len(teacher.held_out) < FEWEST:
        raise ValueError(
            f"teacher: {teacher.name!r} holds out {len(teacher.held_out)} of its "
            f"{len(teacher.stimuli)} stimuli, expected at least {FEWEST} to judge by; raise "
            "held_out"
        )
    judge = teacher.withheld
    n = config.n_stimuli
    said = judge.similarity[:n, :n]
    shown = judge.stimuli[:n]
    stimuli = prepare_stimuli(
        shown, n_channels or shown.shape[1], config.stimulus_size, scale=judge.scale
    )
    batches = stimuli.tensor_split(-(-len(stimuli) // BATCH))
    with evaluating(network, device), torch.inference_mode():
        reader = LayerReader(network, layers)

        def read(images: Tensor) -> list[Tensor]:
            return [flatten_features(features) for features in reader(images.to(device))]

        own = statistics == "stimuli"
        with normalised_by(network, batches, read) if own else nullcontext():
            seen = _cosines(read, batches, centred=judge.centred is not False)
    return [
        LayerSimilarity(
            layer, similarity_correlation(cosines, said), centred_kernel_alignment(cosines, said)
        )
        for layer, cosines in zip(layers, seen, strict=True)
    ]


def _cosines(
    read: Callable[[Tensor], list[Tensor]], batches: Sequence[Tensor], *, centred: bool
) -> list[NDArray[np.float32]]:
    """Eq. 9 of Li et al. 2019 of each layer, (stimulus, stimulus), or without its centring.

    Where features are many the stimuli pass several times. Each time a share of every layer's
    features is held, and adds its part to the inner products.
    """
    n, rows = sum(map(len, batches)), read(batches[0][:1])
    n_shares = -(-4 * n * sum(row.shape[1] for row in rows) // FEATURE_BYTES)
    products = [row.new_zeros(n, n) for row in rows]
    for share in range(n_shares):
        ends = [
            (row.shape[1] * share // n_shares, row.shape[1] * (share + 1) // n_shares)
            for row in rows
        ]
        held = [
            row.new_empty(n, last - first) for row, (first, last) in zip(rows, ends, strict=True)
        ]
        done = 0
        for batch in batches:
            for whole, features, (first, last) in zip(held, read(batch), ends, strict=True):
                whole[done : done + len(batch)] = features[:, first:last]
            done += len(batch)
        for total, whole in zip(products, held, strict=True):
            if centred:
                whole -= whole.mean(0)
            total += whole @ whole.mT
    return [cosines_of(total).cpu().numpy() for total in products]


def centred_kernel_alignment(a: NDArray, b: NDArray, *, biased: bool = False) -> float:
    """CKA of two kernels (Kornblith et al. 2019), by the unbiased estimate of Song et al. 2012.

    HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)) with the diagonals left out, so that its
    expectation is 0 for unrelated kernels however few the stimuli. The biased one is not.

    Parameters
    ----------
    a, b : (n, n)
        Symmetric, n at least 4.
    biased : bool
        With the diagonals, as Eq. 1 and 2 of Kornblith et al. 2019 are printed: to compare with
        published values.

    Returns
    -------
    float
        1 for kernels that agree up to scale; 0 where one of them says nothing.
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) < FEWEST:
        raise ValueError(
            f"shapes {a.shape} and {b.shape}: expected two square matrices of a size, of at least "
            f"{FEWEST} stimuli"
        )
    estimate = _biased_hsic if biased else _unbiased_hsic
    own = [estimate(kernel, kernel) for kernel in (a, b)]
    for kernel, hsic in zip((a, b), own, strict=True):
        if hsic <= ROUNDING * np.square(kernel, dtype=np.float64).sum():
            return 0.0
    return float(estimate(a, b) / np.sqrt(own[0] * own[1]))


def _unbiased_hsic(a: NDArray, b: NDArray) -> float:
    """Eq. 5 of Song et al. 2012, without its factor 1 / (n (n - 3))."""
    a, b = np.array(a, np.float64), np.array(b, np.float64)
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    n = len(a)
    total = a.sum() * b.sum() / ((n - 1) * (n - 2))
    return float((a * b).sum() + total - 2 / (n - 2) * (a.sum(0) @ b.sum(0)))


def _biased_hsic(a: NDArray, b: NDArray) -> float:
    """tr(K H L H) of Eq. 1 of Kornblith et al. 2019, without its factor 1 / (n - 1)^2."""
    return float((centred(np.asarray(a, np.float64)) * centred(np.asarray(b, np.float64))).sum())
