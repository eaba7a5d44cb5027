"""Accuracy of networks on manipulated images, and how evenly their answers are spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regularized_training.behaviour.response_distribution import responses
from regularized_training.robustness.manipulations.apply import manipulate
from regularized_training.robustness.manipulations.config import (
    IN_COLOUR,
    OF_PIXELS,
    Manipulation,
    ManipulationConfig,
)
from regularized_training.robustness.manipulations.fourier import mean_amplitude
from regularized_training.tasks.chosen_images import (
    chosen_images,
    evaluating,
    in_batches,
    logits_of,
)

PUBLISHED_SIZE = 224  # pixels of the images that people saw


@dataclass(frozen=True, eq=False)
class LevelScores:
    """What a network answers to images that are manipulated so much.

    Attributes
    ----------
    manipulation : str
    level : float
        As in the settings.
    accuracy : float
        Fraction of images classified correctly.
    entropy : float
        Of the answers to all images, in bits; at most log2 of the number of classes.
    answers : (n,) int64
    """

    manipulation: Manipulation
    level: float
    accuracy: float
    entropy: float
    answers: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ManipulationScores:
    """What a network answers to images as they are and manipulated.

    Attributes
    ----------
    clean_accuracy, clean_entropy : float
        Of the same images as they are.
    levels : tuple of LevelScores
        All levels of the first manipulation, then of the next.
    n : int
        Number of images.
    """

    clean_accuracy: float
    clean_entropy: float
    levels: tuple[LevelScores, ...]
    n: int


def accuracy_under_manipulations(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: ManipulationConfig,
    n_classes: int,
    device: str | torch.device = "cpu",
) -> ManipulationScores:
    """Accuracy and response distribution of a network under manipulations of Geirhos et al. 2018.

    Every network meets the same pictures. Levels that are numbers of pixels are those of images of
    224 pixels, and scaled to the height of these. Images without colour have no manipulations of
    colour, and those that are not square are not turned: these are left out.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    images : (n, 1 or 3, height, width) uint8
    labels : (n,) int64
    config : ManipulationConfig
    n_classes : int
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, or are fewer than asked for.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    batches = in_batches(chosen, config.batch_size)
    shown = labels[chosen]

    def answered(pictures: Iterable[Tensor]) -> NDArray[np.int64]:
        return logits_of(network, pictures, device).argmax(1).cpu().numpy()

    levels = []
    with evaluating(network, device), torch.inference_mode():
        as_they_are = answered(torch.from_numpy(images[batch]) for batch in batches)
        clean = responses(shown, as_they_are, n_classes)
        for name, level, pictures in _manipulated(images, chosen, batches, config):
            answers = answered(pictures)
            found = responses(shown, answers, n_classes)
            levels.append(LevelScores(name, level, found.accuracy, found.entropy, answers))
    return ManipulationScores(clean.accuracy, clean.entropy, tuple(levels), len(chosen))


def example_pictures(
    images: NDArray[np.uint8], labels: NDArray[np.int64], config: ManipulationConfig
) -> dict[Manipulation, dict[float, NDArray[np.uint8]]]:
    """The first image that networks meet, as they meet it: under every manipulation and level.

    Parameters
    ----------
    images : (n, 1 or 3, height, width) uint8
    labels : (n,) int64
    config : ManipulationConfig

    Returns
    -------
    dict of str to dict of float to (height, width, 1 or 3) uint8
        By name and level.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    found: dict[Manipulation, dict[float, NDArray[np.uint8]]] = {}
    for name, level, pictures in _manipulated(images, chosen, [chosen[:1]], config):
        found.setdefault(name, {})[level] = next(pictures)[0].permute(1, 2, 0).numpy()
    return found


def _manipulated(
    images: NDArray[np.uint8],
    chosen: NDArray[np.int64],
    batches: Sequence[NDArray[np.int64]],
    config: ManipulationConfig,
) -> Iterator[tuple[Manipulation, float, Iterator[Tensor]]]:
    """Every manipulation and level that there is of such images, and batches of pictures."""
    amplitude = mean_amplitude(images[chosen])
    scale = images.shape[2] / PUBLISHED_SIZE

    def pictures(name: Manipulation, level: float) -> Iterator[Tensor]:
        pixels = level * scale if name in OF_PIXELS else level
        for batch in batches:
            yield manipulate(
                images[batch],
                name,
                pixels,
                index=batch,
                seed=config.seed,
                mean_amplitude=amplitude,
            )

    for name, at in _possible(config.levels, images.shape[1:]).items():
        for level in at:
            yield name, level, pictures(name, level)


def _possible(
    levels: Mapping[Manipulation, tuple[float, ...]], shape: tuple[int, ...]
) -> dict[Manipulation, tuple[float, ...]]:
    """What can be done to images of this shape, (channels, height, width)."""
    channels, height, width = shape
    impossible = {"rotation"} if height != width else set()
    if channels == 1:
        impossible |= IN_COLOUR - {"rotation"}
    return {name: at for name, at in levels.items() if name not in impossible}
