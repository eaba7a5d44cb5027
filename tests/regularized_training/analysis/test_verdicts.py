"""Verdicts on hypotheses: how often they are wrong, over experiments whose truth is known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from regularized_training.analysis.signed_rank import p_of_ranks, shift_interval
from regularized_training.analysis.verdicts import (
    DIRECTIONS,
    REFUTED,
    SUPPORTED,
    TESTS,
    UNDECIDED,
    Direction,
    Test,
    family,
    p_values,
    paired_tests,
    size_of,
    verdicts,
)

N = 10_000
ALPHA, SMALLEST, SD = 0.05, 0.02, 0.03
MOST = ALPHA + 3.5 * math.sqrt(ALPHA * (1 - ALPHA) / N)  # within Monte-Carlo error
CASES = list(product(TESTS, DIRECTIONS, (5, 12)))


def experiments(
    effect: float, direction: Direction, test: Test, n: int, many: int = N
) -> NDArray[np.str_]:
    """Verdicts of simulated experiments; the effect is in the direction that is named."""
    rng = np.random.default_rng(0)
    sign = -1 if direction == "less" else 1
    d = rng.normal(sign * effect, SD, (many, n))
    return verdicts(*p_values(d, direction, SMALLEST, test=test), ALPHA)


@pytest.mark.parametrize("test, direction, n", CASES)
def test_what_is_not_so_is_rarely_supported(test: Test, direction: Direction, n: int) -> None:
    rate = np.mean(experiments(0.0, direction, test, n) == SUPPORTED)
    assert rate <= MOST
    if test == "t":
        assert rate >= 2 * ALPHA - MOST  # exact: no less either
    if direction != "different":
        assert np.mean(experiments(-SMALLEST / 2, direction, test, n) == SUPPORTED) < ALPHA / 2


@pytest.mark.parametrize("test, direction, n", CASES)
def test_an_effect_of_interest_is_rarely_refuted(test: Test, direction: Direction, n: int) -> None:
    assert np.mean(experiments(SMALLEST, direction, test, n) == REFUTED) <= MOST
    assert np.mean(experiments(1.5 * SMALLEST, direction, test, n) == REFUTED) < ALPHA
    if direction == "different":
        assert np.mean(experiments(-SMALLEST, direction, test, n) == REFUTED) <= MOST


@pytest.mark.parametrize("test", TESTS)
def test_with_enough_seeds_the_truth_is_found(test: Test) -> None:
    for direction in DIRECTIONS:
        assert np.mean(experiments(0.0, direction, test, 60, 2000) == REFUTED) > 0.9
        assert np.mean(experiments(SMALLEST, direction, test, 60, 2000) == SUPPORTED) > 0.9
    wrong = experiments(-3 * SMALLEST, "greater", test, 12)
    assert np.mean(wrong == REFUTED) > 0.99, "a large effect the other way speaks against it too"


def test_one_wrong_verdict_among_several_hypotheses_is_rare() -> None:
    """Three without an effect beside one with a large one; three of interest beside one of none."""
    for effects, wrong in (((0, 0, 0, 0.2), SUPPORTED), ((SMALLEST,) * 3 + (-0.2,), REFUTED)):
        d = np.random.default_rng(1).normal(np.asarray(effects)[:, None], SD, (N, 4, 8))
        found = p_values(d, "greater", SMALLEST)
        said = verdicts(*(np.array([family(row) for row in p]) for p in found), ALPHA)
        assert np.mean((said[:, :3] == wrong).any(1)) <= MOST
        uncorrected = verdicts(*found, ALPHA)
        assert np.mean((uncorrected[:, :3] == wrong).any(1)) > 2 * ALPHA
        assert np.mean(said[:, 3] == wrong) > 0.99, "which is right of the last"


def test_a_verdict_of_a_family_that_is_not_complete_stays_when_it_is() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        p = rng.uniform(0, 0.1, 5)
        early = family(np.where(np.arange(5) < 2, p, np.nan))
        assert (early[:2] >= family(p)[:2] - 1e-15).all() and np.isnan(early[2:]).all()


def test_the_t_tests_are_those_of_scipy() -> None:
    d = np.random.default_rng(3).normal(0.01, SD, 9)
    low, high = stats.ttest_1samp(d, 0).confidence_interval(0.9)
    for direction, name in (("greater", "less"), ("less", "greater")):
        found = paired_tests(d, direction, SMALLEST)  # type: ignore[arg-type]
        sign = 1 if direction == "greater" else -1
        expected = stats.ttest_1samp(d, 0, alternative=direction).pvalue
        assert found.p == pytest.approx(expected, rel=1e-9)
        expected = stats.ttest_1samp(d, sign * SMALLEST, alternative=name).pvalue
        assert found.p_smaller == pytest.approx(expected, rel=1e-9)
        assert (float(found.low), float(found.high)) == pytest.approx((low, high))
        assert found.effect == pytest.approx(d.mean())
    both = paired_tests(d, "different", SMALLEST)
    assert both.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    one_sided = [
        stats.ttest_1samp(d, SMALLEST, alternative="less").pvalue,
        stats.ttest_1samp(d, -SMALLEST, alternative="greater").pvalue,
    ]
    assert both.p_smaller == pytest.approx(max(one_sided))
    assert (float(both.low), float(both.high)) == pytest.approx(
        tuple(stats.ttest_1samp(d, 0).confidence_interval(0.95))
    )


def by_all_signs(d: NDArray[np.float64]) -> tuple[float, float]:
    """p of the signed-rank test by listing all signs."""
    d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))
    sums = np.array([ranks[list(s)].sum() for s in product((False, True), repeat=len(d))])
    observed = ranks[d > 0].sum()
    return float(np.mean(sums >= observed)), float(np.mean(sums <= observed))


def test_signed_ranks_are_exact_with_ties_zeros_and_infinite_values() -> None:
    rng = np.random.default_rng(4)
    plain = rng.normal(0.3, 1, (20, 7))
    tied = rng.integers(-3, 4, (20, 7)).astype(float)
    infinite = np.array([[math.inf, math.inf, -1.0, 2.0, 0.5, -math.inf, 3.0]])
    for d in (plain, tied, infinite):
        above, below = p_of_ranks(d)
        for i, row in enumerate(d):
            assert (above[i], below[i]) == pytest.approx(by_all_signs(row))
    assert [float(p) for p in p_of_ranks([0.0, 0.0])] == [1, 1]
    assert p_of_ranks(plain[0])[0] == pytest.approx(
        stats.wilcoxon(plain[0], alternative="greater").pvalue
    )


def test_the_interval_of_a_shift_holds_what_the_test_does_not_reject() -> None:
    d = np.random.default_rng(5).normal(0.2, 1, 10)
    effect, low, high = (float(v) for v in shift_interval(d, ALPHA))
    means = [(a + b) / 2 for i, a in enumerate(d) for b in d[i:]]
    assert effect == pytest.approx(np.median(means))
    inside = [p_of_ranks(d - shift)[0] > ALPHA for shift in (low + 1e-6, low - 1e-6)]
    assert inside == [True, False]
    inside = [p_of_ranks(d - shift)[1] > ALPHA for shift in (high - 1e-6, high + 1e-6)]
    assert inside == [True, False]
    covered = np.random.default_rng(6).normal(0, 1, (N, 10))
    _, lows, highs = shift_interval(covered, ALPHA)
    assert np.mean((lows > 0) | (highs < 0)) <= 2 * ALPHA + 0.01
    assert [float(v) for v in shift_interval([1.0, 2.0], 0.05)[1:]] == [-math.inf, math.inf]


def test_an_effect_that_is_there_and_too_small_is_supported_and_said_to_be_small() -> None:
    d = np.random.default_rng(7).normal(0.005, 0.005, 60)
    found = paired_tests(d, "greater", SMALLEST)
    assert verdicts(found.p, found.p_smaller, ALPHA) == SUPPORTED
    assert found.p_smaller < 1e-9
    assert size_of(float(found.low), float(found.high), "greater", SMALLEST) == "smaller"


def test_size_is_that_beyond_the_smallest_effect_in_the_direction() -> None:
    assert [size_of(low, high, "less", 1) for low, high in ((-3, -2), (-3, 0), (-0.5, 2))] == [
        "at least",
        "open",
        "smaller",
    ]
    assert [
        size_of(low, high, "different", 1) for low, high in ((-3, -2), (-2, 0), (-0.5, 0.5))
    ] == [
        "at least",
        "open",
        "smaller",
    ]


def test_of_differences_that_are_all_the_same_nothing_is_said() -> None:
    found = paired_tests([0.05, 0.05, 0.05], "greater", SMALLEST)
    assert math.isnan(found.p) and math.isnan(found.p_smaller)
    assert verdicts(found.p, found.p_smaller, ALPHA) == UNDECIDED


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least two pairs"):
        paired_tests([0.1], "greater", 0.02)
    with pytest.raises(ValueError, match="smallest_effect: 0, expected a number above 0"):
        paired_tests([0.1, 0.2], "greater", 0)
    with pytest.raises(ValueError, match="alpha: 1, expected a number between 0 and 1"):
        paired_tests([0.1, 0.2], "greater", 0.02, alpha=1)
    with pytest.raises(ValueError, match="not finite"):
        paired_tests([0.1, math.inf], "greater", 0.02)
