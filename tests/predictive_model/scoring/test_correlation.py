"""Pearson correlation column by column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from predictive_model.scoring.correlation import correlation


def pair(n=50, k=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, k))
    return x, np.linspace(-1, 1, k) * x + rng.standard_normal((n, k))


def test_each_column_is_scipys_pearson_r():
    x, y = pair()
    expected = [pearsonr(a, b).statistic for a, b in zip(x.T, y.T, strict=True)]
    np.testing.assert_allclose(correlation(x, y), expected, rtol=1e-12)


def test_by_hand():
    x = np.array([[1.0, 1, 1], [2, 2, 2], [3, 3, 3]])
    y = np.array([[2.0, -1, 1], [4, -2, 3], [6, -3, 2]])
    np.testing.assert_allclose(correlation(x, y), [1, -1, 0.5])


@given(
    scale=st.floats(1e-12, 1e12), other=st.floats(1e-12, 1e12), shift=st.floats(-100, 100)
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_units_do_not_matter_neither_a_neurons_own_nor_anothers(scale, other, shift):
    x, y = pair()
    scales = np.array([scale, other, 1, 1, other, scale])
    r = correlation(scales * (x + shift), scales[::-1] * y)
    np.testing.assert_allclose(r, correlation(x, y), rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-20, 1e20, -3.3])
def test_a_constant_column_correlates_with_nothing(constant):
    x, y = pair(n=37)
    x[:, 2] = constant
    r = correlation(x, y)
    assert r[2] == 0
    assert correlation(y, x)[2] == 0
    assert (np.delete(r, 2) != 0).all()


def test_a_single_sample_correlates_with_nothing():
    np.testing.assert_array_equal(correlation(np.ones((1, 3)), np.ones((1, 3))), np.zeros(3))


def test_integers_are_not_rounded():
    x, y = np.array([[1], [2], [4]], np.uint8), np.array([[3], [2], [0]], np.uint8)
    assert correlation(x, y)[0] == pytest.approx(-1)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(5, 2\) and \(5, 1\) differ"):
        correlation(np.ones((5, 2)), np.ones((5, 1)))
