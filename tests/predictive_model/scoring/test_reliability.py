"""Eq. 1 of Li et al. 2019 and the oracle correlation, against closed forms and known neurons."""

import numpy as np
import pytest

from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.reliability import (
    oracle_correlation,
    reliability,
    signal_and_noise,
    signal_to_noise,
)

# Two images, three repeats, two neurons; the second is silent.
BY_HAND = np.stack([[[1.0, 2, 3], [5, 5, 8]], np.zeros((2, 3))], axis=2)


def gaussian(n_images, n_repeats, signal, noise, seed=0):
    """(image, repeat, neuron) trials of neurons with the given standard deviations."""
    rng = np.random.default_rng(seed)
    signal, noise = np.broadcast_arrays(np.atleast_1d(signal), np.atleast_1d(noise))
    mean = signal * rng.standard_normal((n_images, 1, len(signal)))
    return 10 + mean + noise * rng.standard_normal((n_images, n_repeats, len(signal)))


def with_missing(trials, kept):
    """The first ``kept[i]`` repeats of image i, NaN for the others."""
    out = trials.copy()
    out[np.arange(trials.shape[1]) >= np.asarray(kept)[:, None]] = np.nan
    return out


def test_signal_and_noise_by_hand():
    """Means 2 and 6 have variance 8; variances 1 and 3 have mean 2; so w = 2."""
    signal, noise = signal_and_noise(BY_HAND)
    np.testing.assert_allclose(signal**2, [8, 0])
    np.testing.assert_allclose(noise**2, [2, 0])
    np.testing.assert_allclose(signal_to_noise(signal, noise), [2, 0])
    # The means of three repeats hold 2 / 3 of noise.
    signal, _ = signal_and_noise(BY_HAND, bias_correct=True)
    np.testing.assert_allclose(signal**2, [8 - 2 / 3, 0])


def test_a_silent_neuron_has_weight_0():
    np.testing.assert_array_equal(signal_to_noise(np.zeros(1), np.zeros(1)), [0])
    trials = gaussian(20, 4, 1, [1, 1])
    trials[..., 1] = 0
    signal, noise = signal_and_noise(trials)
    weight = signal_to_noise(signal, noise)
    assert weight[0] > 0
    assert weight[1] == 0


def test_a_neuron_that_fires_the_same_always_has_weight_0():
    trials = np.full((20, 7, 1), np.float32(0.1))
    assert signal_to_noise(*signal_and_noise(trials))[0] == 0


def test_weight_is_a_ratio_without_units():
    trials = gaussian(30, 5, [1, 2], [2, 1])
    expected = signal_to_noise(*signal_and_noise(trials))
    np.testing.assert_allclose(signal_to_noise(*signal_and_noise(1e-6 * trials + 3)), expected)


def test_known_signal_and_noise_are_recovered():
    signal, noise = np.array([2.0, 1, 0.5]), np.array([1.0, 1, 2])
    found = signal_and_noise(gaussian(4000, 10, signal, noise), bias_correct=True)
    np.testing.assert_allclose(found, [signal, noise], rtol=0.05)


def test_without_correction_signal_is_too_large_by_noise_over_repeats_and_with_it_unbiased():
    """Mean of sigma^2 over 2,000 neurons alike, of unequal repeats."""
    trials = gaussian(30, 6, np.full(2000, 1.0), 2.0)
    trials = with_missing(trials, np.where(np.arange(30) < 15, 2, 6))
    biased, corrected = (
        signal_and_noise(trials, bias_correct=flag)[0] ** 2 for flag in (False, True)
    )
    left = 4 * (1 / 2 + 1 / 6) / 2
    assert biased.mean() == pytest.approx(1 + left, rel=0.04)
    assert corrected.mean() == pytest.approx(1, rel=0.08)


def test_corrected_signal_is_never_negative():
    trials = gaussian(5, 2, np.zeros(200), 1.0)
    signal, _ = signal_and_noise(trials, bias_correct=True)
    assert (signal >= 0).all()
    assert (signal == 0).any()


