"""How well responses could be predicted at most: ceilings of scores, from repeats alone.

A trial y_it of a neuron is its signal s_i, which the image evokes, and noise of variance eta_i^2,
which differs from repeat to repeat. All estimates are per neuron and take trials as
``(image, repeat, neuron)``, NaN where a repeat is missing, so that the numbers of repeats n_i may
differ between images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.reliability import checked_trials, oracle_correlation

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


def ceilings(trials: NDArray, *, n_splits: int = N_SPLITS, seed: int = 0) -> Ceilings:
    """All ceilings of a population.

    Parameters
    ----------
    trials : (image, repeat, neuron)
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
    _, valid = checked_trials(trials)
    return Ceilings(
        oracle=oracle_correlation(trials),
        conservative_oracle=conservative_oracle(trials),
        fev=fraction_explainable_variance(trials),
        cc_max=cc_max(trials),
        split_half=np.sqrt(
            np.maximum(split_half_reliability(trials, n_splits=n_splits, seed=seed), 0)
        ),
        n_images=len(valid),
        n_trials=int(valid.sum()),
    )


def conservative_oracle(trials: NDArray) -> NDArray[np.float64]:
    """Correlation of each trial with the mean over all of the image's trials, itself included.

    With equal repeats that is sqrt(V / (V + E)), where V is the variance over images of the mean
    and E the mean over images of the variance over repeats, both divided by their counts.

    Returns
    -------
    (neuron,) float64
        0 for a constant neuron.
    """
    trials, valid = checked_trials(trials)
    mean = np.broadcast_to(np.nanmean(trials, axis=1, keepdims=True), trials.shape)
    return correlation(mean[valid], trials[valid])


def total_and_noise_variance(
    trials: NDArray,
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
    trials, valid = checked_trials(trials)
    variance = np.nanvar(trials, axis=1, ddof=1)
    noise = np.average(variance, axis=0, weights=valid.sum(1))
    return trials[valid].var(0, ddof=1), noise


def fraction_explainable_variance(trials: NDArray) -> NDArray[np.float64]:
    """FEV of Cadena et al. 2019: (Var y - noise) / Var y.

    Returns
    -------
    (neuron,) float64
        At most 1, negative by chance; 0 for a constant neuron.
    """
    total, noise = total_and_noise_variance(trials)
    return np.divide(total - noise, total, out=np.zeros_like(total), where=total > 0)


def signal_power(trials: NDArray) -> NDArray[np.float64]:
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
    trials, valid = checked_trials(trials)
    left = np.nanvar(trials, axis=1, ddof=1) / valid.sum(1)[:, None]
    return np.nanmean(trials, axis=1).var(0, ddof=1) - left.mean(0)


def cc_max(trials: NDArray) -> NDArray[np.float64]:
    """CC_max of Schoppe et al. 2016: sqrt(SP / Var_i(mean_t y_it)).

    The correlation of the true signal with the mean over repeats, in expectation.

    Returns
    -------
    (neuron,) float64
        From 0 to 1; 0 where the signal power is not positive.
    """
    power = signal_power(trials)
    variance = np.nanmean(checked_trials(trials)[0], axis=1).var(0, ddof=1)
    ratio = np.divide(power, variance, out=np.zeros_like(power), where=power > 0)
    return np.sqrt(ratio)


def split_half_reliability(
    trials: NDArray, *, n_splits: int = N_SPLITS, seed: int = 0
) -> NDArray[np.float64]:
    """Spearman-Brown reliability k r / (1 + (k - 1) r) of the mean over repeats.

    r is the correlation of the means of two random halves, averaged over splits. k says how much
    more noise a half has than the whole: 2, as in the textbook's 2 r / (1 + r), for even
    numbers of repeats, and somewhat more where a half has one repeat less than the other.

    Parameters
    ----------
    trials : (image, repeat, neuron)
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
    if n_splits < 1:
        raise ValueError(f"n_splits: {n_splits}, expected at least 1")
    trials, valid = checked_trials(trials)
    rng = np.random.default_rng(seed)
    n, filled = valid.sum(1), np.where(valid[:, :, None], trials, 0)
    r = np.zeros(trials.shape[2])
    for _ in range(n_splits):
        # Where the number is odd, chance says which half is the larger: so neither is noisier.
        size = (n + rng.integers(0, 2, len(n))) // 2
        rank = np.where(valid, rng.random(valid.shape), np.inf).argsort(1).argsort(1)
        first = rank < size[:, None]
        second = valid & ~first
        halves = [((h / h.sum(1, keepdims=True))[:, None] @ filled)[:, 0] for h in (first, second)]
        r += correlation(*halves) / n_splits
    smaller, larger = n // 2, n - n // 2
    k = ((1 / smaller + 1 / larger) / 2).mean() / (1 / n).mean()
    # Not below the reliability that would make the formula's denominator vanish.
    return np.maximum(k * r / (1 + (k - 1) * np.maximum(r, -1 / k)), -1.0)
