"""Trials by image: what they cost, and that they say what an array with gaps says."""

import numpy as np
import pytest

from predictive_model.recordings.recording import Recording
from predictive_model.recordings.repeats import Repeats

COUNTS = np.array([2, 0, 3, 1])


def repeats():
    """Six trials of two neurons, numbered."""
    return Repeats(np.arange(12.0).reshape(6, 2) ** 2, COUNTS)


def test_both_forms_hold_the_same_trials():
    padded = repeats().padded()
    assert padded.shape == (4, 3, 2)
    assert (np.isfinite(padded).all(2).sum(1) == COUNTS).all()
    again = Repeats.of(padded)
    np.testing.assert_array_equal(again.values, repeats().values)
    np.testing.assert_array_equal(again.counts, COUNTS)
    assert Repeats.of(again) is again


@pytest.mark.filterwarnings("error")
def test_means_and_variances_are_those_of_each_image():
    trials = repeats()
    images = np.split(trials.values, np.cumsum(COUNTS)[:-1])
    for image, mean, variance in zip(images, trials.mean(), trials.variance(), strict=True):
        np.testing.assert_allclose(mean, image.mean(0) if len(image) else [np.nan] * 2)
        np.testing.assert_allclose(variance, image.var(0, ddof=1) if len(image) > 1 else np.nan)


def test_images_neurons_and_repeats_are_chosen_as_in_an_array():
    trials = repeats()
    padded = trials.padded()
    np.testing.assert_array_equal(trials.of_images(np.array([2, 0])).padded(), padded[[2, 0]])
    shown = trials.of_images(np.array([0, 2, 3]))
    np.testing.assert_array_equal(shown.repeat(0), padded[[0, 2, 3], 0])
    np.testing.assert_array_equal(
        shown.without(1).padded(), np.delete(padded[[0, 2, 3]], 1, axis=1)
    )
    np.testing.assert_array_equal(trials.between(1, 3).counts, [1, 0, 2, 0])
    np.testing.assert_array_equal(
        trials.between(COUNTS - 1, COUNTS).values, trials.values[[1, 4, 5]]
    )
    with pytest.raises(ValueError, match="t: 1, expected less than 1, the fewest repeats"):
        shown.repeat(1)


def test_shuffled_trials_stay_with_their_image():
    trials = repeats()
    other = trials.shuffled(np.random.default_rng(1))
    assert (other.values != trials.values).any()
    np.testing.assert_allclose(other.sums(), trials.sums())


def test_rows_that_no_image_counts_are_refused():
    with pytest.raises(ValueError, match=r"values: shape \(6, 2\), expected \(5, neuron\)"):
        Repeats(repeats().values, np.array([2, 3]))


def test_one_image_shown_often_costs_no_room_for_the_others():
    """1,000 images shown once and one shown fifty times: 1,050 trials, not 50,050."""
    index = np.r_[np.arange(1000), np.full(50, 1000)]
    rng = np.random.default_rng(0)
    recording = Recording(
        name="scan",
        images=rng.integers(0, 256, (1001, 1, 2, 2)).astype(np.float32),
        image_index=rng.permutation(index),
        responses=rng.poisson(2.0, (1050, 3)),
    )
    trials = recording.grouped_trials(np.arange(1001))
    assert trials.values.shape == (1050, 3)
    means = [recording.responses[recording.image_index == i].mean(0) for i in range(1001)]
    np.testing.assert_allclose(trials.mean(), means, rtol=1e-6)
