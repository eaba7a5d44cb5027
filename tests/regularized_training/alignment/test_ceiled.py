"""A network that is the simulated brain reaches its ceiling by every metric; a random one does not.

The brain: responses of 40 neurons to 600 images, of 12 signals. What is measured has noise, 8
repeats of it. The network's features are the signals, rotated into many units.
"""

from __future__ import annotations

import numpy as np
import pytest

from predictive_model.recordings.repeats import Repeats
from regularized_training.alignment.ceiled import (
    Ceiling,
    ImpossibleScoreError,
    ceiled,
    metric_ceiling,
    neuron_ceiling,
    ratio_by_neuron,
)
from regularized_training.alignment.layers import centred_kernel_alignment
from regularized_training.alignment.predictivity import PredictivityConfig, predictivity
from regularized_training.alignment.rsa import compare_rdms, noise_ceiling, rdm
from regularized_training.alignment.shape import shape_similarity

N, NEURONS, REPEATS = 600, 40, 8
RNG = np.random.default_rng(0)
SIGNALS = RNG.normal(size=(N, 12))
BRAIN = SIGNALS @ RNG.normal(size=(12, NEURONS))
TRIALS = BRAIN[:, None] + BRAIN.std() * RNG.normal(size=(N, REPEATS, NEURONS))
MEAN = TRIALS.mean(1)
LAYER = BRAIN @ np.linalg.qr(RNG.normal(size=(100, NEURONS)))[0].T
LAYER += 0.01 * RNG.normal(size=LAYER.shape)
RANDOM = RNG.normal(size=(N, 100))
CONFIGS = {
    "pls": PredictivityConfig(n_components=12),
    "ridge": PredictivityConfig(method="ridge", penalties=(1.0, 10.0, 100.0, 1000.0)),
    "linear": PredictivityConfig(method="linear"),
}


def signals_of(method: str, layer: np.ndarray) -> np.ndarray:
    """Least squares take fewer features: the principal components."""
    if method != "linear":
        return layer
    axes = np.linalg.svd(layer - layer.mean(0), full_matrices=False)
    return axes[0][:, :12] * axes[1][:12]


