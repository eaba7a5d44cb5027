"""Power and numbers of seeds, against simulated experiments and SciPy's noncentral t."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from regularized_training.analysis.power import (
    power_to_refute,
    power_to_support,
    seeds_needed,
    seeds_to_decide,
)
from regularized_training.analysis.verdicts import DIRECTIONS, TESTS, Direction, Test, p_values

N = 10_000
SMALLEST, SD = 0.02, 0.025


def realised(
    n: int, direction: Direction, test: Test, alpha: float, *, sd: float = SD
) -> tuple[float, float]:
    """How often a smallest effect is supported, and none refuted, in simulated experiments."""
    noise = np.random.default_rng(11).normal(0, sd, (N, n))
    effect = -SMALLEST if direction == "less" else SMALLEST
    supported, _ = p_values(effect + noise, direction, SMALLEST, test=test)
    _, refuted = p_values(noise, direction, SMALLEST, test=test)
    return float(np.mean(supported <= alpha)), float(np.mean(refuted <= alpha))


@pytest.mark.parametrize("test, direction", list(product(TESTS, DIRECTIONS)))
def test_power_is_what_simulated_experiments_have(test: Test, direction: Direction) -> None:
    for n, alpha in ((8, 0.05), (20, 0.05), (20, 0.0125)):
        found = realised(n, direction, test, alpha)
        expected = [
            power_to_support(n, SD, SMALLEST, direction, test=test, alpha=alpha),
            power_to_refute(n, SD, SMALLEST, direction, test=test, alpha=alpha),
        ]
        assert expected == pytest.approx(found, rel=0.1, abs=0.01)


def test_power_of_ranks_of_many_pairs_goes_on_by_their_efficiency() -> None:
    for direction in ("greater", "different"):
        for n in (60, 61):
            found = realised(n, direction, "wilcoxon", 0.05, sd=0.055)  # type: ignore[arg-type]
            for of, rate in zip((power_to_support, power_to_refute), found, strict=True):
                expected = of(n, 0.055, SMALLEST, direction, test="wilcoxon")  # type: ignore[arg-type]
                assert expected == pytest.approx(rate, rel=0.1)


def test_power_of_the_t_test_is_that_of_the_noncentral_t() -> None:
    for n, ratio, alpha in product((2, 5, 30, 400), (0.1, 0.5, 3.0), (0.05, 0.001)):
        t = stats.t.ppf(1 - alpha, n - 1)
        expected = stats.nct.sf(t, n - 1, math.sqrt(n) * ratio)
        found = power_to_support(n, 1.0, ratio, "greater", alpha=alpha)
        assert found == pytest.approx(expected, abs=1e-6)


def test_numbers_of_pairs_are_those_of_the_textbook() -> None:
    """34 pairs for d = 0.5, two-tailed, power 0.8 (Cohen 1988, table 2.4.1; G*Power)."""
    assert seeds_needed(lambda n: power_to_support(n, 2.0, 1.0, "different")) == 34
    assert seeds_needed(lambda n: power_to_support(n, 2.0, 1.0, "greater")) == 27


@pytest.mark.parametrize("test, direction", list(product(TESTS, DIRECTIONS)))
def test_so_many_seeds_decide_and_one_less_does_not(test: Test, direction: Direction) -> None:
    n = seeds_to_decide(SD, SMALLEST, direction, test=test)
    assert n is not None
    assert min(realised(n, direction, test, 0.05)) == pytest.approx(0.8, abs=0.06)
    assert min(realised(n, direction, test, 0.05)) > 0.78
    assert min(realised(n - 1, direction, test, 0.05)) < 0.82


def test_a_spread_that_no_number_of_seeds_overcomes_has_none() -> None:
    assert seeds_to_decide(100.0, 0.001, "greater") is None
    assert seeds_to_decide(1e-6, 0.1, "greater") == 2


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="n: 1 seeds, expected at least 2"):
        power_to_support(1, SD, SMALLEST, "greater")
    with pytest.raises(ValueError, match="sd: 0, expected a number above 0"):
        power_to_support(5, 0, SMALLEST, "greater")
    with pytest.raises(ValueError, match="alpha: 2"):
        power_to_refute(5, SD, SMALLEST, "greater", alpha=2)
    with pytest.raises(ValueError, match=r"power: 1\.5"):
        seeds_needed(lambda n: 1.0, 1.5)
