"""What teachers say of which stimuli, and which images may teach."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from pydantic import ValidationError

from predictive_model.recording import Recording, RecordingError
from predictive_model.reliability import reliability
from regularized_training.similarity import similarity
from regularized_training.teachers import (
    SimilarityTeacher,
    TeacherConfig,
    neural_data_teacher,
    neural_model_teacher,
    shuffle_teacher,
    teaching_images,
)

N = 60


def scan(name="scan", seed=0, n_neurons=8, **changes):
    """Images 0 to 9 repeated and so test tier, 10 to 19 shown twice but for training."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.r_[np.arange(N), np.arange(20), np.arange(10)])
    tier = np.where(index < 10, "test", np.where(index < 15, "validation", "train"))
    arrays = {
        "images": np.random.default_rng(0).integers(0, 256, (N, 1, 6, 6)).astype(np.uint8),
        "image_index": index,
        "responses": rng.poisson(3.0, (len(index), n_neurons)).astype(np.float32),
        "tier": tier,
    }
    return Recording(name=name, **(arrays | changes))


@pytest.fixture
def teacher():
    stimuli = np.random.default_rng(1).integers(0, 256, (30, 1, 6, 6)).astype(np.uint8)
    rng = np.random.default_rng(2)
    return neural_model_teacher(stimuli, [rng.random((30, 5))], [np.ones(5)])


# -- which images teach --------------------------------------------------------------------


def test_images_of_the_test_tier_do_not_teach():
    np.testing.assert_array_equal(teaching_images([scan()]), np.arange(10, N))


def test_images_teach_that_every_scan_showed_and_none_tests():
    tier = np.where(scan().image_index < 12, "test", "train")
    seen = scan().image_index < 55
    fewer = {k: getattr(scan(), k)[seen] for k in ("image_index", "responses")}
    scans = [scan(), scan(tier=tier), scan(**fewer, tier=np.asarray(scan().tier)[seen])]
    np.testing.assert_array_equal(teaching_images(scans), np.arange(12, 55))


def test_scans_of_other_images_are_refused():
    images = scan().images.copy()
    images[0, 0, 0, 0] ^= 1
    with pytest.raises(RecordingError, match="images: scans 'scan' and 'b' did not show the same"):
        teaching_images([scan(), scan("b", images=images)])
    with pytest.raises(RecordingError, match="images: scans 'scan' and 'b' did not show the same"):
        neural_data_teacher([scan(), scan("b", images=images)])


def test_too_few_scans_and_images_are_refused():
    with pytest.raises(RecordingError, match="recordings: none given"):
        teaching_images([])
    tier = np.where(scan().image_index < 45, "test", "train")
    with pytest.raises(
        RecordingError, match="tier: 15 images outside the test tier, expected at l"
    ):
        teaching_images([scan(tier=tier)])


# -- neural teachers -----------------------------------------------------------------------


def coded():
    """A scan whose responses tell the image and the trial they belong to."""
    rng = np.random.default_rng(3)
    by_image = 100 * rng.random((N, 8))
    index = scan().image_index
    return scan(responses=by_image[index] + 5 * rng.random((len(index), 8)))


def test_neural_data_is_eq_2_of_one_trial_of_each_image():
    """Every combination of the trials of the ten images shown twice is tried for the one drawn."""
    recording = coded()
    teacher = neural_data_teacher([recording], seed=1)
    images = np.arange(10, N)
    np.testing.assert_array_equal(teacher.stimuli, recording.images[images])
    assert teacher.name == "neural_data"
    weight = reliability(recording).weight
    trials = [np.flatnonzero(recording.image_index == i) for i in images]
    off = [
        np.abs(similarity(recording.responses[list(drawn)], weight) - teacher.similarity).max()
        for drawn in product(*trials)
    ]
    assert len(off) == 2**10
    assert (np.array(off) < 1e-6).sum() == 1


def test_the_seed_draws_the_trial():
    recording = coded()
    first, again, other = (neural_data_teacher([recording], seed=s).similarity for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_neural_data_is_averaged_over_scans():
    """Images shown once, so that nothing is drawn."""
    scans = [scan("a", seed=1), scan("b", seed=2, n_neurons=5)]
    scans = [s.with_tiers(np.where(s.image_index < 20, "test", "train")) for s in scans]
    each = [neural_data_teacher([s]).similarity for s in scans]
    found = neural_data_teacher(scans).similarity
    np.testing.assert_allclose(found, (each[0] + each[1]) / 2, atol=1e-6)


def test_neural_model_is_the_mean_similarity_of_predictions():
    rng = np.random.default_rng(0)
    stimuli = scan().images[:20]
    predicted = [rng.random((20, k)).astype(np.float32) for k in (5, 9)]
    weights = [rng.random(k) for k in (5, 9)]
    teacher = neural_model_teacher(stimuli, predicted, weights)
    expected = np.mean([similarity(p, w) for p, w in zip(predicted, weights, strict=True)], axis=0)
    np.testing.assert_allclose(teacher.similarity, expected, atol=1e-6)
    assert teacher.name == "neural_model"


# -- shuffle -------------------------------------------------------------------------------


def test_shuffling_keeps_values_and_spectrum_and_breaks_the_link_to_images(teacher):
    shuffled = shuffle_teacher(teacher, seed=0)
    upper = np.triu_indices(30, 1)
    before, after = teacher.similarity, shuffled.similarity
    np.testing.assert_array_equal(np.sort(after[upper]), np.sort(before[upper]))
    np.testing.assert_array_equal(np.diag(after), 1)
    np.testing.assert_allclose(np.linalg.eigvalsh(after), np.linalg.eigvalsh(before), atol=1e-4)
    np.testing.assert_array_equal(shuffled.stimuli, teacher.stimuli)
    assert abs(np.corrcoef(after[upper], before[upper])[0, 1]) < 0.3


def test_shuffles_do_not_correlate_with_what_was_shuffled_on_average(teacher):
    upper = np.triu_indices(30, 1)
    r = [
        np.corrcoef(shuffle_teacher(teacher, s).similarity[upper], teacher.similarity[upper])[0, 1]
        for s in range(100)
    ]
    assert abs(np.mean(r)) < 0.05


def test_the_seed_shuffles(teacher):
    first, again, other = (shuffle_teacher(teacher, seed=s).similarity for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# -- refusals ------------------------------------------------------------------------------


def test_a_similarity_that_is_none_is_refused(teacher):
    s = teacher.similarity
    lopsided, wide, hollow = s.copy(), s.copy(), s.copy()
    lopsided[0, 1] += 0.1
    wide[2, 3] = wide[3, 2] = 1.1
    hollow[0, 0] = np.nan
    for bad, message in (
        (s[:-1], r"shape \(29, 30\), expected \(30, 30\) for 30 stimuli"),
        (lopsided, "expected a symmetric matrix"),
        (wide, "expected finite values between -1 and 1"),
        (hollow, "expected finite values between -1 and 1"),
    ):
        with pytest.raises(ValueError, match=f"similarity: {message}"):
            replace(teacher, similarity=bad)


def test_stimuli_that_are_no_images_are_refused(teacher):
    with pytest.raises(RecordingError, match="images: shape"):
        SimilarityTeacher("flat", teacher.stimuli[:, 0], teacher.similarity)


@pytest.mark.parametrize(
    "bad", [{"kind": "neural"}, {"kind": "none", "seed": -1}, {"name": "none"}]
)
def test_unknown_teachers_are_refused(bad):
    with pytest.raises(ValidationError):
        TeacherConfig(**bad)