def test_missing_repeats_do_not_count():
    kept = np.array([2, 5, 3, 4, 2, 5])
    trials = gaussian(6, 5, [1, 2], [1, 1])
    lists = [t[:n] for t, n in zip(trials, kept, strict=True)]
    means = np.array([t.mean(0) for t in lists])
    variances = np.array([t.var(0, ddof=1) for t in lists])
    signal, noise = signal_and_noise(with_missing(trials, kept))
    np.testing.assert_allclose(signal**2, means.var(0, ddof=1))
    np.testing.assert_allclose(noise**2, variances.mean(0))


def test_columns_of_missing_repeats_change_nothing():
    trials = gaussian(8, 3, [1, 2], [1, 1])
    wider = np.concatenate([trials, np.full((8, 2, 2), np.nan)], axis=1)
    np.testing.assert_allclose(signal_and_noise(wider), signal_and_noise(trials))
    np.testing.assert_allclose(oracle_correlation(wider), oracle_correlation(trials))


# -- oracle --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_repeats", [2, 5])
def test_oracle_correlation_is_its_closed_form(n_repeats):
    """cov = s^2, var of a trial = s^2 + e^2, var of the others' mean = s^2 + e^2 / (n - 1)."""
    signal, noise = np.array([2.0, 1, 0.5, 0]), np.array([1.0, 1, 2, 1])
    s, e = signal**2, noise**2
    expected = s / np.sqrt((s + e) * (s + e / (n_repeats - 1)))
    found = oracle_correlation(gaussian(6000, n_repeats, signal, noise))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_oracle_correlation_is_its_literal_double_loop():
    kept = np.array([2, 5, 3, 4, 2, 5])
    trials = gaussian(6, 5, [1, 2], [1, 1])
    others, own = [], []
    for image, n in zip(trials, kept, strict=True):
        for t in range(n):
            own.append(image[t])
            others.append(np.delete(image[:n], t, axis=0).mean(0))
    expected = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(np.transpose(others), np.transpose(own), strict=True)
    ]
    np.testing.assert_allclose(oracle_correlation(with_missing(trials, kept)), expected)


def test_oracle_of_noiseless_neurons_is_1_and_of_silent_ones_0():
    trials = gaussian(20, 3, [1, 1], 0)
    trials[..., 1] = 0
    np.testing.assert_allclose(oracle_correlation(trials), [1, 0], atol=1e-12)


@pytest.mark.parametrize("estimate", [signal_and_noise, oracle_correlation])
def test_images_shown_once_are_refused(estimate):
    trials = with_missing(gaussian(6, 3, 1, 1), [3, 1, 3, 3, 0, 3])
    with pytest.raises(ValueError, match="trials: 2 images have fewer than two repeats; leave"):
        estimate(trials)


# -- of a recording ------------------------------------------------------------------------


def recording(n_repeated):
    rng = np.random.default_rng(0)
    index = np.r_[np.arange(30), np.arange(n_repeated), np.arange(n_repeated)]
    return Recording(
        name="scan",
        images=rng.integers(0, 256, (30, 1, 4, 4)).astype(np.uint8),
        image_index=index,
        responses=rng.poisson(1 + index[:, None] % 4, (len(index), 3)).astype(np.float32),
    )


def test_reliability_goes_by_repeated_images_only():
    scan = recording(8)
    found = reliability(scan)
    trials = np.stack([scan.responses[scan.image_index == i] for i in range(8)])
    signal, noise = signal_and_noise(trials)
    np.testing.assert_allclose([found.signal, found.noise], [signal, noise])
    np.testing.assert_allclose(found.weight, signal / noise)
    np.testing.assert_allclose(found.oracle, oracle_correlation(trials))
    assert (found.n_images, found.n_trials) == (8, 24)
    corrected = reliability(scan, bias_correct=True)
    assert (corrected.weight < found.weight).all()


@pytest.mark.parametrize("n_repeated", [0, 1])
def test_reliability_refuses_a_recording_without_repeats(n_repeated):
    with pytest.raises(RecordingError, match=f"{n_repeated} images of 'scan' were shown more than"):
        reliability(recording(n_repeated))
