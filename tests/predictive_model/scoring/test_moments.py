"""Scores of any selection of images, without a look at their trials."""

import numpy as np
import pytest

from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.moments import ImageStatistics
from predictive_model.scoring.score_summary import summaries_of_moments, summarise
from predictive_model.scoring.scores import paired, score_trials
from tests.predictive_model.scoring.repeats import UNEQUAL, simulate


@pytest.mark.filterwarnings("error")
def test_weights_of_images_say_what_their_trials_say():
    """An image of weight 2 counts as two images; neuron 0 responds to the first image only."""
    known = simulate("poisson", 0.3, UNEQUAL[:24], n_neurons=6)
    trials = known.trials
    trials[..., 0] = np.where(np.isnan(trials[..., 0]), np.nan, 0)
    trials[0, 0, 0] = 3
    rng = np.random.default_rng(0)
    predicted = np.where(np.isnan(trials), np.nan, known.signal[:, None] + rng.random(trials.shape))
    drawn = np.array([rng.integers(0, 24, 24), rng.integers(1, 24, 24), np.arange(24)])
    weights = np.stack([np.bincount(images, minlength=24) for images in drawn]).astype(float)
    trials, predicted = paired(trials, predicted)
    found = summaries_of_moments(ImageStatistics.of(trials, predicted).moments(weights))
    for k, images in enumerate(drawn):
        scores = score_trials(trials.of_images(images), predicted.of_images(images), n_splits=1)
        expected = {n: score.value for n, score in summarise(scores, n_resamples=20).items()}
        assert {n: values[k] for n, values in found.items()} == pytest.approx(expected, rel=1e-9)


def test_moments_of_responses_alone_have_no_scores():
    moments = ImageStatistics.of(Repeats(np.eye(4), np.array([2, 2]))).moments()
    assert moments.oracle.shape == (1, 4)
    with pytest.raises(ValueError, match="predicted: these moments are of responses only"):
        _ = moments.to_average
