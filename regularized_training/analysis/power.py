"""How many seeds a hypothesis takes to be decided, and how often a number of seeds decides it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from regularized_training.analysis.verdicts import Direction, Test, p_values

MOST_SEEDS = 100_000
EFFICIENCY = 3 / math.pi  # of Wilcoxon's test beside t, of normal differences
_SIMULATED = 4000  # samples of Wilcoxon's test
_MOST_SIMULATED = 60  # seeds; above, its power is that of a t-test with fewer of them
_QUANTILES = 2000  # of the observed spread, over which power is averaged


def power_to_support(
    n: int,
    sd: float,
    effect: float,
    direction: Direction,
    *,
    test: Test = "t",
    alpha: float = 0.05,
) -> float:
    """How often a test finds an effect in its direction, of normal differences.

    Of the paired t-test by the noncentral t distribution, of Wilcoxon's from simulated samples; of
    more than 60 pairs by its asymptotic efficiency, 3 / pi (Lehmann 1975).

    Parameters
    ----------
    n : int
        Pairs, at least 2.
    sd : float
        Standard deviation of the differences.
    effect : float
        True size of the effect in the direction that is named, above 0.
    direction : {"greater", "less", "different"}
    test : {"t", "wilcoxon"}
    alpha : float

    Examples
    --------
    >>> round(power_to_support(10, sd=0.02, effect=0.02, direction="greater"), 3)
    0.898
    """
    _check(n, sd, effect, alpha)
    both = direction == "different"
    if test == "wilcoxon":
        if n <= _MOST_SIMULATED:
            return _simulated(n, sd, effect, effect, direction, alpha)[0]
        return _power_of_t(n * EFFICIENCY, sd, effect, both, alpha)
    return _power_of_t(n, sd, effect, both, alpha)


def power_to_refute(
    n: int,
    sd: float,
    smallest_effect: float,
    direction: Direction,
    *,
    test: Test = "t",
    alpha: float = 0.05,
) -> float:
    """How often an effect of 0 is shown to be smaller than the smallest one of interest.

    If the direction is different, by two one-sided tests, of whose power Phillips 1990 gives the
    integral over the observed spread; otherwise by one, as often as it finds a smallest effect that
    is there.

    Parameters
    ----------
    n, sd, direction, test, alpha
        As of :func:`power_to_support`.
    smallest_effect : float
        Of interest, above 0.
    """
    _check(n, sd, smallest_effect, alpha)
    if direction != "different":
        return power_to_support(n, sd, smallest_effect, direction, test=test, alpha=alpha)
    if test == "wilcoxon":
        if n <= _MOST_SIMULATED:
            return _simulated(n, sd, 0.0, smallest_effect, direction, alpha)[1]
        return _power_of_two_tests(n * EFFICIENCY, sd, smallest_effect, alpha)
    return _power_of_two_tests(n, sd, smallest_effect, alpha)


def seeds_needed(power_of: Callable[[int], float], power: float = 0.8) -> int | None:
    """The least number of seeds with a power; None if even 100,000 have not.

    Parameters
    ----------
    power_of : callable
        Power of a number of seeds, of at least 2, which it rises with.
    power : float

    Examples
    --------
    >>> from functools import partial
    >>> of = partial(power_to_support, sd=0.02, effect=0.02, direction="greater")
    >>> seeds_needed(of)
    8
    """
    if not 0 < power < 1:
        raise ValueError(f"power: {power}, expected a number between 0 and 1")
    low, high = 1, 2  # the former has too little
    while power_of(high) < power:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def seeds_to_decide(
    sd: float,
    smallest_effect: float,
    direction: Direction,
    *,
    test: Test = "t",
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Seeds with which the smallest effect of interest is found, and none at all is refuted.

    Parameters
    ----------
    sd : float
        Standard deviation of the paired differences.
    smallest_effect, direction, test, alpha
        Of the hypothesis; alpha of a single test, that of a family over the number of hypotheses.
    power : float
        With which both have to be so.

    Returns
    -------
    int or None
        None above 100,000.
    """

    def both(n: int) -> float:
        supported = power_to_support(n, sd, smallest_effect, direction, test=test, alpha=alpha)
        if direction != "different":
            return supported
        return min(
            supported, power_to_refute(n, sd, smallest_effect, direction, test=test, alpha=alpha)
        )

    return seeds_needed(both, power)


def _check(n: int, sd: float, effect: float, alpha: float) -> None:
    if n < 2:
        raise ValueError(f"n: {n} seeds, expected at least 2")
    for name, value in (("sd", sd), ("effect", effect)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {value}, expected a number above 0")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: {alpha}, expected a number between 0 and 1")


def _power_of_t(n: float, sd: float, effect: float, both: bool, alpha: float) -> float:
    """1 - F(t), F being the noncentral t distribution with noncentrality sqrt(n) effect / sd."""
    from scipy import special

    noncentrality = math.sqrt(n) * effect / sd
    t = special.stdtrit(n - 1, 1 - alpha / 2 if both else 1 - alpha)
    if noncentrality - t > 12:  # where the noncentral t distribution loses its digits
        return 1.0
    power = 1 - special.nctdtr(n - 1, noncentrality, t)
    if both:
        power += special.nctdtr(n - 1, noncentrality, -t)
    return float(min(max(power, 0.0), 1.0))


def _power_of_two_tests(n: float, sd: float, smallest: float, alpha: float) -> float:
    """Mean over the observed spread s of 2 Phi(sqrt(n) (smallest - t s / sqrt(n)) / sd) - 1."""
    from scipy import special

    t = special.stdtrit(n - 1, 1 - alpha)
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    spread = sd * np.sqrt(2 * special.gammaincinv((n - 1) / 2, quantiles) / (n - 1))
    room = (math.sqrt(n) * smallest - t * spread) / sd
    return float((2 * special.ndtr(room) - 1).clip(0).mean())


def _simulated(
    n: int, sd: float, effect: float, smallest: float, direction: Direction, alpha: float
) -> tuple[float, float]:
    """Shares of samples that Wilcoxon's tests support, and refute."""
    sign = -1 if direction == "less" else 1
    d = sign * effect + sd * _normal()[:, :n]
    both = p_values(d, direction, smallest, test="wilcoxon")
    supported, refuted = (float((p <= alpha).mean()) for p in both)
    return supported, refuted


def _normal() -> NDArray[np.float64]:
    """The same samples each time, of which a number of seeds takes the first."""
    return np.random.default_rng(1).standard_normal((_SIMULATED, _MOST_SIMULATED))
