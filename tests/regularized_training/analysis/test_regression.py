from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from regularized_training.analysis.regression import linear_regression

RNG = np.random.default_rng(0)


def test_with_one_factor_it_is_scipys() -> None:
    x = RNG.normal(size=20)
    y = 0.5 * x + RNG.normal(size=20)
    found, expected = linear_regression(y, {"x": x}), linregress(x, y)
    assert found.slopes["x"] == pytest.approx(expected.slope)
    assert found.p["x"] == pytest.approx(expected.pvalue)
    assert found.r_squared == pytest.approx(expected.rvalue**2)
    assert found.standardised["x"] == pytest.approx(expected.rvalue)


def test_each_factor_counts_for_what_it_adds_to_the_other() -> None:
    """One is all that matters; the other goes with it, and alone would be taken for a cause."""
    cause = RNG.normal(size=200)
    along = cause + 0.5 * RNG.normal(size=200)
    measure = cause + 0.3 * RNG.normal(size=200)
    assert linear_regression(measure, {"along": along}).p["along"] < 1e-10
    found = linear_regression(measure, {"cause": cause, "along": along})
    assert found.slopes["cause"] == pytest.approx(1, abs=0.1)
    assert found.p["cause"] < 1e-10 < 1e-3 < found.p["along"]


def test_p_is_uniform_where_nothing_matters() -> None:
    p = [
        linear_regression(RNG.normal(size=8), {"a": RNG.normal(size=8), "b": RNG.normal(size=8)})
        for _ in range(400)
    ]
    assert 0.02 < np.mean([found.p["a"] < 0.05 for found in p]) < 0.09


@pytest.mark.parametrize(
    ("measure", "factors", "says"),
    [
        ([1, 2, 3], {"a": [1, 2, 4], "b": [1, 0, 0]}, "3 observations, expected at least 4"),
        ([1, 2, 3, 4], {"a": [1, 1, 1, 1]}, "constant or follows"),
        (list(range(11)), {"a": [1 / 3] * 11}, "constant or follows"),
        ([1, 2, 3, 4, 5], {"a": [1, 2, 3, 4, 9], "b": [2, 4, 6, 8, 18]}, "constant or follows"),
        ([1, 2, np.nan, 4], {"a": [1, 2, 3, 5]}, "not all finite"),
    ],
)
def test_what_cannot_be_explained_is_said(measure, factors, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=says):
        linear_regression(measure, factors)
