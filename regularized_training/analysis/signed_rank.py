"""Wilcoxon's signed-rank test of many samples at once, exact also where differences are tied."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_DIGITS = 12  # beyond which differences are the same


def p_of_ranks(differences: ArrayLike) -> tuple[Floats, Floats]:
    """p of Wilcoxon's signed-rank tests that differences lie around 0, one-sided both ways.

    Exact, by the distribution of the sum of ranks over all signs (Wilcoxon 1945), given the ties
    that there are; zeros are left out. Larger than any finite difference are infinite ones.

    Parameters
    ----------
    differences : array, (..., pairs)

    Returns
    -------
    tuple of ndarray
        ``(...)`` that they are not above 0, and that they are not below.

    Examples
    --------
    >>> above, below = p_of_ranks([1.0, 2.0, 3.0, -0.5])
    >>> float(above), float(below)
    (0.125, 0.9375)
    """
    d = np.asarray(differences, np.float64).round(_DIGITS)
    n = d.shape[-1]
    flat = d.reshape(-1, n)
    size = np.abs(flat)
    order = np.argsort(size, axis=-1)
    ranked = np.take_along_axis(size, order, axis=-1)
    with np.errstate(invalid="ignore"):  # inf - inf: a tie
        plain = (ranked[:, 0] > 0) & (np.diff(ranked, axis=-1) > 0).all(-1)
    positive = np.take_along_axis(flat, order, axis=-1) > 0
    total = (positive * np.arange(1, n + 1)).sum(-1)
    lower = np.cumsum(_distribution(n))  # of at most each sum
    above = 1 - np.concatenate([[0.0], lower])[total]
    below = lower[total]
    for i in np.flatnonzero(~plain):
        above[i], below[i] = _with_ties(flat[i][flat[i] != 0])
    shape = d.shape[:-1]
    return above.clip(0, 1).reshape(shape), below.clip(0, 1).reshape(shape)


@functools.lru_cache(maxsize=64)
def _distribution(n: int) -> Floats:
    """Probability of each sum of positive ranks of n pairs without ties, 0 to n (n + 1) / 2."""
    return _sums(tuple(range(1, n + 1)))


def _sums(ranks: tuple[int, ...]) -> Floats:
    p = np.zeros(sum(ranks) + 1)
    p[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(p)
        shifted[rank:] = p[: len(p) - rank]
        p = (p + shifted) / 2
    return p


def _with_ties(d: Floats) -> tuple[float, float]:
    """Of one sample without zeros, whose ranks may be halves: twice the ranks are whole."""
    if not len(d):
        return 1.0, 1.0
    size, place, count = np.unique(np.abs(d), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    doubled = (2 * last - count + 1)[place]
    p = _sums(tuple(int(rank) for rank in doubled))
    total = int(doubled[d > 0].sum())
    return float(p[total:].sum()), float(p[: total + 1].sum())


def shift_interval(differences: ArrayLike, tail: float) -> tuple[Floats, Floats, Floats]:
    """Estimate of Hodges and Lehmann (1963) with its interval: effect, low and high, each (...).

    The effect is the median of the means of every two differences, each with itself too; the
    bounds are those of them that Wilcoxon's test leaves, with at most `tail` beyond each. Infinite,
    where there are too few pairs for that.

    Parameters
    ----------
    differences : array, (..., pairs)
    tail : float
        Error rate on each side.
    """
    d = np.asarray(differences, np.float64)
    n = d.shape[-1]
    i, j = np.triu_indices(n)
    with np.errstate(invalid="ignore"):
        means = (d[..., i] + d[..., j]) / 2
    means = np.sort(np.where(np.isnan(means), 0.0, means), axis=-1)  # of -inf and inf
    beyond = int(np.searchsorted(np.cumsum(_distribution(n)), tail, side="right"))
    with np.errstate(invalid="ignore"):
        effect = np.median(means, axis=-1)
    if beyond == 0:
        unknown = np.full(d.shape[:-1], np.inf)
        return effect, -unknown, unknown
    return effect, means[..., beyond - 1], means[..., -beyond]
