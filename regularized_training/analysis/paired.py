"""How sure a difference between two teachers is: paired over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two conditions over the same seeds.

    Attributes
    ----------
    difference : float
        Mean of first minus second; their median, where one is infinite.
    sem : float
        Its standard error; NaN for a single pair, and where a value is infinite.
    p : float
        Of a two-tailed paired t-test, or of Wilcoxon's signed-rank test where a value is infinite;
        NaN for a single pair, and where all differences are the same, as measures of few digits may
        be: their spread is then not known.
    p_greater : float
        Of a one-tailed one: that first is not greater than second.
    effect : float
        Cohen's d of paired samples: difference over the standard deviation of differences; NaN
        where the standard error is.
    n : int
        Number of pairs.
    """

    difference: float
    sem: float
    p: float
    p_greater: float
    effect: float
    n: int


def paired_difference(first: ArrayLike, second: ArrayLike) -> PairedDifference:
    """Paired t-test of two conditions, values in the same order of seeds.

    Networks of one seed start from the same weights and see the same images in the same order, so
    that much of what a seed does is common to both.

    Infinite values, as the median distance of a network that withstands most attacks, have no mean.
    Then ranks are compared (Wilcoxon 1945, exactly for up to 13 pairs): an infinite difference is
    larger than any finite one, and two infinite values do not differ.

    Raises
    ------
    ValueError
        If the numbers of values differ, or there are none.

    Examples
    --------
    >>> paired_difference([3.0, 5.0, 7.0], [1.0, 2.0, 3.0]).difference
    3.0
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"shapes {a.shape} and {b.shape}: expected two rows of values in pairs")
    if np.isinf(a).any() or np.isinf(b).any():
        return _of_ranks(a, b)
    d = a - b
    if len(d) == 1:
        return PairedDifference(float(d[0]), math.nan, math.nan, math.nan, math.nan, 1)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    if sd <= 1e-9 * max(np.abs(a).max(), np.abs(b).max()):  # 0, but for rounding
        return PairedDifference(mean, 0.0, math.nan, math.nan, math.nan, len(d))
    from scipy import stats  # half a second, which answers without a comparison need not wait

    p = float(stats.ttest_rel(a, b).pvalue)
    greater = float(stats.ttest_rel(a, b, alternative="greater").pvalue)
    return PairedDifference(mean, sd / math.sqrt(len(d)), p, greater, mean / sd, len(d))


def _of_ranks(a: NDArray[np.float64], b: NDArray[np.float64]) -> PairedDifference:
    with np.errstate(invalid="ignore"):
        d = np.where(a == b, 0.0, a - b)
        median = float(np.median(d))
    if len(d) == 1 or not d.any():
        return PairedDifference(median, math.nan, math.nan, math.nan, math.nan, len(d))
    from scipy import stats

    largest = np.abs(d[np.isfinite(d)]).max(initial=0.0) + 1.0
    p, greater = (
        stats.wilcoxon(
            np.clip(d, -largest, largest),
            alternative=tails,
            method=stats.PermutationMethod(rng=np.random.default_rng(0)),
        ).pvalue
        for tails in ("two-sided", "greater")
    )
    return PairedDifference(median, math.nan, float(p), float(greater), math.nan, len(d))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected for their number by the step-down method of Holm 1979; NaN do not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, np.float64)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected
