"""What paired differences say of a hypothesis: supported, refuted, or neither.

Two questions are asked of every hypothesis, each of which has a p of its own:

- Is there an effect in the direction that was named? That there is none is the null hypothesis,
  tested one-sided if the direction is greater or less, two-sided if it is different.
- Is the effect smaller than the smallest effect of interest? That it is at least as large is the
  null hypothesis. If the direction is different, the effect has to be shown to lie within the
  smallest effect on both sides, by two one-sided tests (TOST; Schuirmann 1987). If it is greater or
  less, one of the two suffices, that on the side which was named (non-superiority, the "inferiority
  test" of Lakens, Scheel and Isager 2018): an effect in the other direction, however large, speaks
  against the hypothesis too, and would not pass TOST.

Sources: Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15, 657; Lakens 2017,
Social Psychological and Personality Science 8, 355; Lakens, Scheel and Isager 2018, Advances in
Methods and Practices in Psychological Science 1, 259.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularized_training.analysis.paired import holm
from regularized_training.analysis.signed_rank import p_of_ranks, shift_interval

Direction = Literal["greater", "less", "different"]
Test = Literal["t", "wilcoxon"]
Floats = NDArray[np.float64]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
TESTS: tuple[Test, ...] = get_args(Test)
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"


@dataclass(frozen=True)
class PairedTests:
    """Tests of one hypothesis, or of many alike that were simulated.

    Attributes
    ----------
    effect : ndarray
        Mean of the differences; for Wilcoxon's test the estimate of Hodges and Lehmann, the median
        of the means of every two. All are (...), the shape of the differences without their last
        axis.
    low, high : ndarray
        Interval of the effect, at a level of 1 - 2 alpha, so that a bound passes 0 or the smallest
        effect where a one-sided test at alpha says so; at 1 - alpha if the direction is different.
    p : ndarray
        Of the test that there is no effect in the direction.
    p_smaller : ndarray
        Of the test that the effect is at least the smallest one of interest.
    """

    effect: Floats
    low: Floats
    high: Floats
    p: Floats
    p_smaller: Floats


def paired_tests(
    differences: ArrayLike,
    direction: Direction,
    smallest_effect: float,
    *,
    test: Test = "t",
    alpha: float = 0.05,
) -> PairedTests:
    """Both tests of a hypothesis, on paired differences.

    Parameters
    ----------
    differences : array, (..., pairs)
        First minus second, of each seed. Infinite ones only for Wilcoxon's test.
    direction : {"greater", "less", "different"}
        Of first beside second.
    smallest_effect : float
        Of interest, above 0.
    test : {"t", "wilcoxon"}
        Paired t-test, or Wilcoxon's signed-rank test, exact also with ties, zeros left out.
    alpha : float
        Error rate of each test, which decides the interval's level.

    Raises
    ------
    ValueError
        If there are fewer than two pairs, or a number is not what it has to be.

    Notes
    -----
    Where all differences are the same their spread is not known, and p of the t-test is NaN.

    Examples
    --------
    >>> found = paired_tests([0.03, 0.05, 0.04, 0.06], "greater", 0.02)
    >>> f"{found.effect:.3f} [{found.low:.3f}, {found.high:.3f}], p = {found.p:.4f}"
    '0.045 [0.030, 0.060], p = 0.0030'
    """
    p, p_smaller = p_values(differences, direction, smallest_effect, test=test)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: {alpha}, expected a number between 0 and 1")
    d = np.asarray(differences, np.float64)
    tail = alpha / 2 if direction == "different" else alpha
    effect, low, high = _mean_interval(d, tail) if test == "t" else shift_interval(d, tail)
    return PairedTests(effect, low, high, p, p_smaller)


def p_values(
    differences: ArrayLike, direction: Direction, smallest_effect: float, *, test: Test = "t"
) -> tuple[Floats, Floats]:
    """The two p of :func:`paired_tests`, (...) each."""
    d = np.asarray(differences, np.float64)
    if d.ndim == 0 or d.shape[-1] < 2:
        raise ValueError(f"differences: shape {d.shape}, expected at least two pairs")
    if smallest_effect <= 0:
        raise ValueError(f"smallest_effect: {smallest_effect}, expected a number above 0")
    if np.isnan(d).any() or (test == "t" and np.isinf(d).any()):
        raise ValueError("differences: not finite; expected numbers, of which there is a mean")
    one_sided = _p_of_means if test == "t" else p_of_ranks
    if direction == "less":
        d = -d
    above, below = one_sided(d)
    _, below_smallest = one_sided(d - smallest_effect)
    if direction != "different":
        return above, below_smallest
    above_negative, _ = one_sided(d + smallest_effect)
    p = np.minimum(2 * np.minimum(above, below), 1)
    return p, np.maximum(below_smallest, above_negative)


def _p_of_means(d: Floats) -> tuple[Floats, Floats]:
    """p of t-tests that the mean is not above 0, and that it is not below."""
    from scipy import special  # which answers without a hypothesis need not wait for

    n = d.shape[-1]
    sd = d.std(-1, ddof=1)
    known = sd > 1e-9 * np.abs(d).max(-1)  # 0, but for rounding
    t = d.mean(-1) * np.sqrt(n) / np.where(known, sd, np.nan)
    return special.stdtr(n - 1, -t), special.stdtr(n - 1, t)


def _mean_interval(d: Floats, tail: float) -> tuple[Floats, Floats, Floats]:
    from scipy import special

    n = d.shape[-1]
    mean = d.mean(-1)
    reach = special.stdtrit(n - 1, 1 - tail) * d.std(-1, ddof=1) / np.sqrt(n)
    return mean, mean - reach, mean + reach


def family(p: ArrayLike) -> Floats:
    """p-values corrected for all hypotheses of a family, those that have no p yet included.

    As :func:`~regularized_training.analysis.paired.holm`, but that a missing p counts as 1: what
    is supported while others wait stays so, whatever these will say.

    Examples
    --------
    >>> family([0.01, float("nan"), 0.04]).round(3).tolist()
    [0.03, nan, 0.08]
    """
    p = np.asarray(p, np.float64)
    missing = np.isnan(p)
    return np.where(missing, np.nan, holm(np.where(missing, 1.0, p)))


def verdicts(p: ArrayLike, p_smaller: ArrayLike, alpha: ArrayLike) -> NDArray[np.str_]:
    """``supported``, ``refuted`` or ``undecided``, of p-values that are corrected for the family.

    Supported is what has an effect in its direction, refuted what has no such effect and is shown
    to be smaller than the smallest effect of interest. The chance that any hypothesis of a family
    is wrongly supported is at most alpha, and so is the chance that any is wrongly refuted: the two
    questions are two families. Of a NaN nothing is said.
    """
    supported = np.asarray(p) <= np.asarray(alpha)
    refuted = np.asarray(p_smaller) <= np.asarray(alpha)
    return np.where(supported, SUPPORTED, np.where(refuted, REFUTED, UNDECIDED))


def size_of(low: float, high: float, direction: Direction, smallest_effect: float) -> str:
    """Which side of the smallest effect of interest an interval lies on.

    Returns
    -------
    str
        ``at least``, ``smaller``, or ``open`` if the interval holds the smallest effect.

    Examples
    --------
    >>> size_of(0.03, 0.06, "greater", 0.02), size_of(0.01, 0.06, "greater", 0.02)
    ('at least', 'open')
    """
    s = smallest_effect
    reached = {"greater": low >= s, "less": high <= -s, "different": low >= s or high <= -s}
    missed = {"greater": high < s, "less": low > -s, "different": -s < low and high < s}
    return "at least" if reached[direction] else "smaller" if missed[direction] else "open"
