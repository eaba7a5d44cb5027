"""Neural predictivity is Brain-Score's, and scikit-learn's regressions are ours."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression, RidgeCV

from predictive_model.scoring.correlation import correlation
from regularized_training.alignment.gram import Gram
from regularized_training.alignment.pls import kernel_pls
from regularized_training.alignment.predictivity import (
    PredictivityConfig,
    memory_needed,
    predictivity,
    splits,
)
from tests.regularized_training.alignment.brainscore_case import (
    FEATURES,
    OBJECTS,
    PLS,
    RESPONSES,
    RIDGE,
)

SMALL = PredictivityConfig(n_components=5, n_splits=3)
WITH_A_GAP = RESPONSES.copy()
WITH_A_GAP[7, 3] = np.nan


# -- the same numbers as others' -----------------------------------------------------------


def test_pls_and_ridge_are_those_of_brain_score() -> None:
    assert predictivity(FEATURES, RESPONSES, None, OBJECTS).score == pytest.approx(PLS, abs=1e-9)
    ridge = PredictivityConfig(method="ridge", penalties=(1.0,))
    for features in (FEATURES, Gram.of(FEATURES)):
        assert predictivity(features, RESPONSES, ridge, OBJECTS).score == pytest.approx(
            RIDGE, abs=1e-7
        )


@pytest.mark.parametrize(
    "n_features, n_neurons, n_components", [(30, 12, 25), (300, 40, 25), (40, 1, 5), (8, 3, 8)]
)
def test_pls_predicts_as_scikit_learn(n_features: int, n_neurons: int, n_components: int) -> None:
    """Of features that are correlated and have means, more or fewer than images."""
    rng = np.random.default_rng(n_features)
    signal = rng.normal(size=(120, 20)) / np.arange(1, 21)
    x = 5 * signal @ rng.normal(size=(20, n_features)) + rng.normal(size=(120, n_features)) + 3
    y = signal @ rng.normal(size=(20, n_neurons)) + rng.normal(size=(120, n_neurons))
    products = Gram.of(x).products
    train, test = np.arange(100)[None], np.arange(100, 120)[None]
    (found,), (n_found,) = kernel_pls(products, y, train, test, n_components)
    expected = PLSRegression(n_components, scale=False).fit(x[:100], y[:100]).predict(x[100:])
    np.testing.assert_allclose(found, expected.reshape(20, n_neurons), atol=1e-8)
    assert n_found == n_components


def test_pls_stops_where_features_have_no_more_directions() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 40))
    y = x[:, :4] + rng.normal(size=(60, 4))
    products = Gram.of(x).products
    train, test = np.arange(50)[None], np.arange(50, 60)[None]
    (found,), (n_found,) = kernel_pls(products, y, train, test, 25)
    assert n_found == 3
    least_squares = LinearRegression().fit(x[:50], y[:50]).predict(x[50:])
    np.testing.assert_allclose(found, least_squares, atol=1e-6)


def test_splits_side_by_side_are_as_one_by_one() -> None:
    """Also where one of them has fewer directions than another."""
    rng = np.random.default_rng(0)
    x = np.zeros((60, 40))
    x[:30] = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 40))
    x[30:] = rng.normal(size=(30, 40))
    y = x[:, :3] + rng.normal(size=(60, 3))
    products = Gram.of(x).products
    train = np.stack([np.arange(20), np.arange(30, 50), np.arange(20, 40)])
    test = np.stack([np.arange(50, 60)] * 3)
    together, n_found = kernel_pls(products, y, train, test, 6)
    assert n_found.tolist() == [2, 6, 6]
    for k in range(3):
        (alone,), _ = kernel_pls(products, y, train[k : k + 1], test[k : k + 1], 6)
        np.testing.assert_allclose(together[k], alone, atol=1e-10)


@pytest.mark.parametrize("n_features", [30, 150])
def test_ridge_penalties_are_those_that_scikit_learn_chooses_for_each_neuron(
    n_features: int,
) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, n_features))
    y = x[:, :6] * [0.2, 0.5, 1, 2, 4, 8] + rng.normal(size=(100, 6))
    penalties = (0.1, 1.0, 10.0, 100.0, 1000.0)
    config = PredictivityConfig(method="ridge", penalties=penalties, n_splits=2)
    found = predictivity(x, y, config)
    assert len(np.unique(found.penalty)) > 1
    for k, (train, test) in enumerate(zip(*splits(100, config), strict=True)):
        peer = RidgeCV(penalties, alpha_per_target=True).fit(x[train], y[train])
        np.testing.assert_array_equal(found.penalty[k], peer.alpha_)
        np.testing.assert_allclose(found.predicted[k], peer.predict(x[test]), atol=1e-8)


def test_least_squares_on_projected_features_are_those_of_scikit_learn() -> None:
    """Projected by images that no neuron was shown, as published."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(150, 400)) / np.arange(1, 401)
    shown, others = np.arange(100), np.arange(100, 150)
    projected = Gram.of(features).projected(others, 10)[shown]
    y = features[:100, :5] + 0.3 * rng.normal(size=(100, 5))
    config = PredictivityConfig(method="linear", n_splits=2)
    found = predictivity(projected, y, config)
    for k, (train, test) in enumerate(zip(*splits(100, config), strict=True)):
        peer = LinearRegression().fit(projected[train], y[train])
        np.testing.assert_allclose(found.predicted[k], peer.predict(projected[test]), atol=1e-8)


