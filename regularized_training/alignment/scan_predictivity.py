"""A network judged by a scan: how well its layers predict the neurons, beside their ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from predictive_model.recordings.recording import Recording
from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.bootstrap import jackknife_intervals
from regularized_training.alignment.ceiled import (
    CeiledScore,
    Ceiling,
    ceiled,
    metric_ceiling,
    neuron_ceiling,
)
from regularized_training.alignment.field_of_view import shown_to_network
from regularized_training.alignment.gram import Gram, as_gram
from regularized_training.alignment.layer_choice import halves
from regularized_training.alignment.layer_grams import gram_of_layers, plan_of_layers
from regularized_training.alignment.layers import centred_kernel_alignment
from regularized_training.alignment.predictivity import (
    Predictivity,
    memory_needed,
    predictivity,
)
from regularized_training.alignment.rsa import compare_rdms, rdm
from regularized_training.alignment.scan_config import ScanPredictivityConfig
from regularized_training.alignment.shape import shape_similarity
from regularized_training.teachers.stimuli import pixel_scale

FEWEST = 8  # images, of which halves and their pairs are made


@dataclass(frozen=True)
class LayerScore:
    """A layer's score on the images that score it.

    Attributes
    ----------
    layer : str
    choosing : float or None
        Its score on the images that choose a layer; None where there is no choice.
    score : CeiledScore
    """

    layer: str
    choosing: float | None
    score: CeiledScore


@dataclass(frozen=True, eq=False)
class ScanScore:
    """How a network is judged by a scan.

    Attributes
    ----------
    best : LayerScore
        Of the layer that was given, or chosen on other images.
    layers : tuple of LayerScore
        All of them, from the image on.
    interval : (float, float)
        Of the best layer's score, 95 % over neurons; NaN with fewer than four and similarity.
    correlation : (split, neuron) float64
        Of its predictions; no rows for a metric of similarity.
    reliability : (neuron,) or (1,) float64, or None
        Of each neuron, or of the population by a metric of similarity; None without a ceiling.
    n_images : int
        That scored.
    n_neurons : int
    """

    best: LayerScore
    layers: tuple[LayerScore, ...]
    interval: tuple[float, float]
    correlation: NDArray[np.float64]
    reliability: NDArray[np.float64] | None
    n_images: int
    n_neurons: int


def score_by_scan(
    network: nn.Module,
    layers: tuple[str, ...],
    scan: Recording,
    config: ScanPredictivityConfig,
    image_shape: tuple[int, int, int],
    device: str | torch.device = "cpu",
) -> ScanScore:
    """How well a network's layers predict a scan's neurons, or resemble their population.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in.
    layers : tuple of str
    scan : Recording
    config : ScanPredictivityConfig
        Whose layers are those given.
    image_shape : (channels, height, width)
        Of the images that the network takes. Those of the scan are made so.
    device : str or torch.device

    Raises
    ------
    ValueError
        If the scan has too few images, or no width where one is needed, or cannot be predicted.
    LayerError
        If there is no such layer.
    """
    images = images_that_judge(scan, config)
    trials = scan.grouped_trials(images)
    grams = _grams(network, layers, scan, images, config, image_shape, device)
    groups = scan.image_groups
    labels = groups[images] if groups is not None and config.stratify else None
    means = trials.mean()
    choosing: dict[str, float | None] = dict.fromkeys(layers)
    scoring = np.arange(len(images))
    if len(layers) > 1:
        chosen, scoring = halves(len(images), stratify_by=labels, seed=config.seed)
        for layer in layers:
            found = _compare(grams[layer].of_images(chosen), means[chosen], config, labels, chosen)
            choosing[layer] = found.score if isinstance(found, Predictivity) else found
    shown = trials.of_images(scoring)
    ceiling = _ceiling(shown, config)
    compared = {
        layer: _compare(grams[layer].of_images(scoring), means[scoring], config, labels, scoring)
        for layer in layers
    }
    scores = tuple(
        LayerScore(layer, choosing[layer], ceiled(compared[layer], ceiling)) for layer in layers
    )
    best = max(scores, key=lambda one: one.choosing or 0.0)
    found = compared[best.layer]
    if isinstance(found, Predictivity):
        interval = found.interval("neurons", n_resamples=config.n_resamples, seed=config.seed)
        correlation = found.correlation
    else:
        interval = _interval(grams[best.layer].of_images(scoring), means[scoring], config)
        correlation = np.zeros((0, scan.n_neurons))
    return ScanScore(
        best, scores, interval, correlation, ceiling.reliability, len(scoring), scan.n_neurons
    )


def images_that_judge(scan: Recording, config: ScanPredictivityConfig) -> NDArray[np.int64]:
    """Numbers of a scan's images by which networks are judged.

    For RSA without those to which all neurons respond alike, as where all are silent.

    Raises
    ------
    ValueError
        If they are too few, or their width in degrees is needed and not known.
    """
    if config.degrees is not None and scan.degrees is None:
        raise ValueError(
            f"degrees: {config.degrees:g}, but how wide the images of {scan.name!r} were shown is "
            "not known; leave it out, or import the scan with --degrees"
        )
    n_shown = scan.repeats
    if config.images == "test":
        images = scan.images_of("test")
    else:
        images = np.flatnonzero(n_shown >= (2 if config.images == "repeated" else 1))
    if config.metric == "rsa":  # no correlation is defined with a pattern without contrast
        images = images[np.ptp(scan.grouped_trials(images).mean(), axis=1) > 0]
    if len(images) < FEWEST:
        raise ValueError(
            f"images: {len(images)} of scan {scan.name!r} are {config.images}, expected at least "
            f"{FEWEST} to judge by"
        )
    return images


def bytes_needed(
    network: nn.Module,
    layers: tuple[str, ...],
    scan: Recording,
    config: ScanPredictivityConfig,
    image_shape: tuple[int, int, int],
) -> tuple[int, int]:
    """Memory and room in a temporary file that :func:`score_by_scan` takes at most."""
    n = len(images_that_judge(scan, config))
    plan = plan_of_layers(network, layers, torch.zeros(1, *image_shape), n)
    fit = memory_needed(n, scan.n_neurons, config.regression)
    return plan.memory_bytes + fit, plan.file_bytes


def _grams(
    network: nn.Module,
    layers: tuple[str, ...],
    scan: Recording,
    images: NDArray[np.int64],
    config: ScanPredictivityConfig,
    image_shape: tuple[int, int, int],
    device: str | torch.device,
) -> dict[str, Gram]:
    channels, height, width = image_shape
    batches = shown_to_network(
        scan.images[images],
        channels,
        (height, width),
        degrees=scan.degrees,
        field=config.degrees,
        scale=pixel_scale(scan.images),
        device=device,
    )
    return gram_of_layers(network, layers, batches, len(images), device=device)


def _compare(
    gram: Gram,
    means: NDArray[np.float64],
    config: ScanPredictivityConfig,
    labels: NDArray | None,
    images: NDArray[np.int64],
) -> Predictivity | float:
    """Of a layer and mean responses (image, neuron) to the same images."""
    if config.regression is None:
        return _similarity(gram, means, config)
    groups = None if labels is None else labels[images]
    return predictivity(gram, means, config.regression, groups)


def _similarity(a: Gram | NDArray, b: NDArray, config: ScanPredictivityConfig) -> float:
    if config.metric == "rsa":
        return compare_rdms(rdm(a), rdm(b))
    if config.metric == "cka":
        return centred_kernel_alignment(as_gram(a).products, Gram.of(b).products)
    return shape_similarity(a, b)


def _ceiling(shown: Repeats, config: ScanPredictivityConfig) -> Ceiling:
    """What scores could be at most; that of repeated images is none of images shown once."""
    n_once = int((shown.counts < 2).sum())
    if 0 < n_once < shown.n_images:
        return Ceiling(
            None,
            f"{n_once} of {shown.n_images} images were shown once, the others more often; "
            'images = "repeated" has a ceiling',
        )
    trials = None if n_once else shown
    if config.regression is not None:
        return neuron_ceiling(trials, seed=config.seed)
    try:
        return metric_ceiling(lambda a, b: _similarity(a, b, config), trials, seed=config.seed)
    except ValueError as error:  # of a half in which neurons are silent
        return Ceiling(None, f"halves of the repeats cannot be compared: {error}")


def _interval(
    gram: Gram, means: NDArray[np.float64], config: ScanPredictivityConfig
) -> tuple[float, float]:
    """By leaving out neurons: one that is drawn twice adds nothing to what they span."""

    def similarity(kept: NDArray[np.bool_]) -> float:
        try:
            return _similarity(gram, means[:, kept], config)
        except ValueError:  # to some image none of these neurons responds
            return np.nan

    def similarities(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([[similarity(kept > 0)] for kept in weights])

    low, high = jackknife_intervals(
        similarities, means.shape[1], n_resamples=config.n_resamples, seed=config.seed
    )[0]
    return float(low), float(high)
