"""Closed forms agree with regressions that were computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from predictive_model.scoring.regression import BrokenLine, RidgePath


def data(n: int, features: int, neurons: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, features))
    y = x @ rng.standard_normal((features, neurons)) + rng.standard_normal((n, neurons)) + 5
    return x - x.mean(0), y


@pytest.mark.parametrize(("n", "features"), [(40, 6), (20, 60)])
@pytest.mark.parametrize("penalty", [0.01, 3.0])
def test_a_path_is_ridge_regression_with_fewer_features_than_samples_and_with_more(
    n: int, features: int, penalty: float
) -> None:
    x, y = data(n, features)
    path = RidgePath(x, y)
    ridge = Ridge(alpha=penalty * (x**2).sum() / n).fit(x, y)
    np.testing.assert_allclose(path.coefficients(penalty), ridge.coef_.T, atol=1e-8)
    new, _ = data(7, features)
    (predicted,) = path.predictions(new, [penalty])
    np.testing.assert_allclose(predicted, ridge.predict(new), atol=1e-8)


def test_a_feature_that_repeats_another_does_no_harm() -> None:
    x, y = data(30, 4)
    single, double = RidgePath(x, y), RidgePath(np.c_[x, x], y)
    (once,), (twice,) = single.predictions(x, [0.1]), double.predictions(np.c_[x, x], [0.1])
    np.testing.assert_allclose(once, twice, atol=1e-8)


@pytest.mark.parametrize("features", [5, 50])
def test_what_is_left_out_is_predicted_from_the_others(features: int) -> None:
    x, y = data(20, features)
    alpha = 0.5 * (x**2).sum() / len(x)
    left_out = RidgePath(x, y).left_out(0.5)
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        expected = Ridge(alpha=alpha).fit(x[others], y[others]).predict(x[i : i + 1])[0]
        np.testing.assert_allclose(left_out[i], expected, atol=1e-8)


def test_a_broken_line_recovers_each_neurons_nonlinearity() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (2000, 3))
    functions = (np.square, np.exp, lambda u: np.maximum(u - 0.5, 0))
    truth = np.stack([f(x[:, i]) for i, f in enumerate(functions)], axis=1)
    line = BrokenLine.fit(x, truth + 0.3 * rng.standard_normal(x.shape), stiffness=1.0)
    assert (np.abs(line(x) - truth).mean(0) < 0.12).all()


def test_a_very_stiff_line_is_linear_regression_also_beyond_its_ends() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 2))
    y = 10 + x * [1.0, -2.0] + rng.standard_normal(x.shape)
    line = BrokenLine.fit(x, y, stiffness=1e8)
    new = np.linspace(-4, 4, 9)[:, None].repeat(2, axis=1)
    for neuron in range(2):
        slope, intercept = np.polyfit(x[:, neuron], y[:, neuron], 1)
        expected = intercept + slope * new[:, neuron]
        np.testing.assert_allclose(line(new)[:, neuron], expected, atol=1e-3)


def test_responses_are_never_negative() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    line = BrokenLine.fit(x, x, stiffness=1.0)
    assert (line(np.linspace(-3, 3, 20)[:, None]) >= 0).all()


def test_a_constant_prediction_gives_the_mean_response() -> None:
    y = np.arange(10.0)[:, None]
    line = BrokenLine.fit(np.full((10, 1), 2.0), y, stiffness=1.0)
    np.testing.assert_allclose(line(np.full((3, 1), 2.0)), 4.5, atol=1e-4)
