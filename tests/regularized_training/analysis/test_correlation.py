import numpy as np
import pytest
from scipy.stats import pearsonr

from regularized_training.analysis.correlation import correlation, partial_correlation
from regularized_training.analysis.regression import linear_regression


def _three(n: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=n)
    return cause + rng.normal(size=n), cause + rng.normal(size=n), cause


def test_r_p_and_interval_are_those_of_scipy() -> None:
    x, y, _ = _three()
    found, known = correlation(x, y, confidence=0.9), pearsonr(x, y)
    interval = known.confidence_interval(0.9)
    assert (found.r, found.p) == pytest.approx((known.statistic, known.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.n == 30


def test_two_effects_of_one_cause_are_independent_when_it_is_held_fixed() -> None:
    x, y, cause = _three(2000)
    assert correlation(x, y).low > 0.4
    held = partial_correlation(x, y, cause)
    assert held.low < 0 < held.high


def test_p_of_a_partial_correlation_is_that_of_the_slope() -> None:
    x, y, cause = _three()
    other = np.random.default_rng(1).normal(size=30)
    found = partial_correlation(x, y, np.column_stack([cause, other]))
    slope = linear_regression(y, {"x": x, "cause": cause, "other": other})
    assert found.p == pytest.approx(slope.p["x"])


def test_one_measure_that_is_held_fixed_agrees_with_the_textbook() -> None:
    x, y, z = _three()
    xy, xz, yz = (correlation(a, b).r for a, b in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_correlation(x, y, z).r == pytest.approx(expected)


def test_a_perfect_relation_has_no_width() -> None:
    found = correlation([1, 2, 3, 4], [-2, -4, -6, -8])
    assert (found.r, found.low, found.high, found.p) == (-1, -1, -1, 0)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([1, 2, 3], [1, 2, 4], "3 values, expected at least 4"),
        ([1, 2, 3, 4], [1, 2, 3], "shapes"),
        ([1, 2, 3, np.nan], [1, 2, 3, 5], "not all finite"),
        ([0.1, 0.1, 0.1, 0.1], [1, 2, 3, 5], "x: constant"),
    ],
)
def test_refused(x: list[float], y: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        correlation(x, y)


def test_a_measure_that_follows_from_what_is_held_fixed_is_refused() -> None:
    x, _, cause = _three()
    with pytest.raises(ValueError, match="y: follows"):
        partial_correlation(x, 3 * cause + 1, cause)


def test_the_published_p_follows_from_the_published_r() -> None:
    # Dapello et al. 2020: r = .85 over 30 networks, p = 2.1e-9.
    n = 30
    x, noise = np.random.default_rng(0).normal(size=(2, n))
    x = (x - x.mean()) / x.std()
    noise -= noise.mean() + x * (noise @ x) / n
    ends = [correlation(x, r * x + (1 - r**2) ** 0.5 * noise / noise.std()) for r in (0.855, 0.845)]
    assert [found.r for found in ends] == pytest.approx([0.855, 0.845])
    assert ends[0].p < 2.1e-9 < ends[1].p
