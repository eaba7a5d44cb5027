"""Accuracy, confidence and calibration under corruptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regularized_training.robustness.corruptions.config import (
    Corruption,
    CorruptionConfig,
    Severity,
)
from regularized_training.robustness.corruptions.corrupt import corrupt
from regularized_training.robustness.noise import calibration_error, largest_probability
from regularized_training.tasks.chosen_images import (
    chosen_images,
    evaluating,
    in_batches,
    logits_of,
)
from regularized_training.tasks.evaluation_set import EvaluationSet


@dataclass(frozen=True)
class SeverityScores:
    """What a network makes of images with a corruption.

    Attributes
    ----------
    corruption : str
    severity : int
    accuracy : float
        Fraction of images classified correctly.
    confidence : float
        Mean probability of the class that is answered.
    calibration_error : float
        Expected calibration error of Guo et al. 2017.
    """

    corruption: Corruption
    severity: Severity
    accuracy: float
    confidence: float
    calibration_error: float


@dataclass(frozen=True)
class CorruptionScores:
    """What a network makes of images without and with each corruption.

    Attributes
    ----------
    clean_accuracy : float
        Of the same images as they are.
    severities : tuple of SeverityScores
        All severities of the first corruption, then of the next.
    n : int
        Number of images.
    """

    clean_accuracy: float
    severities: tuple[SeverityScores, ...]
    n: int


def accuracy_under_corruptions(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: CorruptionConfig,
    device: str | torch.device = "cpu",
) -> CorruptionScores:
    """Accuracy, confidence and calibration of a network on images with corruptions.

    Every network meets the same pictures: what is drawn for one depends on the seed, the severity
    and the image's number alone.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; moved to `device`, evaluated in evaluation mode and left in the
        mode it came in.
    images : (n, 1 or 3, height, width) uint8
    labels : (n,) int64
    config : CorruptionConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, or are fewer than asked for.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    batches, scores = in_batches(chosen, config.batch_size), []
    with evaluating(network, device), torch.inference_mode():
        for kind in config.kinds:
            for severity in config.severities:
                pictures = (
                    corrupt(images[index], kind, severity, index, seed=config.seed, device=device)
                    for index in batches
                )
                sure, answers = largest_probability(logits_of(network, pictures, device))
                scores.append(_scores(kind, severity, sure, answers, labels[chosen]))
        clean = _clean_accuracy(network, images, labels, chosen, config, device)
    return CorruptionScores(clean, tuple(scores), len(chosen))


def accuracy_on_corrupted_sets(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    sets: Callable[[Corruption, Severity], EvaluationSet],
    config: CorruptionConfig,
    device: str | torch.device = "cpu",
) -> CorruptionScores:
    """The same scores on corrupted images that others made.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in.
    images : (n, 1 or 3, height, width) uint8
        As they are, without corruption.
    labels : (n,) int64
    classes : sequence of str
        That the network's outputs stand for.
    sets : callable
        Returns the images with a corruption and severity.
    config : CorruptionConfig
    device : str or torch.device

    Raises
    ------
    TaskError
        If images have another size, or a label is meant by none of the classes.
    """
    own = chosen_images(images, labels, config.n_images, config.seed)
    shape, scores = images.shape[1:], []
    with evaluating(network, device), torch.inference_mode():
        clean = _clean_accuracy(network, images, labels, own, config, device)
        for kind in config.kinds:
            for severity in config.severities:
                found = sets(kind, severity)
                pictures = found.for_network((shape[0], shape[1], shape[2]))
                meaning = found.meaning(classes)
                chosen = chosen_images(pictures, found.labels, config.n_images, config.seed)
                batches = torch.from_numpy(pictures[chosen]).split(config.batch_size)
                said = meaning.probabilities(logits_of(network, batches, device)).max(1)
                scores.append(_scores(kind, severity, *said, found.labels[chosen]))
    return CorruptionScores(clean, tuple(scores), len(own))


def _clean_accuracy(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    chosen: NDArray[np.int64],
    config: CorruptionConfig,
    device: str | torch.device,
) -> float:
    batches = torch.from_numpy(images[chosen]).split(config.batch_size)
    answers = logits_of(network, batches, device).argmax(1).cpu().numpy()
    return float((answers == labels[chosen]).mean())


def _scores(
    corruption: Corruption,
    severity: Severity,
    confidence: Tensor,
    answers: Tensor,
    labels: NDArray[np.int64],
) -> SeverityScores:
    sure, right = confidence.cpu().numpy(), answers.cpu().numpy() == labels
    return SeverityScores(
        corruption=corruption,
        severity=severity,
        accuracy=float(right.mean()),
        confidence=float(sure.mean(dtype=np.float64)),
        calibration_error=calibration_error(sure, right),
    )
