"""How well responses could be predicted at most: ceilings of scores, from repeats alone.

A trial y_it of a neuron is its signal s_i, which the image evokes, and noise of variance eta_i^2,
which differs from repeat to repeat. All estimates are per neuron and take trials as
:class:`~predictive_model.recordings.repeats.Repeats` or as ``(image, repeat, neuron)``, NaN where a
repeat is missing, so that the numbers of repeats n_i may differ between images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.moments import ImageStatistics, Moments
from predictive_model.scoring.reliability import checked_trials, moments_of_repeats

N_SPLITS = 100


@dataclass(frozen=True, eq=False)
class Ceilings:
    """Ceilings of one population, per neuron.

    Attributes
    ----------
    oracle : (neuron,)
        Leave-one-out oracle correlation. A perfect prediction of the signal exceeds it.
    conservative_oracle : (neuron,)
        Oracle that has seen the trial itself. A perfect prediction stays below it.
    fev : (neuron,)
        Fraction of explainable variance; its square root is the ceiling of the correlation with
        single trials. Negative where chance has it that repeats differ more than images do.
    cc_max : (neuron,)
        Ceiling of the correlation with the mean over repeats, from the signal power; 0 where
        that is not positive.
    split_half : (neuron,)
        The same ceiling by random halves and the Spearman-Brown formula.
    n_images, n_trials : int
        What it was estimated from.
    """

    oracle: NDArray[np.float64]
    conservative_oracle: NDArray[np.float64]
    fev: NDArray[np.float64]
    cc_max: NDArray[np.float64]
    split_half: NDArray[np.float64]
    n_images: int
    n_trials: int

    @property
    def single_trial(self) -> NDArray[np.float64]:
        """(neuron,) correlation of the true signal with single trials: the root of ``fev``."""
        return np.sqrt(np.maximum(self.fev, 0))


def ceilings(trials: NDArray | Repeats, *, n_splits: int = N_SPLITS, seed: int = 0) -> Ceilings:
    """All ceilings of a population.

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
        NaN where an image has fewer repeats; every image needs two.
    n_splits, seed : int
        Of :func:`split_half_reliability`.

    Raises
    ------
    ValueError
        If an image has fewer than two repeats, or there are fewer than two images.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates = rng.gamma(2.0, 2.0, (200, 1, 3))
    >>> found = ceilings(rng.poisson(rates, (200, 10, 3)).astype(float))
    >>> found.cc_max.shape, bool((found.cc_max > found.single_trial).all())
    ((3,), True)
    """
    trials = checked_trials(trials)
    return ceilings_of_moments(
        ImageStatistics.of(trials).moments(),
        split_half_reliability(trials, n_splits=n_splits, seed=seed),
    )


def ceilings_of_moments(found: Moments, halves: NDArray[np.float64]) -> Ceilings:
    """Ceilings from moments of all images, and the reliability (neuron,) by split halves."""
    return Ceilings(
        oracle=found.oracle[0],
        conservative_oracle=found.conservative_oracle[0],
        fev=found.fev[0],
        cc_max=found.cc_max()[0],
        split_half=np.sqrt(np.maximum(halves, 0)),
        n_images=int(found.n_images[0, 0]),
        n_trials=int(found.n_trials[0, 0]),
    )


def conservative_oracle(trials: NDArray | Repeats) -> NDArray[np.float64]:
    """Correlation of each trial with the mean over all of the image's trials, itself included.

    With equal repeats that is sqrt(V / (V + E)), where V is the variance over images of the mean
    and E the mean over images of the variance over repeats, both divided by their counts.

    Returns
    -------
    (neuron,) float64
        0 for a constant neuron.
    """
    return moments_of_repeats(trials).conservative_oracle[0]


def total_and_noise_variance(
    trials: NDArray | Repeats,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance over all trials, and the part of it that repeats of an image differ by.

    Every trial counts once, so an image weighs as much as it has repeats. Then the difference of
    the two is the variance of the signal over the images shown, however unequal the repeats and
    however the noise depends on the image.

    Returns
    -------
    total, noise : (neuron,) float64
        Both unbiased.
    """
    found = moments_of_repeats(trials)
    return found.total[0], found.noise[0]


def fraction_explainable_variance(trials: NDArray | Repeats) -> NDArray[np.float64]:
    """FEV of Cadena et al. 2019: (Var y - noise) / Var y.

    Returns
    -------
    (neuron,) float64
        At most 1, negative by chance; 0 for a constant neuron.
    """
    return moments_of_repeats(trials).fev[0]


