"""Trials grouped by image, without room for repeats that an image does not have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Repeats:
    """Trials that lie image by image, those of an image in the order in which they were recorded.

    Numbers of repeats may differ at no cost: an image that was shown fifty times among a thousand
    that were shown once takes fifty rows, where an array (image, repeat, neuron) has fifty for all.

    Attributes
    ----------
    values : (trial, neuron)
        Responses, or what was predicted for each trial.
    counts : (image,) int
        Trials of each image; they sum to the number of rows.

    Examples
    --------
    >>> repeats = Repeats(np.array([[1.0], [3.0], [5.0]]), np.array([2, 1]))
    >>> repeats.mean()
    array([[2.],
           [5.]])
    """

    values: NDArray
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.counts.sum() != len(self.values):
            raise ValueError(
                f"values: shape {self.values.shape}, expected ({self.counts.sum()}, neuron), a row "
                "for each trial counted"
            )

    @classmethod
    def of(cls, trials: NDArray | Repeats) -> Repeats:
        """Trials in either form.

        Parameters
        ----------
        trials : (image, repeat, neuron) or Repeats
            NaN where an image has fewer repeats.

        Raises
        ------
        ValueError
            If a repeat is missing for some neurons only.
        """
        if isinstance(trials, Repeats):
            return trials
        trials = np.asarray(trials)
        shown = shown_repeats(trials)
        return cls(trials[shown], shown.sum(1))

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.counts)

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.values.shape[1]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(image,) row of each image's first trial."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def image(self) -> NDArray[np.int64]:
        """(trial,) image of each row."""
        return np.repeat(np.arange(self.n_images), self.counts)

    def sums(self, values: NDArray | None = None) -> NDArray[np.float64]:
        """Sums (image, ...) over each image's trials, of other ``values`` (trial, ...) if given."""
        values = self.values if values is None else values
        out = np.zeros((self.n_images, *values.shape[1:]))
        shown = self.counts > 0
        if shown.any():
            out[shown] = np.add.reduceat(values, self.starts[shown], axis=0, dtype=np.float64)
        return out

    def mean(self) -> NDArray[np.float64]:
        """(image, neuron), NaN for an image without trials."""
        n = self.counts[:, None]
        sums = self.sums()
        return np.divide(sums, n, out=np.full_like(sums, np.nan), where=n > 0)

    def variance(self) -> NDArray[np.float64]:
        """(image, neuron), unbiased; NaN for an image with fewer than two trials."""
        n = self.counts[:, None]
        squares = self.sums((self.values - self.mean()[self.image]) ** 2)
        return np.divide(squares, n - 1, out=np.full_like(squares, np.nan), where=n > 1)

    def repeat(self, t: int) -> NDArray:
        """Each image's trial number ``t``, (image, neuron); every image needs that many."""
        if (self.counts <= t).any():
            raise ValueError(f"t: {t}, expected less than {self.counts.min()}, the fewest repeats")
        return self.values[self.starts + t]

    def without(self, t: int) -> Repeats:
        """All trials but each image's number ``t``, where it has one."""
        left_out = self.starts[self.counts > t] + t
        return Repeats(np.delete(self.values, left_out, axis=0), self.counts - (self.counts > t))

    def between(self, first: int | NDArray[np.int64], stop: int | NDArray[np.int64]) -> Repeats:
        """Each image's trials from number ``first`` to before ``stop``; either may be (image,)."""
        place = np.arange(len(self.values)) - self.starts[self.image]
        first, stop = (np.broadcast_to(n, self.counts.shape)[self.image] for n in (first, stop))
        chosen = (place >= first) & (place < stop)
        counts = np.bincount(self.image[chosen], minlength=self.n_images)
        return Repeats(self.values[chosen], counts)

    def shuffled(self, rng: np.random.Generator) -> Repeats:
        """Each image's trials in random order."""
        order = np.lexsort((rng.random(len(self.values)), self.image))
        return Repeats(self.values[order], self.counts)

    def of_images(self, images: NDArray[np.int64]) -> Repeats:
        """Some of the images, in this order."""
        counts = self.counts[images]
        rows = np.repeat(self.starts[images] - np.cumsum(counts) + counts, counts)
        return Repeats(self.values[rows + np.arange(len(rows))], counts)

    def padded(self) -> NDArray:
        """(image, repeat, neuron), NaN where an image has fewer repeats than another."""
        depth = int(self.counts.max(initial=0))
        out = np.full((self.n_images, depth, self.n_neurons), np.nan, self.values.dtype)
        out[self.image, np.arange(len(self.values)) - self.starts[self.image]] = self.values
        return out


def shown_repeats(trials: NDArray) -> NDArray[np.bool_]:
    """Which repeats there are, (image, repeat), in trials (image, repeat, neuron) with NaN.

    Raises
    ------
    ValueError
        If a repeat is missing for some neurons only.
    """
    if trials.ndim != 3:
        raise ValueError(f"trials: shape {trials.shape}, expected (image, repeat, neuron)")
    finite = np.isfinite(trials)
    shown = finite.all(2)
    partial = int((finite.any(2) & ~shown).sum())
    if partial:
        raise ValueError(
            f"trials: {partial} repeats are missing for some neurons and not for others; leave "
            "those neurons or those repeats out"
        )
    return np.asarray(shown)
