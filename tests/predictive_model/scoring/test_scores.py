"""Scores of predictions beside their ceilings."""

import numpy as np
import pytest
from neuralpredictors.measures import np_functions

from predictive_model.recordings.recording import Recording
from predictive_model.scoring.ceilings import ceilings, signal_power
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.reliability import oracle_correlation
from predictive_model.scoring.scores import (
    arranged,
    fraction_explainable_variance_explained,
    fraction_oracle_ratio,
    fraction_oracle_slope,
    normalised_correlation,
    score_predictions,
    score_trials,
)
from tests.predictive_model.scoring.repeats import EQUAL, UNEQUAL, assert_mean_is, simulate

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
    assert scores.fraction_oracle_slope == pytest.approx(1)


def test_the_truth_predicts_better_than_the_oracle(scan, rates):
    scores = score_predictions(scan, "test", rates[shown(scan, "test")])
    assert scores.fraction_oracle_slope > 1
    assert np.median(scores.fraction_oracle_ratio) > 1


def test_constant_predictions_score_0(scan):
    predicted = np.full((N_REPEATED * N_REPEATS, 6), 0.3, np.float32)
    scores = score_predictions(scan, "test", predicted)
    np.testing.assert_array_equal(scores.single_trial, np.zeros(6))
    np.testing.assert_array_equal(scores.to_average, np.zeros(6))
    assert scores.fraction_oracle_slope == 0


def test_without_repeats_there_is_no_oracle(scan, rates):
    scores = score_predictions(scan, "validation", rates[shown(scan, "validation")])
    assert (scores.single_trial > 0).any()
    assert scores.to_average is scores.feve is scores.cc_norm is None
    assert scores.oracle is scores.ceilings is None
    assert scores.fraction_oracle_slope is scores.fraction_oracle_ratio is None


def test_predictions_of_other_trials_are_refused(scan, rates):
    with pytest.raises(ValueError, match=r"predicted: shape \(100, 6\), expected \(200, 6\), one"):
        score_predictions(scan, "test", rates)


def test_predictions_that_are_not_finite_are_refused(scan, rates):
    predicted = rates[shown(scan, "test")]
    predicted[7, 2] = np.nan
    with pytest.raises(ValueError, match="predicted: 1 trials hold .*, the first is trial 7"):
        score_predictions(scan, "test", predicted)


def test_a_tier_without_trials_is_refused(scan):
    tested = scan.with_tiers(np.where(scan.tier == "validation", "train", scan.tier))
    with pytest.raises(ValueError, match="tier: no trial of 'scan' is in the validation tier"):
        score_predictions(tested, "validation", np.empty((0, 6)))


def test_trials_and_their_predictions_are_arranged_alike(scan):
    rows = scan.trials_of("test")
    trials, predicted = arranged(scan, "test", 10 * scan.responses[rows])
    np.testing.assert_array_equal(trials.padded(), scan.repeated_trials())
    np.testing.assert_array_equal(predicted.values, 10 * trials.values)


# -- by hand -------------------------------------------------------------------------------

# Three images, two repeats, one neuron: means 1, 2 and 6, predicted to be 1, 2 and 3.
TRIALS = np.array([[[0.0], [2]], [[2], [2]], [[5], [7]]])
PREDICTED = np.array([[[1.0], [1]], [[2], [2]], [[3], [3]]])


def test_correlations_by_hand():
    """Trials deviate from 3 by -3 -1 -1 -1 2 4, predictions from 2 by -1 -1 0 0 1 1."""
    scores = score_trials(TRIALS, PREDICTED)
    assert scores.single_trial[0] == pytest.approx((3 + 1 + 2 + 4) / np.sqrt(32 * 4))
    # Means deviate by -2 -1 3, their predictions by -1 0 1.
    assert scores.to_average[0] == pytest.approx((2 + 3) / np.sqrt(14 * 2))


def test_cc_norm_by_hand():
    """The means' variance is 14 / 2, of which (2 / 2 + 0 / 2 + 2 / 2) / 3 = 2 / 3 is noise."""
    expected = 5 / np.sqrt(28) / np.sqrt((7 - 2 / 3) / 7)
    assert normalised_correlation(TRIALS, PREDICTED)[0] == pytest.approx(expected)


