"""The similarity a fitted encoder sees is nearer to the noise-free one than single trials are.

Similarity is Eq. 2 of Li et al. 2019 on the 100 images of the test tier, which the encoder has not
seen. The true one is that of the noise-free rates at mean gaze and behaviour, with the same weights
w of Eq. 1 as in single trials; the model's weights are w v of Eq. 6. :mod:`tests.simulated_scan`
says what was simulated.
"""

import numpy as np
import pytest

from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.predictability import model_weight
from regularized_training.teachers.similarity import (
    model_similarity,
    oracle_similarity,
    similarity,
    similarity_correlation,
    similarity_quality,
)
from tests.simulated_scan import cortex, fitted, recording


@pytest.fixture(scope="module")
def images():
    return recording().images_of("test")


@pytest.fixture(scope="module")
def trials(images):
    return recording().repeated_trials(images)


@pytest.fixture(scope="module")
def weight():
    return reliability(recording()).weight


@pytest.fixture(scope="module")
def true(images, weight):
    return similarity(cortex().rates(recording().images[images]), weight)


def test_model_similarity_is_nearer_to_the_truth_than_single_trials(images, trials, weight, true):
    predicted = fitted().predict(recording().images[images])
    model = model_similarity([predicted], [model_weight(recording(), fitted())])
    r_model = similarity_correlation(model, true)
    r_data = np.mean(
        [
            similarity_correlation(similarity(trials[:, t], weight), true)
            for t in range(trials.shape[1])
        ]
    )
    assert 0.3 < r_data < 0.6  # noisy, as recordings are
    assert r_model > r_data + 0.2


def test_oracle_similarity_is_nearer_to_the_truth_than_single_trials(trials, weight, true):
    r_oracle = similarity_correlation(oracle_similarity(trials, weight), true)
    r_data = similarity_correlation(similarity(trials[:, 0], weight), true)
    assert r_oracle > r_data + 0.15


def test_quality_ranks_model_and_single_trials_as_the_truth_does():
    """Fig. 1D of Li et al. 2019 (0.73 for the model and 0.39 for the data), with no truth known."""
    quality = similarity_quality(recording(), fitted())
    assert 0.3 < quality.data_correlation < 0.6
    assert quality.model_correlation > quality.data_correlation + 0.1
    assert quality.model_correlation < quality.oracle_ceiling < 1
    assert quality.n_repeats == 6


@pytest.mark.parametrize(
    ("missing", "margin", "margin_of_truth"), [("shifter", 0.03, 0.05), ("modulator", None, 0.005)]
)
def test_similarity_is_worse_without(missing, margin, margin_of_truth, true):
    """What the animal looks at and how it runs would else count as what the image does.

    What running adds is less than the noise of six repeats, so that the truth alone shows it: .01
    to .03, as a fit without a modulator stops at another epoch with every other rounding.
    """
    whole = similarity_quality(recording(), fitted())
    ablated = similarity_quality(recording(), fitted(**{missing: False}))
    if margin is not None:
        assert ablated.model_correlation < whole.model_correlation - margin
    ablated_truth, whole_truth = (
        similarity_correlation(quality.model, true) for quality in (ablated, whole)
    )
    assert ablated_truth < whole_truth - margin_of_truth
