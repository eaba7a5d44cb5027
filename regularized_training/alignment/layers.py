"""Does a network see stimuli as its teacher does? Layer by layer, on stimuli that did not teach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from predictive_model.config import Config
from regularized_training.lessons.similarity import (
    cosine_similarity,
    flatten_features,
)
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.tasks.chosen_images import evaluating
from regularized_training.teachers.similarity import similarity_correlation
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.teachers.teacher import SimilarityTeacher

BATCH = 64
FEWEST = 4  # stimuli, for the unbiased estimate
ROUNDING = 1e-12  # of a kernel's squares, is what single precision leaves of nothing


class RepresentationConfig(Config):
    """How a network is compared with a teacher.

    Attributes
    ----------
    n_stimuli : int
        Largest number of held-out stimuli to use, the first ones.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they were shown by default.
    """

    n_stimuli: int = Field(default=500, ge=FEWEST)
    stimulus_size: tuple[int, int] | None = None


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
) -> list[LayerSimilarity]:
    """Similarity of each layer's features to a teacher, over the stimuli it holds out.

    Features are centred by their mean over these stimuli, in evaluation mode.

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
    with evaluating(network, device), torch.inference_mode():
        read = LayerReader(network, layers)
        parts = [read(part.to(device)) for part in stimuli.split(BATCH)]
        compared = []
        for layer, features in zip(layers, zip(*parts, strict=True), strict=True):
            flat = flatten_features(torch.cat(features))
            seen = cosine_similarity(flat - flat.mean(0)).cpu().numpy()
            compared.append(
                LayerSimilarity(
                    layer,
                    similarity_correlation(seen, said),
                    centred_kernel_alignment(seen, said),
                )
            )
    return compared


def centred_kernel_alignment(a: NDArray, b: NDArray) -> float:
    """CKA of two kernels (Kornblith et al. 2019), by the unbiased estimate of Song et al. 2012.

    HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)) with the diagonals left out, so that its
    expectation is 0 for unrelated kernels however few the stimuli. The biased one is not.

    Parameters
    ----------
    a, b : (n, n)
        Symmetric, n at least 4.

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
    own = [_unbiased_hsic(kernel, kernel) for kernel in (a, b)]
    for kernel, hsic in zip((a, b), own, strict=True):
        if hsic <= ROUNDING * np.square(kernel, dtype=np.float64).sum():
            return 0.0
    return float(_unbiased_hsic(a, b) / np.sqrt(own[0] * own[1]))


def _unbiased_hsic(a: NDArray, b: NDArray) -> float:
    """Eq. 5 of Song et al. 2012, without its factor 1 / (n (n - 3))."""
    a, b = np.array(a, np.float64), np.array(b, np.float64)
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    n = len(a)
    total = a.sum() * b.sum() / ((n - 1) * (n - 2))
    return float((a * b).sum() + total - 2 / (n - 2) * (a.sum(0) @ b.sum(0)))
