"""Eq. 2, 3 and 6 of Li et al. 2019, against literal loops and facts about similarity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictive_model.encoders.config import CoreConfig, EncoderConfig
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.predictability import model_weight
from regularized_training.teachers.similarity import (
    model_similarity,
    oracle_similarity,
    similarity,
    similarity_correlation,
    similarity_quality,
    unit_vectors,
)


def population(n=12, k=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(3.0, (n, k)).astype(np.float32), rng.random(k)


def literal(responses, weight):
    """Eq. 2 as it stands in the paper."""
    r = responses.astype(np.float64) * weight
    mean = r.mean(0)
    matrix = np.empty((len(r), len(r)))
    for i in range(len(r)):
        for j in range(len(r)):
            a, b = r[i] - mean, r[j] - mean
            matrix[i, j] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return matrix


def ragged(kept, k=6, seed=0):
    """(image, repeat, neuron) trials, the first ``kept[i]`` repeats of image i."""
    rng = np.random.default_rng(seed)
    trials = rng.poisson(3.0, (len(kept), max(kept), k)).astype(np.float32)
    trials[np.arange(max(kept)) >= np.array(kept)[:, None]] = np.nan
    return trials, rng.random(k)


def literal_oracle(trials, weight):
    """Eq. 3 as it stands: the mean over pairs of trials, a trial with itself left out."""
    shown = [(i, r) for i, image in enumerate(trials) for r in image if np.isfinite(r).all()]
    image = np.array([i for i, _ in shown])
    s = literal(np.array([r for _, r in shown]), weight)
    matrix = np.empty((len(trials), len(trials)))
    for i in range(len(trials)):
        for j in range(len(trials)):
            pairs = [
                s[t, u]
                for t in np.flatnonzero(image == i)
                for u in np.flatnonzero(image == j)
                if t != u
            ]
            matrix[i, j] = np.mean(pairs) if pairs else np.nan
    return matrix


# -- Eq. 2 ---------------------------------------------------------------------------------


def test_similarity_is_eq_2():
    responses, weight = population()
    np.testing.assert_allclose(similarity(responses, weight), literal(responses, weight), atol=2e-6)
    ones = np.ones(7)
    np.testing.assert_allclose(similarity(responses), literal(responses, ones), atol=2e-6)


def test_by_hand():
    """Around their mean (1, 1) the stimuli lie to the right, left, above and below."""
    responses = np.array([[2.0, 1], [0, 1], [1, 3], [1, -1]])
    s = similarity(responses)
    np.testing.assert_allclose(s, np.kron(np.eye(2), [[1, -1], [-1, 1]]), atol=1e-7)


@given(
    shift=st.floats(-50, 50), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 20)
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_baseline_of_a_neuron_and_scale_of_the_population_do_not_matter(shift, scale, seed):
    responses, weight = population(seed=seed)
    other = responses.astype(np.float64)
    other[:, 0] += shift
    other *= scale
    expected = similarity(responses, weight)
    np.testing.assert_allclose(similarity(other, weight), expected, atol=1e-4)
    np.testing.assert_allclose(similarity(responses, scale * weight), expected, atol=1e-5)


def test_a_neuron_of_weight_0_and_a_silent_one_do_not_count():
    responses, weight = population()
    expected = similarity(responses[:, 1:], weight[1:])
    np.testing.assert_allclose(similarity(responses, np.r_[0, weight[1:]]), expected, atol=1e-6)
    responses[:, 0] = 0
    np.testing.assert_allclose(similarity(responses, weight), expected, atol=1e-6)


def test_the_order_of_stimuli_and_of_neurons_does_not_matter():
    responses, weight = population()
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(12), rng.permutation(7)
    found = similarity(responses[rows][:, columns], weight[columns])
    np.testing.assert_allclose(found, similarity(responses, weight)[np.ix_(rows, rows)], atol=1e-6)


def test_similarity_is_a_gram_matrix_of_unit_vectors():
    responses, weight = population(n=30)
    s = similarity(responses, weight)
    assert s.dtype == np.float32
    np.testing.assert_array_equal(s, s.T)
    np.testing.assert_array_equal(np.diag(s), 1)
    assert np.abs(s).max() <= 1
    assert np.linalg.eigvalsh(s.astype(np.float64)).min() > -1e-5
    np.testing.assert_allclose(np.linalg.norm(unit_vectors(responses), axis=1), 1, rtol=1e-5)


def test_a_stimulus_that_evokes_the_mean_response_is_similar_to_none():
    """Up to rounding: there is no direction in a deviation that single precision cannot hold."""
    for seed in range(20):
        responses = np.random.default_rng(seed).random((10, 5)).astype(np.float32)
        responses[3] = np.delete(responses, 3, axis=0).mean(0, dtype=np.float64)
        s = similarity(responses, np.full(5, 0.3))
        np.testing.assert_array_equal(np.delete(s[3], 3), 0)
        assert (np.abs(np.delete(np.delete(s, 3, 0), 3, 1)) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_population_that_always_says_the_same_tells_no_stimuli_apart(dtype):
    responses = np.tile(np.array([0.1, 0.7, 1.3], dtype) * dtype(1.1), (37, 1))
    np.testing.assert_array_equal(similarity(responses), np.eye(37))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"responses: shape \(3,\), expected \(stimulus, neuron\)"):
        similarity(np.ones(3))
    with pytest.raises(
        ValueError, match=r"weight: shape \(3,\), expected \(2,\), one for each neu"
    ):
        similarity(np.ones((4, 2)), np.ones(3))


# -- Eq. 3 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [(3, 3, 3, 3), (2, 5, 3, 4), (1, 4, 2, 2), (2, 2)])
def test_oracle_similarity_is_eq_3(kept):
    trials, weight = ragged(kept)
    found = oracle_similarity(trials, weight)
    np.testing.assert_allclose(found, literal_oracle(trials, weight), atol=2e-6)
    assert np.isnan(np.diag(found)).tolist() == [n == 1 for n in kept]


def test_oracle_similarity_of_single_trials_is_that_of_eq_2():
    trials, weight = ragged((1, 1, 1, 1, 1))
    off = ~np.eye(5, dtype=bool)
    expected = similarity(trials[:, 0], weight)
    np.testing.assert_allclose(oracle_similarity(trials, weight)[off], expected[off], atol=1e-6)


def test_where_a_missing_repeat_stands_does_not_matter():
    trials, weight = ragged((2, 5, 3, 4))
    moved = np.stack([np.roll(image, i, axis=0) for i, image in enumerate(trials)])
    np.testing.assert_allclose(
        oracle_similarity(moved, weight), oracle_similarity(trials, weight), atol=1e-6
    )


def test_noise_does_not_make_an_image_similar_to_itself():
    """All images alike: their trials differ by noise only, and the diagonal shows no more."""
    rng = np.random.default_rng(0)
    trials = rng.standard_normal((10, 8, 500)).astype(np.float32)
    assert np.abs(np.diag(oracle_similarity(trials))).max() < 0.05


def test_without_noise_oracle_similarity_is_that_of_the_means():
    responses, weight = population()
    trials = np.repeat(responses[:, None], 4, axis=1)
    np.testing.assert_allclose(
        oracle_similarity(trials, weight), similarity(responses, weight), atol=1e-5
    )


def test_an_image_without_any_trial_is_refused():
    trials, _ = ragged((2, 3, 2))
    trials[1] = np.nan
    with pytest.raises(ValueError, match="trials: image 1 has no trial at all"):
        oracle_similarity(trials)


# -- comparing -----------------------------------------------------------------------------


def test_similarity_correlation_goes_over_pairs_of_different_stimuli():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 6, 6))
    a, b = a + a.T, b + b.T
    pairs = [(i, j) for i in range(6) for j in range(i)]
    expected = np.corrcoef([a[p] for p in pairs], [b[p] for p in pairs])[0, 1]
    assert similarity_correlation(a, b) == pytest.approx(expected)
    np.fill_diagonal(a, np.nan)  # as for images shown once
    assert similarity_correlation(a, b) == pytest.approx(expected)
    assert similarity_correlation(b, 2 - 3 * b) == pytest.approx(-1)


def test_a_similarity_that_is_the_same_for_all_pairs_correlates_with_none():
    assert similarity_correlation(np.eye(5), similarity(population(n=5)[0])) == 0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="expected two square matrices of a size"):
        similarity_correlation(np.eye(3), np.eye(4))
    with pytest.raises(ValueError, match="expected two square matrices of a size"):
        similarity_correlation(np.ones((3, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="2 stimuli: expected at least 3"):
        similarity_correlation(np.eye(2), np.eye(2))


# -- Eq. 6 ---------------------------------------------------------------------------------


def test_model_similarity_is_the_mean_over_scans():
    scans = [population(k=k, seed=k) for k in (5, 7, 9)]
    found = model_similarity(*zip(*scans, strict=True))
    expected = np.mean([literal(r, w) for r, w in scans], axis=0)
    np.testing.assert_allclose(found, expected, atol=3e-6)


def test_as_many_weights_as_scans_are_asked_for():
    responses, weight = population()
    for predicted, weights in (([], []), ([responses], []), ([responses], [weight, weight])):
        with pytest.raises(
            ValueError, match="expected one of each for every scan, and at least one"
        ):
            model_similarity(predicted, weights)


@pytest.fixture(scope="module")
def scan():
    """Six neurons driven by a patch each, and one that says nothing of the image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (150, 1, 10, 12)).astype(np.uint8)
    index = rng.permutation(np.r_[np.arange(150), np.tile(np.arange(25), 4), np.arange(10)])
    drive = np.stack([images[:, 0, a + 2, 2 * a : 2 * a + 2].mean(1) for a in range(6)], axis=1)
    rates = np.c_[drive[index] / 30, np.full(len(index), 2.0)]
    return Recording(
        name="scan",
        images=images,
        image_index=index,
        responses=rng.poisson(rates).astype(np.float32),
    )


