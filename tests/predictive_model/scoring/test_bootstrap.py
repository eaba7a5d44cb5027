"""Bootstrap intervals: against the normal approximation, and how often they hold the truth."""

import numpy as np
import pytest
from scipy.stats import t as student

from predictive_model.scoring.bootstrap import jackknife_intervals, percentile_intervals
from predictive_model.scoring.correlation import correlation


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).gamma(3.0, 1.0, 400)
    ((low, high),) = percentile_intervals(lambda drawn: values[drawn].mean(), 400)
    error = 1.96 * values.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.02)
    ((lower, higher),) = percentile_intervals(
        lambda drawn: values[drawn].mean(), 400, confidence=0.99
    )
    assert lower < low < high < higher


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_intervals_of_correlations_hold_the_truth_at_about_the_nominal_rate(rho):
    """1,000 samples of 60: 95 %, less a little as the percentile bootstrap has it.

    Its error is of order 1 / 60, beside a standard error of .007 from 1,000 samples.
    """
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 60, 1000))
    y = rho * x + np.sqrt(1 - rho**2) * other
    ends = percentile_intervals(lambda drawn: correlation(x[drawn], y[drawn]), 60, n_resamples=500)
    held = (ends[:, 0] < rho) & (rho < ends[:, 1])
    assert held.mean() == pytest.approx(0.95, abs=1 / 60 + 3 * 0.007)


def test_statistics_of_one_draw_belong_together():
    """The ends of -x are those of x with their signs and places changed."""
    values = np.random.default_rng(0).normal(size=50)
    plus, minus = percentile_intervals(
        lambda drawn: [values[drawn].mean(), -values[drawn].mean()], 50
    )
    np.testing.assert_allclose(minus, -plus[::-1])


def test_draws_depend_on_the_seed_alone():
    values = np.random.default_rng(0).normal(size=50)
    first, again, other = (
        percentile_intervals(lambda drawn: values[drawn].mean(), 50, seed=seed)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


@pytest.mark.filterwarnings("error")
def test_draws_that_leave_a_statistic_undefined_do_not_count():
    """Half of the draws of two things are one thing twice, and have no spread."""

    def statistics(drawn):
        return [np.nan, 5.0 if len(set(drawn)) == 2 else np.nan]

    never, sometimes = percentile_intervals(statistics, 2)
    assert np.isnan(never).all()
    np.testing.assert_array_equal(sometimes, [5, 5])


def test_one_thing_says_nothing_of_others():
    assert np.isnan(percentile_intervals(lambda drawn: 0.3, 1)).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"confidence": 95}, "confidence: 95, expected a number between 0 and 1"),
        ({"confidence": 0.0}, "confidence: 0.0, expected"),
        ({"n_resamples": 5}, "n_resamples: 5, expected at least 20"),
        ({"n": 0}, "n: 0 things to draw from"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        percentile_intervals(lambda drawn: 0.0, **({"n": 10} | setting))


# -- jackknife -----------------------------------------------------------------------------


def weighted_mean(values):
    return lambda weights: weights @ values[:, None] / weights.sum(1, keepdims=True)


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).gamma(3.0, 1.0, 40)
    ((low, high),) = jackknife_intervals(weighted_mean(values), 40, n_resamples=20_000)
    error = student.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.02)


def test_the_jackknife_holds_a_value_and_the_value_without_its_bias():
    """The variance with divisor n is too small by the n-th part."""
    values = np.random.default_rng(0).standard_normal(30)

    def biased(weights):
        mean = weighted_mean(values)(weights)
        return weighted_mean(values**2)(weights) - mean**2

    ((low, high),) = jackknife_intervals(biased, 30, n_resamples=20_000)
    assert (low + high) / 2 == pytest.approx((values.var() + values.var(ddof=1)) / 2, rel=0.01)
    assert low < values.var() < values.var(ddof=1) < high


@pytest.mark.filterwarnings("error")
def test_the_jackknife_says_nothing_from_three_things_or_of_what_is_undefined():
    assert np.isnan(jackknife_intervals(weighted_mean(np.arange(3.0)), 3)).all()

    def statistics(weights):
        some = np.where(weights[:, 0] > 0, weights @ np.arange(10.0), np.nan)
        return np.stack([np.full(len(weights), np.nan), some], axis=1)

    never, sometimes = jackknife_intervals(statistics, 10)
    assert np.isnan(never).all()
    assert np.isfinite(sometimes).all()
    with pytest.raises(ValueError, match="n_resamples: 5, expected at least 20"):
        jackknife_intervals(statistics, 10, n_resamples=5)