def test_feve_by_hand():
    """Squared errors 1 1 0 0 4 16 are 22 / 6 on average; noise 4 / 3; total variance 32 / 5."""
    expected = 1 - (22 / 6 - 4 / 3) / (32 / 5 - 4 / 3)
    found = fraction_explainable_variance_explained(TRIALS, PREDICTED)
    assert found[0] == pytest.approx(expected)


def test_feve_of_unequal_repeats_by_hand():
    """Trials 0 2 4 4 7 8 9 have sum 34 and squares of sum 230; errors are 4 0 0 0 0 1 4."""
    trials = np.array([[0, 2, np.nan], [4, 4, np.nan], [7, 8, 9]])[:, :, None]
    predicted = np.array([[2, 2, np.nan], [4, 4, np.nan], [7, 7, 7]])[:, :, None]
    total = (230 - 34**2 / 7) / 6
    noise = (2 * 2 + 2 * 0 + 3 * 1) / 7
    expected = 1 - (9 / 7 - noise) / (total - noise)
    found = fraction_explainable_variance_explained(trials, predicted)
    assert found[0] == pytest.approx(expected)


def test_fraction_oracle_slope_is_a_slope_through_the_origin():
    """(.3 * .2 + .1 * .4 + .5 * .8) / (.04 + .16 + .64) = .5 / .84."""
    oracle = np.array([0.2, 0.4, 0.8])
    assert fraction_oracle_slope(0.7 * oracle, oracle) == pytest.approx(0.7)
    score = np.array([0.3, 0.1, 0.5])
    assert fraction_oracle_slope(score, oracle) == pytest.approx(0.5 / 0.84)
    slope = np.linalg.lstsq(oracle[:, None], score, rcond=None)[0][0]
    assert fraction_oracle_slope(score, oracle) == pytest.approx(slope)


def test_fraction_oracle_ratio_is_one_for_each_neuron_with_a_positive_oracle():
    oracle = np.array([0.2, 0.4, 0.8, 0.0, -0.1])
    found = fraction_oracle_ratio(np.array([0.3, 0.1, 0.4, 0.2, 0.2]), oracle)
    np.testing.assert_allclose(found, [1.5, 0.25, 0.5, np.nan, np.nan])


def test_where_the_oracle_predicts_nothing_there_is_no_fraction_of_it():
    assert fraction_oracle_slope(np.ones(3), np.zeros(3)) is None
    assert np.isnan(fraction_oracle_ratio(np.ones(3), np.zeros(3))).all()


def test_with_equal_repeats_neuralpredictors_has_the_same_feve():
    known = simulate("poisson", 0.5, np.full(50, 6), n_neurons=8)
    predicted = np.repeat(0.8 * known.signal[:, None], 6, axis=1)
    expected = np_functions.fev(list(known.trials), list(predicted))
    found = fraction_explainable_variance_explained(known.trials, predicted)
    np.testing.assert_allclose(found, expected)


# -- known neurons, known predictions ------------------------------------------------------


def wide(values, trials):
    """(image, neuron) predictions for each trial there is."""
    return np.where(np.isnan(trials), np.nan, values[:, None])


def correlated(signal, rho, seed=7):
    """(image, neuron) of correlation rho with the signal, up to sampling; of another unit."""
    other = np.random.default_rng(seed).standard_normal(signal.shape)
    z = (signal - signal.mean(0)) / signal.std(0)
    return 100 + 3 * (rho * z + np.sqrt(1 - rho**2) * other)