def signal_power(trials: NDArray | Repeats) -> NDArray[np.float64]:
    """SP of Eq. 1 of Schoppe et al. 2016, for any number of repeats: unbiased variance of s_i.

    The mean over n_i repeats has variance eta_i^2 / n_i beside its signal. Its unbiased estimate,
    averaged over images, is taken from the variance of the means:

        SP = Var_i(mean_t y_it) - E_i(Var_t(y_it) / n_i)

    With equal repeats that is the SP of the paper averaged over all orders of each image's
    repeats. The paper's compares the t-th repeat of all images, which repeats in random order
    have no reason to share anything with.

    Returns
    -------
    (neuron,) float64
        Negative by chance where there is little signal; 0 for a constant neuron.
    """
    return moments_of_repeats(trials).signal_power[0]


def cc_max(trials: NDArray | Repeats, n_repeats: float | None = None) -> NDArray[np.float64]:
    """CC_max of Schoppe et al. 2016: sqrt(SP / Var_i(mean_t y_it)).

    The correlation of the true signal with the mean over repeats, in expectation.

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
    n_repeats : float, optional
        Of the mean over how many repeats; those that were recorded by default. So a few repeats
        tell what more of them would be worth.

    Returns
    -------
    (neuron,) float64
        From 0 to 1; 0 where the signal power is not positive.
    """
    if n_repeats is not None and n_repeats < 1:
        raise ValueError(f"n_repeats: {n_repeats}, expected at least 1")
    return moments_of_repeats(trials).cc_max(n_repeats)[0]


def split_half_reliability(
    trials: NDArray | Repeats, *, n_splits: int = N_SPLITS, seed: int = 0
) -> NDArray[np.float64]:
    """Spearman-Brown reliability k r / (1 + (k - 1) r) of the mean over repeats.

    r is the correlation of the means of two random halves, averaged over splits. k says how much
    more noise a half has than the whole: 2, as in the textbook's 2 r / (1 + r), for even
    numbers of repeats, and somewhat more where a half has one repeat less than the other.

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
        NaN where an image has fewer repeats; every image needs two.
    n_splits : int
        Random splits, at least 1.
    seed : int
        Of the splits.

    Returns
    -------
    (neuron,) float64
        In expectation SP / (SP + noise / n). At most 1, negative by chance where there is
        little signal; 0 for a constant neuron. Its root is the ceiling of the correlation with
        the mean over repeats.
    """
    trials = checked_trials(trials)
    # From the smallest value on, so that a constant neuron varies in no half.
    values = trials.values.astype(np.float64)
    values -= values.min(0)
    r = np.zeros(trials.n_neurons)
    for halves in random_halves(Repeats(values, trials.counts), n_splits=n_splits, seed=seed):
        r += correlation(*halves) / n_splits
    return spearman_brown(r, trials.counts)


def random_halves(
    trials: NDArray | Repeats, *, n_splits: int = N_SPLITS, seed: int = 0
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Mean responses (image, neuron) of two random halves of each image's repeats, split by split.

    Where the number of repeats is odd, chance says which half is the larger, image by image.

    Parameters
    ----------
    trials, n_splits, seed
        See :func:`split_half_reliability`.
    """
    if n_splits < 1:
        raise ValueError(f"n_splits: {n_splits}, expected at least 1")
    trials = checked_trials(trials)
    rng = np.random.default_rng(seed)
    n, values = trials.counts, trials.values.astype(np.float64)
    place = np.arange(n.max())
    for _ in range(n_splits):
        size = (n + rng.integers(0, 2, len(n))) // 2
        order = np.where(place < n[:, None], rng.random((len(n), len(place))), np.inf).argsort(1)
        rows = trials.starts[:, None] + order
        first, second = place < size[:, None], (place >= size[:, None]) & (place < n[:, None])
        yield _means_of_rows(values, rows, first), _means_of_rows(values, rows, second)


def spearman_brown(r: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Reliability k r / (1 + (k - 1) r) of the mean over repeats, from a correlation r of halves.

    Parameters
    ----------
    r : array of any shape
    counts : (image,) int
        Repeats of each image, which decide k, see :func:`split_half_reliability`.
    """
    smaller, larger = counts // 2, counts - counts // 2
    k = ((1 / smaller + 1 / larger) / 2).mean() / (1 / counts).mean()
    # Not below the reliability that would make the formula's denominator vanish.
    return np.maximum(k * r / (1 + (k - 1) * np.maximum(r, -1 / k)), -1.0)


def _means_of_rows(
    values: NDArray[np.float64], rows: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean (image, neuron) of the rows of ``values`` chosen among those of each image."""
    n = chosen.sum(1)
    starts = np.r_[0, np.cumsum(n)]
    weights = np.repeat(1 / n, n)
    return csr_array((weights, rows[chosen], starts), (len(n), len(values))) @ values