@pytest.fixture(scope="module")
def fitted(scan):
    config = EncoderConfig(core=CoreConfig(layers=1, hidden_channels=4, input_kernel=5))
    return fit(scan, config, FitConfig(batch_size=32, learning_rate=0.02, max_epochs=8))


def test_quality_compares_on_repeated_test_images_a_trial_held_out_of_the_oracle(scan, fitted):
    quality = similarity_quality(scan, fitted)
    images = scan.images_of("test")
    trials, weight = scan.repeated_trials(images), reliability(scan).weight
    model = similarity(fitted.predict(scan.images[images]), model_weight(scan, fitted))
    assert quality.n_repeats == 5  # ten images were shown six times, the others five
    r_model, r_data = [], []
    for held_out in range(5):
        oracle = literal_oracle(np.delete(trials, held_out, axis=1), weight)
        r_model.append(similarity_correlation(oracle, model))
        r_data.append(similarity_correlation(oracle, literal(trials[:, held_out], weight)))
    assert quality.model_correlation == pytest.approx(np.mean(r_model), abs=1e-4)
    assert quality.data_correlation == pytest.approx(np.mean(r_data), abs=1e-4)
    np.testing.assert_allclose(quality.oracle, literal_oracle(trials, weight), atol=1e-5)
    np.testing.assert_allclose(quality.data, literal(trials[:, 0], weight), atol=1e-5)
    np.testing.assert_allclose(quality.model, model)