@pytest.mark.parametrize("repeats", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize(("fev", "rho"), [(0.15, 0.5), (0.4, 0.9), (0.8, 0.2)])
@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_scores_of_a_model_with_known_correlation_to_the_signal(kind, fev, rho, repeats):
    """CC_norm is rho, whatever noise and repeats; to_average is rho times its ceiling."""
    known = simulate(kind, fev, repeats)
    values = correlated(known.signal, rho)
    scores = score_trials(known.trials, wide(values, known.trials), n_splits=1)
    assert_mean_is(scores.single_trial, rho * np.sqrt(known.fev))
    assert_mean_is(scores.to_average, rho * np.sqrt(known.reliability))
    # 1 / sqrt(SP) is too large by 3 / 8 of SP's relative variance.
    power = signal_power(known.trials) / known.signal_variance
    assert_mean_is(scores.cc_norm, rho, bias=2 / 600 + 3 / 8 * power.var() * rho)


def test_cc_norm_depends_neither_on_noise_nor_on_repeats_where_to_average_does():
    norm, to_average = [], []
    for fev, repeats in ((0.15, np.full(600, 2)), (0.8, np.full(600, 8))):
        known = simulate("gaussian", fev, repeats)
        predicted = wide(correlated(known.signal, 0.7), known.trials)
        scores = score_trials(known.trials, predicted, n_splits=1)
        norm.append(np.median(scores.cc_norm))
        to_average.append(scores.to_average.mean())
    assert norm == pytest.approx([0.7, 0.7], abs=0.02)
    assert to_average[0] < 0.6 * to_average[1]


@pytest.mark.parametrize("repeats", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("fev", [0.35, 0.8])
@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_feve_of_a_model_with_known_error(kind, fev, repeats):
    """The error of c (s - m) + m + d has variance (1 - c)^2 s^2 + d^2 beside the noise."""
    known = simulate(kind, fev, repeats)
    size = np.sqrt(known.signal_variance)
    error = 0.4 * size * np.random.default_rng(1).standard_normal(known.signal.shape)
    for c in (1.0, 0.5):
        mean = known.signal.mean(0)
        predicted = wide(mean + c * (known.signal - mean) + error, known.trials)
        found = fraction_explainable_variance_explained(known.trials, predicted)
        assert_mean_is(found, 1 - (1 - c) ** 2 - 0.4**2)


def test_the_true_signal_reaches_its_ceilings_and_exceeds_the_oracle():
    known = simulate("poisson", 0.35, UNEQUAL)
    scores = score_trials(known.trials, wide(known.signal, known.trials), n_splits=10)
    assert_mean_is(scores.single_trial - scores.ceilings.single_trial, 0)
    assert_mean_is(scores.to_average - scores.ceilings.cc_max, 0)
    assert_mean_is(scores.to_average - scores.ceilings.split_half, 0)
    assert_mean_is(scores.feve, 1)
    assert_mean_is(scores.cc_norm, 1)
    assert (scores.single_trial > scores.oracle).mean() > 0.95


def test_a_model_that_knows_more_than_the_image_exceeds_every_ceiling():
    """Noise that has a cause which the encoder sees, as running or gaze, is no bound to it."""
    known = simulate("gaussian", 0.35, EQUAL)
    scores = score_trials(known.trials, known.trials, n_splits=1)
    assert scores.feve.min() > 1.5
    assert (scores.cc_norm > 1).all()


# -- neurons that have no score ------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_neurons_without_signal_have_no_cc_norm_and_no_feve():
    trials = np.random.default_rng(0).normal(size=(100, 4, 60))
    trials[..., 0] = 0.1
    predicted = np.random.default_rng(1).normal(size=(100, 1, 60)).repeat(4, axis=1)
    scores = score_trials(trials, predicted)
    power = signal_power(trials)
    assert 10 < (power <= 0).sum() < 50
    np.testing.assert_array_equal(np.isnan(scores.cc_norm), power <= 0)
    np.testing.assert_array_equal(np.isnan(scores.feve), scores.ceilings.fev < 0.15)
    assert np.isnan(scores.feve).sum() > 50
    assert np.isnan([scores.cc_norm[0], scores.feve[0], scores.fraction_oracle_ratio[0]]).all()
    assert np.isfinite(scores.single_trial).all()
    assert np.isfinite(scores.to_average).all()


@pytest.mark.parametrize("threshold", [0.0, 0.15, 0.4])
def test_feve_has_the_neurons_above_its_threshold(threshold):
    trials = simulate("poisson", 0.3, UNEQUAL[:60]).trials
    found = fraction_explainable_variance_explained(trials, trials, threshold=threshold)
    fev = ceilings(trials, n_splits=1).fev
    np.testing.assert_array_equal(np.isfinite(found), (fev >= threshold) & (fev > 0))


@pytest.mark.parametrize("threshold", [-0.1, 1.0, np.nan])
def test_a_threshold_that_is_no_fraction_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold: .*, expected 0 to 1"):
        fraction_explainable_variance_explained(TRIALS, PREDICTED, threshold=threshold)