@pytest.mark.parametrize("by", ["split_half", "cc_max"])
@pytest.mark.parametrize("method", ["pls", "ridge", "linear"])
def test_the_brain_itself_is_predicted_up_to_its_ceiling(method: str, by: str) -> None:
    found = predictivity(signals_of(method, LAYER), MEAN, CONFIGS[method])
    limit = neuron_ceiling(TRIALS, by, n_splits=20)  # type: ignore[arg-type]
    score = ceiled(found, limit).require_possible()
    assert score.score < 0.96, "the noise must be seen"
    assert score.ratio == pytest.approx(1, abs=0.02)
    assert score.explained == pytest.approx(score.ratio**2)  # type: ignore[operator]
    assert np.median(ratio_by_neuron(found, limit)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("method", ["pls", "ridge", "linear"])
def test_random_features_predict_nothing(method: str) -> None:
    """0, with a standard error of 1 / sqrt(600) for a neuron whose images are all held out once."""
    found = predictivity(signals_of(method, RANDOM), MEAN, CONFIGS[method])
    assert abs(found.by_neuron.mean()) < 3 / np.sqrt(N)
    low, high = found.interval("neurons", n_resamples=200)
    assert -0.1 < low < high < 0.1


METRICS = {
    "rsa": lambda a, b: compare_rdms(rdm(a), rdm(b)),
    "rsa, whitened": lambda a, b: compare_rdms(rdm(a), rdm(b), "whitened"),
    "cka": lambda a, b: centred_kernel_alignment(a @ a.T, b @ b.T),
    "shape": shape_similarity,
}


@pytest.mark.parametrize("name", list(METRICS))
def test_the_brain_itself_is_as_similar_as_its_repeats_allow(name: str) -> None:
    metric, few = METRICS[name], slice(0, 200)
    limit = metric_ceiling(metric, TRIALS[few], n_splits=4)
    score = ceiled(metric(LAYER[few], MEAN[few]), limit).require_possible()
    assert score.ratio == pytest.approx(1, abs=0.02)
    assert ceiled(metric(RANDOM[few], MEAN[few]), limit).ratio < 0.45  # type: ignore[operator]


def test_the_brain_itself_is_between_the_bounds_that_subjects_set() -> None:
    rng = np.random.default_rng(1)
    few = BRAIN[:100]
    subjects = [rdm(few + few.std() / 2 * rng.normal(size=few.shape)) for _ in range(20)]
    bounds = noise_ceiling(subjects)
    score = np.mean([compare_rdms(rdm(LAYER[:100]), own) for own in subjects])
    assert bounds.lower - 0.02 < score < bounds.upper
    assert score / bounds.upper == pytest.approx(1, abs=0.02)


def test_reliability_is_the_share_of_signal_that_was_simulated() -> None:
    power = BRAIN.var(0)
    share = power / (power + BRAIN.var() / REPEATS)
    found = neuron_ceiling(TRIALS)
    assert found.reliability == pytest.approx(share, abs=0.03)
    assert found.correlation == pytest.approx(np.sqrt(share), abs=0.02)
    assert found.n_images == N


# -- what is missing, and what cannot be ---------------------------------------------------


@pytest.mark.parametrize(
    "trials, why",
    [
        (None, "only mean responses are known"),
        (TRIALS[:, :1], "no image was shown twice"),
        (Repeats(TRIALS[:5, 0], np.ones(5, np.int64)), "no image was shown twice"),
        (Repeats(TRIALS[:4, 0], np.array([1, 1, 2])), "repeats of a single image"),
    ],
)
def test_without_repeats_there_is_no_ceiling_and_a_reason(trials, why: str) -> None:  # type: ignore[no-untyped-def]
    found = predictivity(LAYER[:50], MEAN[:50], PredictivityConfig(n_components=2))
    for limit in (neuron_ceiling(trials), metric_ceiling(METRICS["cka"], trials)):
        assert limit.reliability is None and why in limit.missing
        score = ceiled(found, limit)
        assert score.score == found.score
        assert score.ratio is score.explained is score.ceiling is None
        assert why in score.missing and not score.impossible
    assert np.isnan(ratio_by_neuron(found, neuron_ceiling(trials))).all()


def test_images_shown_once_do_not_decide_the_ceiling() -> None:
    more = Repeats(
        np.concatenate([TRIALS[:100].reshape(-1, NEURONS), MEAN[100:150]]),
        np.r_[np.full(100, REPEATS), np.ones(50, np.int64)],
    )
    found = neuron_ceiling(more)
    assert found.n_images == 100
    np.testing.assert_array_equal(found.reliability, neuron_ceiling(TRIALS[:100]).reliability)


def test_a_score_above_its_ceiling_is_called_an_error() -> None:
    limit = Ceiling(np.full(3, 0.25))
    assert not ceiled(0.52, limit).impossible
    high = ceiled(0.53, limit)
    assert high.impossible and high.explained == pytest.approx(0.53**2 / 0.25)
    with pytest.raises(ImpossibleScoreError, match="1.06 times its ceiling 0.500"):
        high.require_possible()


def test_neurons_that_say_nothing_have_no_ratio_and_constant_ones_do_not_count() -> None:
    dead = np.c_[MEAN[:, :4], np.ones(N)]
    found = predictivity(LAYER, dead, PredictivityConfig(n_components=3))
    limit = Ceiling(np.array([0.9, 0.8, 0.0, -0.1, 0.0]))
    assert ceiled(found, limit).reliability == pytest.approx(0.4)
    assert np.isnan(ratio_by_neuron(found, limit)).tolist() == [False, False, True, True, True]
    nothing = ceiled(0.3, Ceiling(np.zeros(2)))
    assert nothing.ratio is nothing.explained is None and "repeats agree by 0" in nothing.missing
    with pytest.raises(ValueError, match="of 4 neurons, expected 5"):
        ceiled(found, Ceiling(np.ones(4)))