def test_quality_may_be_centred_on_all_images_as_eq_2_is(scan, fitted):
    quality = similarity_quality(scan, fitted, centred_on="all images")
    images, weight = scan.images_of("test"), reliability(scan).weight
    averages = [scan.responses[scan.image_index == i].mean(0) for i in range(scan.n_images)]
    first = [scan.responses[scan.image_index == i][0] for i in images]
    e = (np.array(first) - np.mean(averages, axis=0)) * weight
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    np.testing.assert_allclose(quality.data, e @ e.T, atol=1e-5)
    assert np.abs(quality.data - similarity_quality(scan, fitted).data).max() > 0.01
    model = similarity(fitted.predict(scan.images), model_weight(scan, fitted))
    np.testing.assert_allclose(quality.model, model[images[:, None], images], atol=1e-5)


def test_the_ceiling_of_trials_without_noise_is_1(scan, fitted):
    drive = np.random.default_rng(1).random((150, 7)).astype(np.float32)
    noise = 1e-4 * np.random.default_rng(2).random(scan.responses.shape)
    clean = Recording(
        name="clean",
        images=scan.images,
        image_index=scan.image_index,
        responses=drive[scan.image_index] + noise,
        tier=scan.tier,
    )
    quality = similarity_quality(clean, fitted)
    assert quality.oracle_ceiling == pytest.approx(1, abs=1e-3)
    assert quality.data_correlation == pytest.approx(1, abs=1e-3)


def test_the_ceiling_of_trials_without_signal_is_low(scan, fitted):
    responses = np.random.default_rng(2).poisson(3.0, scan.responses.shape)
    noise = Recording(
        name="noise",
        images=scan.images,
        image_index=scan.image_index,
        responses=responses,
        tier=scan.tier,
    )
    quality = similarity_quality(noise, fitted)
    assert quality.oracle_ceiling < 0.5
    assert abs(quality.data_correlation) < 0.15


def test_quality_refuses_a_test_tier_without_repeats(scan, fitted):
    index = scan.image_index
    tier = np.where(index < 5, "validation", np.where(index < 25, "train", "test"))
    with pytest.raises(
        RecordingError, match="image_index: 0 images of 'scan' were shown more than"
    ):
        similarity_quality(scan.with_tiers(tier), fitted)
