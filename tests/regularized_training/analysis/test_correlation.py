"""Correlations over networks: of simulated pools whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from regularized_training.analysis.correlation import (
    Interval,
    correlation,
    partial_correlation,
)

N = 30  # networks of the pool of Dapello et al. 2020


def pool(r: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, noise = rng.normal(size=(2, n))
    return x, r * x + np.sqrt(1 - r**2) * noise


def test_r_and_p_are_those_of_scipy() -> None:
    x, y = pool(0.6, N, np.random.default_rng(0))
    expected = stats.pearsonr(x, y)
    found = correlation(x, y)
    assert (found.r, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    ends = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_the_published_p_follows_from_the_published_r() -> None:
    # r = .85 over 30 networks, p = 2.1e-9.
    x, noise = np.random.default_rng(0).normal(size=(2, N))
    x = (x - x.mean()) / x.std()
    noise -= noise.mean() + x * (noise @ x) / N
    ends = [correlation(x, r * x + (1 - r**2) ** 0.5 * noise / noise.std()) for r in (0.855, 0.845)]
    assert [found.r for found in ends] == pytest.approx([0.855, 0.845])
    assert ends[0].p < 2.1e-9 < ends[1].p


@pytest.mark.parametrize(("interval", "least"), [("fisher", 0.91), ("bootstrap", 0.86)])
def test_intervals_hold_the_true_correlation_as_often_as_they_say(
    interval: Interval, least: float
) -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(200):
        found = correlation(
            *pool(0.7, N, rng),
            interval=interval,
            n_resamples=100,
        )
        held.append(found.low < 0.7 < found.high)
    assert least < np.mean(held) < 0.99


def test_what_a_third_measure_explains_is_taken_out() -> None:
    rng = np.random.default_rng(2)
    accuracy, a, b = rng.normal(size=(3, 4000))
    x, y = accuracy + 0.5 * a, accuracy + 0.5 * b  # alike through accuracy alone
    assert correlation(x, y).r > 0.75
    assert abs(partial_correlation(x, y, accuracy).r) < 0.05
    shared = partial_correlation(x, y + 0.5 * a, accuracy)  # a correlation of 1 / sqrt 2
    assert shared.low < 2**-0.5 < shared.high

    def left(measure: np.ndarray) -> np.ndarray:
        fit = np.polyfit(accuracy, measure, 1)
        return np.asarray(measure - np.polyval(fit, accuracy))

    assert shared.r == pytest.approx(stats.pearsonr(left(x), left(y + 0.5 * a)).statistic)


def test_bad_pools_are_refused() -> None:
    four = [1.0, 2.0, 4.0, 3.0]
    with pytest.raises(ValueError, match="3 networks, expected at least 4"):
        correlation(four[:3], four[:3])
    with pytest.raises(ValueError, match="4 networks, expected at least 5"):
        partial_correlation(four, four[::-1], four)
    with pytest.raises(ValueError, match="y: not all finite"):
        correlation(four, [*four[:3], np.nan])
    with pytest.raises(ValueError, match="x: 0.1 of all networks"):
        correlation([0.1] * 4, four)
    with pytest.raises(ValueError, match="shapes"):
        correlation(four, four[:3])
    five = [*four, 7.0]
    with pytest.raises(ValueError, match="x: a straight line of `given`"):
        partial_correlation(five, [2.0, 1.0, 3.0, 5.0, 4.0], 2 * np.array(five))
