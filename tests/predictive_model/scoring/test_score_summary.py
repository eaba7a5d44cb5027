"""Scores of populations: their values, intervals and ceilings."""

import numpy as np
import pytest

from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.score_summary import Score, summarise, summarise_over_images
from predictive_model.scoring.scores import EncoderScores, score_trials
from tests.predictive_model.scoring.repeats import UNEQUAL, simulate

NAMES = {
    "single_trial",
    "to_average",
    "feve",
    "cc_norm",
    "fraction_oracle_slope",
    "fraction_oracle_ratio",
}


@pytest.fixture(scope="module")
def scores():
    known = simulate("poisson", 0.2, UNEQUAL[:60], n_neurons=40)
    predicted = np.where(np.isnan(known.trials), np.nan, known.signal[:, None] ** 2)
    return score_trials(known.trials, predicted)


def test_every_score_has_its_interval_and_its_ceiling(scores):
    found = summarise(scores)
    assert set(found) == NAMES
    for score in found.values():
        assert score.low < score.value < score.high
        assert score.ceiling is not None
    ceilings = scores.ceilings
    assert found["single_trial"].ceiling == pytest.approx(ceilings.single_trial.mean())
    assert found["to_average"].ceiling == pytest.approx(ceilings.cc_max.mean())
    assert found["feve"].ceiling == found["cc_norm"].ceiling == 1


def test_correlations_are_summarised_by_means_and_ratios_by_medians(scores):
    found = summarise(scores)
    assert found["single_trial"].value == pytest.approx(scores.single_trial.mean())
    assert found["to_average"].value == pytest.approx(scores.to_average.mean())
    assert found["feve"].value == pytest.approx(np.nanmean(scores.feve))
    assert found["cc_norm"].value == pytest.approx(np.nanmedian(scores.cc_norm))
    ratio = np.nanmedian(scores.fraction_oracle_ratio)
    assert found["fraction_oracle_ratio"].value == pytest.approx(ratio)
    assert found["fraction_oracle_slope"].value == scores.fraction_oracle_slope


def test_the_number_of_neurons_that_count_stands_beside_the_score(scores):
    found = summarise(scores)
    kept = int((scores.ceilings.fev >= 0.15).sum())
    assert 0 < kept < 40
    assert found["feve"].n == kept
    assert found["cc_norm"].n == int((scores.ceilings.cc_max > 0).sum())
    assert found["single_trial"].n == found["to_average"].n == 40


def test_the_fraction_of_oracle_of_the_truth_is_its_ceiling_and_more_than_1():
    known = simulate("gaussian", 0.3, np.full(600, 3))
    predicted = np.repeat(known.signal[:, None], 3, axis=1)
    found = summarise(score_trials(known.trials, predicted, n_splits=1), n_resamples=20)
    # The root of FEV over the oracle: sqrt((s + e / 2) / s) with e / s = 7 / 3.
    for name in ("fraction_oracle_slope", "fraction_oracle_ratio"):
        assert found[name].ceiling == pytest.approx(np.sqrt(1 + 7 / 6), rel=0.02)
        assert found[name].value == pytest.approx(found[name].ceiling, rel=0.02)


def test_without_repeats_there_is_one_score_and_no_ceiling():
    found = summarise(EncoderScores(np.linspace(0.1, 0.5, 30)))
    assert set(found) == {"single_trial"}
    assert found["single_trial"].value == pytest.approx(0.3)
    assert found["single_trial"].ceiling is None
    assert str(found["single_trial"]).endswith(", n = 30")


@pytest.mark.filterwarnings("error")
def test_a_population_of_noise_has_no_feve_and_the_rest_stays_finite():
    rng = np.random.default_rng(0)
    trials, predicted = rng.normal(size=(200, 6, 20)), rng.normal(size=(200, 1, 20))
    found = summarise(score_trials(trials, predicted.repeat(6, axis=1)))
    assert found["feve"].n == 0
    assert np.isnan([found["feve"].value, found["feve"].low]).all()
    assert 0 < found["cc_norm"].n < 20
    for name in NAMES - {"feve"}:
        assert abs(found[name].value) < 2


def test_a_score_reads_as_a_sentence():
    assert str(Score(0.286, 0.25, 0.32, 50, 0.548)) == "0.286 (0.250 to 0.320) of 0.548, n = 50"


def test_neurons_alike_err_together_which_only_resampled_images_show():
    """30 neurons of one signal: r = .6 from 50 images is off by (1 - r^2) / sqrt(50) in each."""
    rng = np.random.default_rng(4)
    signal = rng.standard_normal(50)
    predicted = 0.6 * signal + 0.8 * rng.standard_normal(50)
    trials = signal[:, None, None] + 0.1 * rng.standard_normal((50, 2, 30))
    predicted = np.broadcast_to(predicted[:, None, None], trials.shape)
    of_neurons = summarise(score_trials(trials, predicted))["to_average"]
    of_images = summarise_over_images(trials, predicted, n_resamples=200)["to_average"]
    assert of_images.value == of_neurons.value
    r = correlation(predicted[:, 0], trials.mean(1)).mean()
    width = 2 * 1.96 * (1 - r**2) / np.sqrt(50)
    assert of_images.high - of_images.low == pytest.approx(width, rel=0.4)
    assert of_neurons.high - of_neurons.low < 0.05 * width
    assert of_images.low < 0.6 < of_images.high


def test_an_image_shown_once_leaves_one_score_whichever_images_are_drawn():
    known = simulate("poisson", 0.2, np.r_[np.full(11, 4), 1], n_neurons=5)
    predicted = np.where(np.isnan(known.trials), np.nan, known.signal[:, None])
    found = summarise_over_images(known.trials, predicted, n_resamples=40)
    assert set(found) == {"single_trial"}
    score = found["single_trial"]
    assert score.low < score.value < score.high
    assert score.ceiling is None


def test_intervals_over_images_are_of_the_same_scores(scores):
    known = simulate("poisson", 0.2, UNEQUAL[:60], n_neurons=40)
    predicted = np.where(np.isnan(known.trials), np.nan, known.signal[:, None] ** 2)
    found = summarise_over_images(known.trials, predicted, n_resamples=20)
    expected = summarise(scores, n_resamples=20)
    for name in NAMES:
        assert found[name].value == expected[name].value
        assert (found[name].n, found[name].ceiling) == (expected[name].n, expected[name].ceiling)
        assert found[name].low < found[name].high
