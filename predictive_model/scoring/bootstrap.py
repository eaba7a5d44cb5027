"""Confidence intervals by resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, expected a number between 0 and 1")
    if n_resamples < 20:
        raise ValueError(f"n_resamples: {n_resamples}, expected at least 20")
    if n < 1:
        raise ValueError(f"n: {n} things to draw from, expected at least 1")
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
