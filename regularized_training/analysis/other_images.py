"""Networks on images of other kinds, whose labels may be others than their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from predictive_model.config import Config
from regularized_training.analysis.errors import BATCH
from regularized_training.tasks.chosen_images import evaluating, logits_of
from regularized_training.tasks.evaluation_set import EvaluationSet


class OtherImagesConfig(Config):
    """On which evaluation set a network is tested.

    Attributes
    ----------
    set : str
        Its name, as ``neuroteach import evaluation-set`` gives it.
    """

    set: str = Field(min_length=1, max_length=64)


@dataclass(frozen=True, eq=False)
class OtherImagesScores:
    """What a network answers to an evaluation set.

    Attributes
    ----------
    answers : (n,) int64
        The label that is answered for each image.
    accuracy : float
        Fraction of images of which it is right.
    of_label : (label,) float64
        The same of the images with each label; NaN for one without images.
    n_of_label : (label,) int64
    """

    answers: NDArray[np.int64]
    accuracy: float
    of_label: NDArray[np.float64]
    n_of_label: NDArray[np.int64]


def score_on_other_images(
    network: nn.Module,
    classes: Sequence[str],
    images: EvaluationSet,
    image_shape: tuple[int, int, int],
    device: str | torch.device = "cpu",
) -> OtherImagesScores:
    """Accuracy of a network on an evaluation set, by what its outputs mean there.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in.
    classes : sequence of str
        That its outputs stand for.
    images : EvaluationSet
    image_shape : (channels, height, width)
        Of the images that it takes.
    device : str or torch.device

    Raises
    ------
    TaskError
        If the images have another size, or a label is meant by none of the classes.

    Examples
    --------
    >>> from torch import nn
    >>> pixels = np.zeros((2, 3, 4, 4), np.uint8)
    >>> pixels[1] = 255
    >>> images = EvaluationSet("tones", pixels, np.array([0, 1]), ("dark", "light"))
    >>> network = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1, 2, bias=False))
    >>> _ = network[2].weight.data.copy_(torch.tensor([[0.0], [1.0]]))
    >>> score_on_other_images(network, ("dark", "light"), images, (1, 4, 4)).accuracy
    1.0
    """
    pictures, meaning = images.for_network(image_shape), images.meaning(classes)
    with evaluating(network, device), torch.inference_mode():
        logits = logits_of(network, torch.from_numpy(pictures).split(BATCH), device)
        answers = meaning.answers(logits).cpu().numpy()
    right = answers == images.labels
    n = np.bincount(images.labels, minlength=len(images.label_names))
    n_right = np.bincount(images.labels[right], minlength=len(n))
    with np.errstate(invalid="ignore"):
        of_label = n_right / n
    return OtherImagesScores(answers, float(right.mean()), of_label, n)
