"""Which layer stands for an area: chosen on other images than it is scored on, or said beforehand.

A network has many layers, and the best of many scores is too good: chance favours one of them. So
one half of the images chooses the layer and the other half scores it; or the layer was committed to
an area before any score was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularized_training.alignment.gram import Gram, as_gram, require_same_images
from regularized_training.alignment.predictivity import (
    Predictivity,
    PredictivityConfig,
    predictivity,
)


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """A layer, how it was chosen, and its score.

    Attributes
    ----------
    layer : str
    scores : dict of str to float
        Of all layers on the images that chose.
    chosen_on, scored_on : (image,) int64
        No image is in both.
    found : Predictivity
        Of the layer on ``scored_on``, whose images are numbered as there.
    """

    layer: str
    scores: dict[str, float]
    chosen_on: NDArray[np.int64]
    scored_on: NDArray[np.int64]
    found: Predictivity


def halves(
    n_images: int, *, stratify_by: ArrayLike | None = None, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two halves of the images, sorted, each with half of every label; decided by the seed.

    Where a label has an odd number of images, labels take turns in which half has one more.
    """
    labels = np.zeros(n_images, np.int64) if stratify_by is None else np.asarray(stratify_by)
    require_same_images([n_images, len(labels)], ["responses", "stratify_by"])
    shuffled = np.random.default_rng(seed).permutation(n_images)
    # Sorted by label, with ties in random order; every other one goes to the first half.
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def choose_layer(
    layers: Mapping[str, NDArray | Gram],
    responses: NDArray,
    config: PredictivityConfig | None = None,
    *,
    stratify_by: ArrayLike | None = None,
    seed: int = 0,
) -> LayerChoice:
    """The layer that predicts best on one half of the images, scored on the other half.

    Parameters
    ----------
    layers : mapping of str to (image, feature) array or Gram
    responses : (image, neuron)
    config, stratify_by
        See :func:`~regularized_training.alignment.predictivity.predictivity`.
    seed : int
        Of the halves.

    Raises
    ------
    ValueError
        If there is no layer, or a half cannot be scored.
    """
    if not layers:
        raise ValueError("layers: none, expected at least one to choose")
    responses = np.asarray(responses)
    names = ["responses", *layers]
    require_same_images([len(responses), *(len(f) for f in layers.values())], names)
    first, second = halves(len(responses), stratify_by=stratify_by, seed=seed)
    labels = None if stratify_by is None else np.asarray(stratify_by)

    def scored(features: NDArray | Gram, images: NDArray[np.int64]) -> Predictivity:
        part = as_gram(features).of_images(images)
        shown = None if labels is None else labels[images]
        return predictivity(part, responses[images], config, shown)

    scores = {layer: scored(features, first).score for layer, features in layers.items()}
    layer = max(scores, key=lambda name: scores[name])  # of equal ones the first
    return LayerChoice(layer, scores, first, second, scored(layers[layer], second))


def committed_layer(area: str, mapping: Mapping[str, str], layers: Mapping[str, object]) -> str:
    """The layer that was committed to an area.

    Parameters
    ----------
    area : str
    mapping : mapping of str to str
        From areas to layers.
    layers : mapping of str to object
        By the layers that there are.

    Raises
    ------
    ValueError
        If the area has no layer, or its layer is not there.

    Examples
    --------
    >>> committed_layer("IT", {"V4": "stage3", "IT": "stage4"}, {"stage3": ..., "stage4": ...})
    'stage4'
    """
    if area not in mapping:
        raise ValueError(
            f"area: {area!r} has no layer, expected one of {', '.join(mapping) or 'none at all'}"
        )
    layer = mapping[area]
    if layer not in layers:
        raise ValueError(
            f"layer: {layer!r}, committed to {area}, is not among those read: {', '.join(layers)}"
        )
    return layer
