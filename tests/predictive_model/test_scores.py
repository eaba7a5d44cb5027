"""Scores of predictions beside their ceilings."""

import numpy as np
import pytest

from predictive_model.correlation import correlation
from predictive_model.recording import Recording
from predictive_model.reliability import oracle_correlation
from predictive_model.scores import fraction_oracle, score_predictions

N_REPEATED, N_REPEATS = 40, 5


@pytest.fixture(scope="module")
def rates():
    return np.random.default_rng(1).gamma(2.0, 1.0, (100, 6))


@pytest.fixture(scope="module")
def scan(rates):
    rng = np.random.default_rng(0)
    times = np.where(np.arange(100) < N_REPEATED, N_REPEATS, 1)
    index = rng.permutation(np.repeat(np.arange(100), times))
    return Recording(
        name="scan",
        images=rng.integers(0, 256, (100, 1, 4, 4)).astype(np.uint8),
        image_index=index,
        responses=rng.poisson(rates[index]).astype(np.float32),
    )


def shown(scan, tier):
    return scan.image_index[scan.trials_of(tier)]


def test_scores_are_correlations_with_trials_and_with_their_means(scan, rates):
    scores = score_predictions(scan, "test", rates[shown(scan, "test")])
    trials = scan.repeated_trials(np.arange(N_REPEATED))
    expected = correlation(rates[:N_REPEATED], trials.mean(1))
    np.testing.assert_allclose(scores.to_average, expected, rtol=1e-6)
    wide = np.repeat(rates[:N_REPEATED], N_REPEATS, axis=0)
    expected = correlation(wide, trials.reshape(-1, 6))
    np.testing.assert_allclose(scores.single_trial, expected, rtol=1e-6)
    np.testing.assert_allclose(scores.oracle, oracle_correlation(trials))


def test_means_are_predicted_better_than_trials(scan, rates):
    scores = score_predictions(scan, "test", rates[shown(scan, "test")])
    assert (scores.to_average > scores.single_trial).all()


def test_the_oracle_as_a_prediction_has_a_fraction_oracle_of_1(scan):
    rows = scan.trials_of("test")
    responses, index = scan.responses[rows].astype(np.float64), shown(scan, "test")
    others = np.empty_like(responses)
    for trial, image in enumerate(index):
        same = index == image
        same[trial] = False
        others[trial] = responses[same].mean(0)
    scores = score_predictions(scan, "test", others)
    np.testing.assert_allclose(scores.single_trial, scores.oracle)
    assert scores.fraction_oracle == pytest.approx(1)


def test_the_truth_predicts_better_than_the_oracle(scan, rates):
    assert score_predictions(scan, "test", rates[shown(scan, "test")]).fraction_oracle > 1


def test_constant_predictions_score_0(scan):
    predicted = np.full((N_REPEATED * N_REPEATS, 6), 0.3, np.float32)
    scores = score_predictions(scan, "test", predicted)
    np.testing.assert_array_equal(scores.single_trial, np.zeros(6))
    np.testing.assert_array_equal(scores.to_average, np.zeros(6))
    assert scores.fraction_oracle == 0


def test_without_repeats_there_is_no_oracle(scan, rates):
    scores = score_predictions(scan, "validation", rates[shown(scan, "validation")])
    assert (scores.single_trial > 0).any()
    assert scores.to_average is scores.oracle is scores.fraction_oracle is None


def test_predictions_of_other_trials_are_refused(scan, rates):
    with pytest.raises(ValueError, match=r"predicted: shape \(100, 6\), expected \(200, 6\), one"):
        score_predictions(scan, "test", rates)


def test_fraction_oracle_is_a_slope_through_the_origin():
    oracle = np.array([0.2, 0.4, 0.8])
    assert fraction_oracle(0.7 * oracle, oracle) == pytest.approx(0.7)
    score = np.array([0.3, 0.1, 0.5])
    slope = np.linalg.lstsq(oracle[:, None], score, rcond=None)[0][0]
    assert fraction_oracle(score, oracle) == pytest.approx(slope)


def test_where_the_oracle_predicts_nothing_there_is_no_fraction_of_it():
    assert fraction_oracle(np.ones(3), np.zeros(3)) is None
