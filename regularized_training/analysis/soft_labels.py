"""Networks beside people's soft labels: cross-entropy, and accuracy where people agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from predictive_model.config import Config
from regularized_training.analysis.errors import BATCH
from regularized_training.behaviour.soft_labels import (
    SoftLabels,
    accuracy_by_entropy,
    cross_entropy,
)
from regularized_training.tasks.chosen_images import evaluating, logits_of
from regularized_training.tasks.labelled_task import TaskError


class SoftLabelsConfig(Config):
    """How networks are put beside people's answers to the test images.

    Attributes
    ----------
    n_bins : int
        Quantiles of people's entropy, at most: images that all people agree on are in one.
    """

    n_bins: int = Field(default=5, ge=1, le=100)


@dataclass(frozen=True)
class EntropyBin:
    """Images on which people agree about as much.

    Attributes
    ----------
    entropy_low, entropy_high : float
        Of people's answers, in bits.
    n_in_bin : int
    accuracy : float
        Of the network, by the right labels.
    people_accuracy : float
        Mean over images of the fraction of people who are right.
    """

    entropy_low: float
    entropy_high: float
    n_in_bin: int
    accuracy: float
    people_accuracy: float


@dataclass(frozen=True)
class SoftLabelScores:
    """What a network says of images that people answered to.

    Attributes
    ----------
    n_images : int
    cross_entropy : float
        -sum_k p_k log q_k of people's p and the network's q, in nats, mean over images.
    people_entropy : float
        The least that it can be: that of a network whose probabilities are people's.
    label_loss : float
        Cross-entropy to the right labels, for comparison.
    accuracy : float
    bins : tuple of EntropyBin
        By rising entropy.
    """

    n_images: int
    cross_entropy: float
    people_entropy: float
    label_loss: float
    accuracy: float
    bins: tuple[EntropyBin, ...]


def score_beside_people(
    network: nn.Module,
    images: NDArray[np.uint8],
    people: SoftLabels,
    config: SoftLabelsConfig,
    device: str | torch.device = "cpu",
) -> SoftLabelScores:
    """Cross-entropy to people's answers (Peterson et al. 2019), and accuracy by their entropy.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1], with an output for each class; left in the mode it came in.
    images : (image, channels, height, width) uint8
    people : SoftLabels
        Of the same images and classes, in the same order.
    config : SoftLabelsConfig
    device : str or torch.device

    Raises
    ------
    TaskError
        If there are not as many images or classes of both.
    """
    if len(images) != len(people.labels):
        raise TaskError(
            f"people: answers to {len(people.labels)} images, expected {len(images)}, one for each"
        )
    with evaluating(network, device), torch.inference_mode():
        logits = logits_of(network, torch.from_numpy(images).split(BATCH), device)
        log_q = logits.double().log_softmax(1).cpu().numpy()
    if log_q.shape != people.counts.shape:
        raise TaskError(
            f"people: answers of {people.counts.shape[1]} classes, expected {log_q.shape[1]}, one "
            "for each output of the network"
        )
    right = log_q.argmax(1) == people.labels
    entropy = people.entropy
    in_bins = accuracy_by_entropy(right, entropy, min(config.n_bins, len(right)))
    theirs = np.take_along_axis(people.probabilities, people.labels[:, None], 1)[:, 0]
    bins = []
    for row in in_bins.to_dict("records"):
        low, high = row["entropy_low"], row["entropy_high"]
        within = (entropy >= low) & (entropy <= high)
        about = EntropyBin(
            float(low),
            float(high),
            int(row["n_images"]),
            float(row["accuracy"]),
            float(theirs[within].mean()),
        )
        bins.append(about)
    return SoftLabelScores(
        n_images=len(right),
        cross_entropy=cross_entropy(log_q, people.probabilities),
        people_entropy=float(entropy.mean() * math.log(2)),
        label_loss=-float(np.take_along_axis(log_q, people.labels[:, None], 1).mean()),
        accuracy=float(right.mean()),
        bins=tuple(bins),
    )
