"""Confidence intervals by resampling: bootstrap, and a jackknife that leaves many out at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit  # Student's quantile; scipy.stats takes a second to import

LEFT_OUT = 0.4  # of the things, by each draw of the jackknife
AT_ONCE = 100  # draws whose statistics are computed together; bounds the memory


def percentile_intervals(
    statistics: Callable[[NDArray[np.int64]], ArrayLike],
    n: int,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Percentile bootstrap of one or more statistics of n exchangeable things.

    Intervals of fewer than about 20 things are too narrow.

    Parameters
    ----------
    statistics : callable
        From the numbers (n,) of the things drawn, with replacement, to (k,) statistics. Those
        that a draw leaves undefined are NaN and do not count.
    n : int
        How many things there are, neurons or images for instance.
    confidence : float
        Between 0 and 1.
    n_resamples : int
        At least 20.
    seed : int
        Of the draws.

    Returns
    -------
    (k, 2) float64
        Lower and upper end; NaN for a statistic that no draw defined, and for all if n is 1,
        from which nothing can be said about others.

    Examples
    --------
    >>> heights = np.random.default_rng(0).normal(170, 10, 100)
    >>> low, high = percentile_intervals(lambda drawn: heights[drawn].mean(), len(heights))[0]
    >>> bool(165 < low < heights.mean() < high < 175)
    True
    """
    _check(n, confidence, n_resamples)
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            np.atleast_1d(np.asarray(statistics(rng.integers(0, n, n)), np.float64))
            for _ in range(n_resamples)
        ]
    )
    out = np.full((drawn.shape[1], 2), np.nan)
    defined = np.isfinite(drawn).any(0)
    if n > 1 and defined.any():
        tail = (1 - confidence) / 2
        out[defined] = np.nanquantile(drawn[:, defined], [tail, 1 - tail], axis=0).T
    return out


def jackknife_intervals(
    statistics: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n: int,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Delete-d jackknife (Shao and Wu 1989) of statistics of n exchangeable things.

    For statistics whose bias is not small beside their standard error, as that of a mean over many
    neurons of ratios and correlations that were each estimated from the same few images. There a
    percentile interval is off by twice the bias: once for the estimate, once for the draws.

    Each draw leaves out a random two fifths of the things. A statistic whose bias is proportional
    to 1 / n and whose variance is, too, deviates in draws of h things from its value on all n by
    (n / h - 1) times its bias, with a variance of (n / h - 1) times its own: so both are read off.
    Leaving one out would say the same of smooth statistics, but is known to fail for medians, which
    then hang on a single neuron, and for means over what exceeds a threshold.

    The interval holds what Student's t with n - 1 degrees of freedom allows beside the value and
    beside the value less its bias: the bias of a median is itself estimated with an error.

    Parameters
    ----------
    statistics : callable
        From weights (draw, n), how often each draw holds each thing, to (draw, k) statistics.
        Those that a draw leaves undefined are NaN and do not count.
    n : int
        How many things there are, images for instance.
    confidence : float
        Between 0 and 1.
    n_resamples : int
        Draws, at least 20.
    seed : int
        Of the draws.

    Returns
    -------
    (k, 2) float64
        Lower and upper end; NaN for a statistic that is undefined for all things or in all but one
        draw, and for all if n is less than 4.

    Examples
    --------
    >>> heights = np.random.default_rng(0).normal(170, 10, 100)
    >>> def mean(weights):
    ...     return weights @ heights[:, None] / weights.sum(1, keepdims=True)
    >>> low, high = jackknife_intervals(mean, len(heights))[0]
    >>> bool(165 < low < heights.mean() < high < 175)
    True
    """
    _check(n, confidence, n_resamples)
    value = statistics(np.ones((1, n)))[0]
    if n < 4:
        return np.full((len(value), 2), np.nan)
    rng = np.random.default_rng(seed)
    kept = n - round(LEFT_OUT * n)
    weights = (rng.random((n_resamples, n)).argsort(1) < kept).astype(np.float64)
    starts = range(0, n_resamples, AT_ONCE)
    drawn = np.concatenate([statistics(weights[start : start + AT_ONCE]) for start in starts])
    counted = np.isfinite(drawn)
    n_drawn = counted.sum(0)
    deviation = np.where(counted, drawn - value, 0.0)
    defined = np.isfinite(value) & (n_drawn > 1)
    mean = deviation.sum(0) / np.maximum(n_drawn, 1)
    squares = np.where(counted, (deviation - mean) ** 2, 0.0).sum(0)
    variance = squares / np.maximum(n_drawn - 1, 1)
    scale = n / kept - 1
    corrected = value - mean / scale
    reach = stdtrit(n - 1, (1 + confidence) / 2) * np.sqrt(variance / scale)
    ends = np.stack([np.minimum(value, corrected) - reach, np.maximum(value, corrected) + reach], 1)
    return np.where(defined[:, None], ends, np.nan)


def _check(n: int, confidence: float, n_resamples: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, expected a number between 0 and 1")
    if n_resamples < 20:
        raise ValueError(f"n_resamples: {n_resamples}, expected at least 20")
    if n < 1:
        raise ValueError(f"n: {n} things to draw from, expected at least 1")
