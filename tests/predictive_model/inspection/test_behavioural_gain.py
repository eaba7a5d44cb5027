"""Gains of simulated neurons are found where there are some, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from predictive_model.encoders.config import ModulatorConfig
from predictive_model.inspection.behavioural_gain import (
    drift_basis,
    held_out_rates,
    mean_of_others,
    score_trials,
    shifted,
    shuffled,
)

NEURONS, REPEATS, BINS = 25, 12, 20
FAST: dict[str, Any] = {"n_folds": 4}


def slow(rng: np.random.Generator, smooth: float, k: int = 1) -> NDArray:
    """Autoregressive behaviour, (repeat, bin, k), of mean 0 and standard deviation 1."""
    white = rng.normal(size=(REPEATS * BINS, k))
    values = lfilter([1.0], [1.0, -smooth], white, axis=0)
    return ((values - values.mean(0)) / values.std(0)).reshape(REPEATS, BINS, k)


def simulated(log_gain: NDArray, seed: int = 0, rate: float = 6.0) -> NDArray:
    """Poisson counts (neuron, repeat, bin) of neurons with a gain and a tuning of their own."""
    rng = np.random.default_rng(seed)
    stimulus = rate * rng.gamma(2, 0.5, (NEURONS, 1, BINS))
    return rng.poisson(stimulus * np.exp(log_gain)).astype(float)


def slopes(rng: np.random.Generator) -> NDArray:
    return rng.normal(0.2, 0.2, (NEURONS, 1, 1))


def better(counts: NDArray, rates: NDArray, than: NDArray) -> float:
    """Mean over neurons of what a prediction gains in correlation with single trials."""
    first, second = (score_trials(counts, r).correlation for r in (rates, than))
    return float((first - second).mean())


@pytest.mark.parametrize("hidden_layers", [0, 1])
def test_a_known_gain_is_recovered_beside_a_drift(hidden_layers):
    rng = np.random.default_rng(1)
    behaviour, slope = slow(rng, 0.8), slopes(rng)
    drift = drift_basis(REPEATS, BINS)
    drifting = 0.3 * np.einsum("nk,rbk->nrb", rng.normal(size=(NEURONS, 2)), drift)
    counts = simulated(slope * behaviour[..., 0] + drifting)
    without = held_out_rates(counts, drift=drift, **FAST)
    modulator = ModulatorConfig(hidden_layers=hidden_layers)
    rates = held_out_rates(counts, drift=drift, behaviour=behaviour, modulator=modulator, **FAST)
    assert better(counts, rates, without) > 0.05
    # What behaviour multiplies the rates of held-out repeats by, against what it does in truth.
    log_ratio = np.log(rates / without).reshape(NEURONS, -1)
    x = behaviour.ravel()
    found = log_ratio @ (x - x.mean()) / (x.var() * x.size)
    assert np.corrcoef(found, slope.ravel())[0, 1] > 0.9
    assert found.mean() == pytest.approx(slope.mean(), abs=0.06)


def test_where_there_is_no_gain_none_is_found():
    counts = simulated(np.zeros((NEURONS, REPEATS, BINS)))
    behaviour, drift = slow(np.random.default_rng(2), 0.8, k=2), drift_basis(REPEATS, BINS)
    without = held_out_rates(counts, drift=drift, **FAST)
    rates = held_out_rates(counts, drift=drift, behaviour=behaviour, **FAST)
    assert -0.02 < better(counts, rates, without) < 0.002


def test_behaviour_that_only_drifts_as_neurons_do_explains_nothing_beside_a_drift():
    rng = np.random.default_rng(3)
    ramp = drift_basis(REPEATS, BINS, degree=1)
    counts = simulated(rng.normal(0.4, 0.2, (NEURONS, 1, 1)) * ramp[..., 0])
    pupil = ramp + 0.3 * rng.normal(size=ramp.shape)  # widens over the session, nothing else
    plain = held_out_rates(counts, **FAST)
    assert better(counts, held_out_rates(counts, behaviour=pupil, **FAST), plain) > 0.05
    with_drift = held_out_rates(counts, drift=drift_basis(REPEATS, BINS), **FAST)
    both = held_out_rates(counts, drift=drift_basis(REPEATS, BINS), behaviour=pupil, **FAST)
    assert better(counts, both, with_drift) < 0.002


def test_controls_take_a_gain_away():
    rng = np.random.default_rng(4)
    behaviour, drift = slow(rng, 0.8), drift_basis(REPEATS, BINS)
    counts = simulated(slopes(rng) * behaviour[..., 0])
    plain = held_out_rates(counts, drift=drift, **FAST)
    for control in (shifted(behaviour, 3 * BINS + 7), shuffled(behaviour, rng)):
        rates = held_out_rates(counts, drift=drift, behaviour=control, **FAST)
        assert better(counts, rates, plain) < 0.005


def test_a_control_keeps_what_it_should():
    behaviour = slow(np.random.default_rng(5), 0.9, k=2)
    flat, later = (b.reshape(-1, 2) for b in (behaviour, shifted(behaviour, 33)))
    np.testing.assert_array_equal(later[33:], flat[:-33])
    np.testing.assert_array_equal(later[:33], flat[-33:])
    other = shuffled(behaviour, np.random.default_rng(0))
    assert not np.array_equal(other, behaviour)
    assert {repeat.tobytes() for repeat in other} == {repeat.tobytes() for repeat in behaviour}


def test_no_repeat_is_averaged_for_itself_and_none_that_is_held_out():
    counts = np.random.default_rng(6).poisson(50, (3, 6, 4)).astype(float)
    train = np.array([True, True, True, True, False, False])
    mean = mean_of_others(counts, train)
    prior = counts[:, train].mean((1, 2))[:, None]
    np.testing.assert_allclose(mean[:, 0], (counts[:, 1:4].sum(1) + prior) / 4)
    np.testing.assert_allclose(mean[:, 5], (counts[:, :4].sum(1) + prior) / 5)
    changed = counts.copy()
    changed[:, 4:] = 1000
    np.testing.assert_array_equal(mean_of_others(changed, train), mean)


def test_receptive_fields_that_move_with_the_eye_are_predicted_from_repeats_of_like_gaze():
    rng = np.random.default_rng(7)
    gaze = slow(rng, 0.95, k=2)
    picture = rng.normal(size=(NEURONS, 2, BINS))  # how each moment changes as the eye turns
    moved = 0.5 * np.einsum("nkb,rbk->nrb", picture, gaze)
    counts, drift = simulated(moved), drift_basis(REPEATS, BINS)
    near = held_out_rates(counts, drift=drift, gaze=gaze, **FAST)
    control = held_out_rates(counts, drift=drift, gaze=shuffled(gaze, rng), **FAST)
    assert better(counts, near, control) > 0.03
    still = simulated(np.zeros_like(moved))
    near = held_out_rates(still, drift=drift, gaze=gaze, **FAST)
    control = held_out_rates(still, drift=drift, gaze=shuffled(gaze, rng), **FAST)
    assert better(still, near, control) < 0.01


def test_a_silent_neuron_has_no_score_and_spoils_no_other():
    counts = simulated(np.zeros((NEURONS, REPEATS, BINS)))
    alone = score_trials(counts, held_out_rates(counts, drift=drift_basis(REPEATS, BINS), **FAST))
    counts[3] = 0
    scores = score_trials(counts, held_out_rates(counts, drift=drift_basis(REPEATS, BINS), **FAST))
    assert scores.correlation[3] == 0 and np.isnan(scores.log_likelihood[3])
    others = np.arange(NEURONS) != 3
    np.testing.assert_allclose(scores.correlation[others], alone.correlation[others], atol=2e-3)


def test_a_block_steps_and_time_is_smooth():
    basis = drift_basis(4, 3, degree=2, blocks=(0, 2))
    assert basis.shape == (4, 3, 3)
    assert basis[..., 2].tolist() == [[0] * 3] * 2 + [[1] * 3] * 2
    np.testing.assert_allclose(np.diff(basis[..., 0].ravel()), 2 / 11, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"behaviour": np.ones((3, BINS, 1))}, r"behaviour: shape \(3, 20, 1\), expected \(12, 20"),
        ({"drift": np.ones((REPEATS, BINS))}, "drift: shape"),
        ({"n_folds": 13}, "n_folds: 13, expected 2 to the number of repeats, 12"),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        held_out_rates(np.ones((2, REPEATS, BINS)), **arguments)