# -- what is kept --------------------------------------------------------------------------


def test_the_score_is_a_mean_over_splits_of_medians_over_neurons() -> None:
    found = predictivity(FEATURES, RESPONSES, SMALL, OBJECTS)
    assert found.predicted.shape == found.observed.shape == (3, 20, 20)
    for k in range(3):
        np.testing.assert_allclose(
            correlation(found.predicted[k], RESPONSES[found.test[k]]), found.correlation[k]
        )
    assert found.score == pytest.approx(np.median(found.correlation, axis=1).mean())
    assert all(np.bincount(OBJECTS[test]).max() <= 3 for test in found.test), "stratified"


@pytest.mark.parametrize("over", ["neurons", "images", "splits"])
def test_intervals_hold_the_score(over: str) -> None:
    found = predictivity(FEATURES, RESPONSES, PredictivityConfig(n_components=5), OBJECTS)
    low, high = found.interval(over, n_resamples=100)  # type: ignore[arg-type]
    assert low < found.score < high
    assert high - low < 0.2


def test_an_interval_over_neurons_holds_the_score_of_all_neurons_as_often_as_it_says() -> None:
    """Of populations drawn from one, whose score is known."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    y = x @ rng.normal(size=(5, 600)) + 3 * rng.normal(size=(60, 600))
    config = PredictivityConfig(method="linear", n_splits=1)
    found = predictivity(x, y, config)
    held = 0
    for part in np.split(rng.permutation(600), 30):
        low, high = predictivity(x, y[:, part], config).interval("neurons", n_resamples=200)
        held += low <= found.score <= high
    assert 24 <= held <= 30  # of 30, at 95 %


def test_memory_is_known_beforehand_and_depends_on_images_alone() -> None:
    of_pls = memory_needed(2560, 168)
    assert of_pls < 0.4e9
    assert memory_needed(2560, 168, PredictivityConfig(method="ridge")) < 1e9


# -- what cannot be predicted --------------------------------------------------------------


def test_a_constant_neuron_is_a_named_gap_and_counts_nowhere() -> None:
    dead = np.c_[RESPONSES[:, :6], np.full(200, 4.0)]
    found, without = (predictivity(FEATURES, y, SMALL) for y in (dead, RESPONSES[:, :6]))
    assert np.isnan(found.correlation[:, 6]).all() and np.isnan(found.by_neuron[6])
    np.testing.assert_array_equal(found.correlation[:, :6], without.correlation)
    assert found.score == without.score
    assert found.interval("neurons") == without.interval("neurons")
    (gap,) = found.gaps
    assert (gap.neuron, gap.kind) == (6, "constant")
    with pytest.raises(ValueError, match="every neuron is constant"):
        predictivity(FEATURES, np.ones((200, 2)), SMALL)


def test_two_neurons_alike_are_named_and_both_predicted() -> None:
    twice = np.c_[RESPONSES[:, :5], RESPONSES[:, 2]]
    found = predictivity(FEATURES, twice, SMALL)
    (gap,) = found.gaps
    assert (gap.neuron, gap.kind) == (5, "alike") and "neuron 2" in gap.why
    np.testing.assert_allclose(found.correlation[:, 5], found.correlation[:, 2])


def test_a_neuron_that_is_silent_for_the_images_held_out_has_correlation_0() -> None:
    y = RESPONSES[:, :4].copy()
    y[:, 3] = 0
    y[splits(200, SMALL)[0][0][0], 3] = 1.0  # an image of the first split's training ones
    found = predictivity(FEATURES, y, SMALL)
    assert found.correlation[0, 3] == 0 and found.gaps == ()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"features": FEATURES[:-1]}, "features of 199, responses of 200"),
        ({"responses": WITH_A_GAP}, "neuron 3 to image 7"),
        ({"responses": RESPONSES[:, 0]}, r"shape \(200,\), expected \(image, neuron\)"),
        ({"features": FEATURES[:, :3]}, "n_components: 5, expected 1 to 3"),
        ({"stratify_by": OBJECTS[:-2]}, "responses of 200, stratify_by of 198"),
        ({"stratify_by": np.arange(200) // 2}, "each of 100 labels in both"),
    ],
)
def test_what_does_not_fit_is_refused_by_one_clear_error(change: dict, said: str) -> None:
    given = {"features": FEATURES, "responses": RESPONSES, "config": SMALL, "stratify_by": OBJECTS}
    with pytest.raises(ValueError, match=said):
        predictivity(**{**given, **change})


def test_fewer_images_than_components_or_features_are_refused() -> None:
    few = slice(0, 20)
    with pytest.raises(ValueError, match="n_components: 25, expected 1 to 18.*18 training images"):
        predictivity(FEATURES[few], RESPONSES[few])
    with pytest.raises(ValueError, match="60 directions with 40 training.*projected"):
        config = PredictivityConfig(method="linear", train_fraction=0.2)
        predictivity(FEATURES, RESPONSES, config)
    with pytest.raises(ValueError, match="2, of which 1 would be held out"):
        predictivity(FEATURES[:2], RESPONSES[:2], PredictivityConfig(train_fraction=0.5))


@pytest.mark.parametrize(
    "setting", [{"n_components": 0}, {"penalties": ()}, {"penalties": (0.0,)}, {"method": "cca"}]
)
def test_settings_that_cannot_work_are_refused(setting: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(setting))):
        PredictivityConfig(**setting)
