"""Populations of neurons that saw the same images repeatedly, and selections of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.predictability import predictability
from regularized_training.teachers.similarity import (
    oracle_similarity,
    similarity,
)
from regularized_training.teachers.stimuli import common_images
from regularized_training.teachers.structure import MINIMAL_IMAGES


class NoCommonImagesError(ValueError):
    """Scans that did not show the same images repeatedly."""


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons that saw the same images repeatedly: those of a scan, or some of them.

    Attributes
    ----------
    name : str
    images : (image, channels, height, width)
    trials : (image, repeat, neuron)
        NaN where an image has fewer repeats.
    weight : (neuron,)
        w_a of Eq. 1.
    predicted : (image, neuron), optional
        The encoder's predictions.
    model_weight : (neuron,), optional
        w_a v_a of Eq. 6.
    """

    name: str
    images: NDArray
    trials: NDArray[np.float32]
    weight: NDArray[np.float64]
    predicted: NDArray[np.float32] | None = None
    model_weight: NDArray[np.float64] | None = None

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.trials.shape[2]

    def of_images(self, images: Sequence[int] | NDArray[np.int64]) -> Population:
        """The same neurons with some of the images, in this order."""
        rows = np.asarray(images, np.int64)
        predicted = None if self.predicted is None else self.predicted[rows]
        return replace(
            self, images=self.images[rows], trials=self.trials[rows], predicted=predicted
        )

    def of_units(self, units: NDArray[np.int64], name: str) -> Population:
        """Some of the neurons, under another name."""
        return replace(
            self,
            name=name,
            trials=self.trials[:, :, units],
            weight=self.weight[units],
            predicted=None if self.predicted is None else self.predicted[:, units],
            model_weight=None if self.model_weight is None else self.model_weight[units],
        )

    def oracle(self) -> NDArray[np.float32]:
        """S_oracle, (image, image)."""
        return oracle_similarity(self.trials, self.weight)

    def model(self) -> NDArray[np.float32] | None:
        """S_model, (image, image)."""
        if self.predicted is None:
            return None
        return similarity(self.predicted, self.model_weight)


def population(recording: Recording, fitted: FittedEncoder | None = None) -> Population:
    """All neurons of a scan and the repeated images of its test tier.

    Raises
    ------
    RecordingError
        If the test tier has fewer than two repeated images.
    """
    images = recording.require_repeats(recording.images_of("test"))
    weight = reliability(recording).weight
    shown = recording.images[images]
    return Population(
        name=recording.name,
        images=shown,
        trials=recording.repeated_trials(images),
        weight=weight,
        predicted=None if fitted is None else fitted.predict(shown),
        model_weight=None if fitted is None else weight * predictability(recording, fitted),
    )


def split_units(whole: Population, n: int = 2, *, seed: int = 0) -> tuple[Population, ...]:
    """Disjoint random selections of a population's neurons, equally many in each.

    What another selection of neurons would have said, where there is but one scan. The parts share
    their trials, so noise that neurons have in common is the same in all of them: pass
    ``same_trials=True`` to :func:`~regularized_training.teachers.stability.stability`. Neurons that
    are left over are in no part.

    Parameters
    ----------
    whole : Population
    n : int
        Number of parts, each with at least two neurons.
    seed : int
        Chooses the neurons.
    """
    if not 2 <= n <= whole.n_neurons // 2:
        raise ValueError(
            f"n: {n} parts of {whole.n_neurons} neurons, expected 2 to {whole.n_neurons // 2}, so "
            "that each has two neurons or more"
        )
    order = np.random.default_rng(seed).permutation(whole.n_neurons)
    parts = np.sort(order[: whole.n_neurons // n * n].reshape(n, -1), axis=1)
    return tuple(
        whole.of_units(units, f"{whole.name}, part {k} of {n}") for k, units in enumerate(parts, 1)
    )


def on_common_images(populations: Sequence[Population]) -> tuple[Population, ...]:
    """The populations with the images that all of them saw, in the order of the first.

    Images are the same if their pixels are, see :func:`~.stimuli.common_images`.

    Raises
    ------
    NoCommonImagesError
        If there are fewer than three.
    """
    if not populations:
        raise ValueError("populations: none, expected at least one")
    places = common_images([p.images for p in populations])
    if len(places[0]) < MINIMAL_IMAGES:
        names = ", ".join(f"{p.name} ({len(p.images)})" for p in populations)
        raise NoCommonImagesError(
            f"images: {len(places[0])} repeated test images are common to {names}, expected at "
            f"least {MINIMAL_IMAGES}; the spread over scans (Eq. 4) needs scans that showed the "
            "same images. Use split_units on each scan instead"
        )
    return tuple(p.of_images(shown) for p, shown in zip(populations, places, strict=True))
