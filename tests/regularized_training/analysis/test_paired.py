"""Paired differences against scipy and by hand, and the correction for many of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from regularized_training.analysis.paired import holm, paired_difference

FIRST = [0.71, 0.74, 0.69, 0.78, 0.75]
SECOND = [0.70, 0.69, 0.66, 0.71, 0.73]


def test_difference_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 12), rng.normal(0, 1, 12)
    found, expected = paired_difference(a, b), stats.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    greater = stats.ttest_rel(a, b, alternative="greater")
    assert found.p_greater == pytest.approx(greater.pvalue, rel=1e-12)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.difference / found.sem == pytest.approx(expected.statistic)
    assert found.n == 12


def test_effect_and_standard_error_are_those_computed_by_hand() -> None:
    """Differences of 1, 5, 3, 7 and 2 hundredths: mean 3.6, sum of squared deviations 23.2."""
    found = paired_difference(FIRST, SECOND)
    assert found.difference == pytest.approx(0.036)
    sd = math.sqrt(23.2 / 4) / 100
    assert found.effect == pytest.approx(0.036 / sd)
    assert found.sem == pytest.approx(sd / math.sqrt(5))


def test_what_the_pairs_have_in_common_does_not_count() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(0, 100, 10)
    a, b = rng.normal(0.3, 1, 10), rng.normal(0, 1, 10)
    apart, together = paired_difference(a, b), paired_difference(a + common, b + common)
    np.testing.assert_allclose(list(vars(apart).values()), list(vars(together).values()))


def test_turned_around_the_difference_changes_its_sign_alone() -> None:
    found, back = paired_difference(FIRST, SECOND), paired_difference(SECOND, FIRST)
    assert (back.difference, back.effect) == (-found.difference, -found.effect)
    assert (back.sem, back.p, back.n) == (found.sem, pytest.approx(found.p), found.n)
    assert back.p_greater == pytest.approx(1 - found.p_greater)


def test_a_single_pair_says_nothing_of_how_sure_it_is() -> None:
    found = paired_difference([0.75], [0.5])
    assert (found.difference, found.n) == (0.25, 1)
    assert math.isnan(found.p)
    assert math.isnan(found.sem)
    assert math.isnan(found.effect)


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        (FIRST, FIRST, 0),
        ([0.25] * 4, [0.0] * 4, 0.25),
        ([0.1 + 0.2, 0.3, 0.3], [0.1] * 3, 0.2),  # the same but for rounding
    ],
)
def test_one_and_the_same_difference_in_all_pairs_says_nothing_of_chance(
    first: list[float], second: list[float], difference: float
) -> None:
    found = paired_difference(first, second)
    assert (found.difference, found.sem) == (pytest.approx(difference), 0)
    assert math.isnan(found.p)
    assert math.isnan(found.effect)


@pytest.mark.parametrize(
    ("first", "second"), [([1.0, 2.0], [1.0]), ([], []), ([[1.0]], [[1.0]]), (1.0, 2.0)]
)
def test_values_that_are_no_pairs_are_refused(first: object, second: object) -> None:
    with pytest.raises(ValueError, match="expected two rows of values in pairs"):
        paired_difference(first, second)  # type: ignore[arg-type]


# -- many differences ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 1 x 0.04 raised to the one before it
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.4, 0.6], [0.8, 0.8]),
        ([0.6, 0.7, 0.9], [1, 1, 1]),
        ([0.02], [0.02]),
        ([0.01, 0.01], [0.02, 0.02]),
        ([], []),
    ],
)
def test_holms_correction_is_that_computed_by_hand(p: list[float], corrected: list[float]) -> None:
    np.testing.assert_allclose(holm(p), corrected)


def test_what_is_not_known_does_not_count_as_a_test() -> None:
    found = holm([math.nan, 0.01, 0.04, math.nan, 0.03])
    np.testing.assert_allclose(found, [math.nan, 0.03, 0.06, math.nan, 0.06])


def test_correction_keeps_the_order_and_lies_between_none_and_bonferronis() -> None:
    p = np.random.default_rng(0).random(40) ** 3
    corrected = holm(p)
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(40 * p, 1) + 1e-15).all()


def test_by_chance_alone_one_family_in_twenty_has_a_difference() -> None:
    p = np.random.default_rng(0).random((4000, 6))
    false = np.mean([(holm(family) < 0.05).any() for family in p])
    assert false == pytest.approx(0.05, abs=0.012)


INF = float("inf")


def test_networks_that_withstand_most_attacks_count_by_rank() -> None:
    """Each infinite distance lies above all finite ones; every sign of five decides."""
    found = paired_difference([INF, 3.0, INF, 2.0, 1.5], [1.0, 2.0, 1.5, 1.9, 1.0])
    assert (found.difference, found.n) == (1.0, 5)
    assert found.p_greater == pytest.approx(1 / 2**5)
    assert found.p == pytest.approx(2 / 2**5)
    assert np.isnan([found.sem, found.effect]).all()
    other = paired_difference([1.0, 2.0, 1.5, 1.9, 1.0], [INF, 3.0, INF, 2.0, 1.5])
    assert other.difference == -1.0 and other.p_greater == 1.0


def test_infinite_ranks_are_those_of_any_large_number() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 1, 9), rng.normal(0, 1, 9)
    first[[2, 5]], second[7] = INF, INF
    large = [np.where(np.isinf(v), 1e6, v) for v in (first, second)]
    expected = stats.wilcoxon(large[0] - large[1], alternative="greater", method="exact").pvalue
    # The three infinite differences tie, which moves the exact p of distinct ones a little.
    assert paired_difference(first, second).p_greater == pytest.approx(expected, abs=0.02)


def test_two_networks_that_withstand_all_attacks_do_not_differ() -> None:
    found = paired_difference([INF, INF], [INF, INF])
    assert found.difference == 0.0 and np.isnan(found.p)
