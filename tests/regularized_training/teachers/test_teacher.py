"""What teachers say of which stimuli, and which images may teach."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.config import TeacherConfig
from regularized_training.teachers.rsm import recorded_rsm_teacher
from regularized_training.teachers.similarity import oracle_similarity, similarity, unit_vectors
from regularized_training.teachers.stimuli import pixel_scale, prepare_stimuli
from regularized_training.teachers.teacher import (
    SimilarityTeacher,
    held_out_stimuli,
    neural_data_teacher,
    neural_model_teacher,
    oracle_teacher,
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
    np.testing.assert_array_equal(*teaching_images([scan()]), np.arange(10, N))


def test_images_teach_that_every_scan_showed_and_none_tests():
    tier = np.where(scan().image_index < 12, "test", "train")
    seen = scan().image_index < 55
    fewer = {k: getattr(scan(), k)[seen] for k in ("image_index", "responses")}
    scans = [scan(), scan(tier=tier), scan(**fewer, tier=np.asarray(scan().tier)[seen])]
    for chosen in teaching_images(scans):
        np.testing.assert_array_equal(chosen, np.arange(12, 55))


def test_images_are_known_by_their_pixels_wherever_they_stand():
    """One scan numbers the images otherwise, as floats, and did not show some of them."""
    whole, order = scan(), np.random.default_rng(3).permutation(N)[:50]
    kept = np.isin(whole.image_index, order)
    place = np.zeros(N, np.int64)
    place[order] = np.arange(50)
    other = replace(
        whole,
        name="b",
        images=whole.images[order].astype(np.float32),
        image_index=place[whole.image_index[kept]],
        responses=whole.responses[kept],
        tier=np.asarray(whole.tier)[kept],
    )
    first, second = teaching_images([whole, other])
    np.testing.assert_array_equal(first, np.sort(order[order >= 10]))
    np.testing.assert_array_equal(other.images[second], whole.images[first])
    # Both scans hold the same trials of these images, so together they say what one says.
    together, alone = (recorded_rsm_teacher(scans) for scans in ([whole, other], [whole]))
    np.testing.assert_array_equal(together.stimuli, whole.images[first])
    rows = first - 10  # the test tier does not teach
    expected = alone.similarity[rows[:, None], rows]
    np.testing.assert_allclose(together.similarity, expected, atol=1e-6)


def test_scans_without_common_images_are_refused():
    other = scan("b", images=scan().images ^ 1)
    with pytest.raises(RecordingError, match=r"images: 0 .* in all of scan \(60 images\), b"):
        neural_data_teacher([scan(), other])


def test_too_few_scans_and_images_are_refused():
    with pytest.raises(RecordingError, match="recordings: none given"):
        teaching_images([])
    tier = np.where(scan().image_index < 45, "test", "train")
    with pytest.raises(
        RecordingError,
        match="images: 15 were shown .* in no test tier, expected at least 16",
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


def test_recorded_rates_are_averaged_over_trials_before_they_are_compared():
    recording = coded()
    teacher = recorded_rsm_teacher([recording])
    images = np.arange(10, N)
    rates = np.stack([recording.responses[recording.image_index == i].mean(0) for i in images])
    unit = rates / np.linalg.norm(rates, axis=1, keepdims=True)
    assert teacher.name == "recorded_rsm"
    np.testing.assert_allclose(teacher.similarity, unit @ unit.T, atol=1e-6)
    np.testing.assert_array_equal(teacher.stimuli, recording.images[images])


def test_shuffled_neurons_keep_the_mean_similarity_and_lose_the_images():
    recording = coded()
    teacher = recorded_rsm_teacher([recording])
    shuffled = recorded_rsm_teacher([recording], shuffled=True, seed=2)
    i, j = np.triu_indices(N - 10, 1)
    true, wrong = teacher.similarity[i, j], shuffled.similarity[i, j]
    assert wrong.mean() == pytest.approx(true.mean(), abs=0.02)
    assert abs(np.corrcoef(true, wrong)[0, 1]) < 0.2
    other = recorded_rsm_teacher([recording], shuffled=True, seed=3)
    assert not np.allclose(shuffled.similarity, other.similarity)


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


# -- oracle --------------------------------------------------------------------------------


def test_the_oracle_is_eq_3_averaged_over_scans():
    """Pair by pair of trials for two images, one shown once and one twice."""
    scans = [scan("a", seed=1), scan("b", seed=2, n_neurons=5)]
    teacher = oracle_teacher(scans)
    images = np.arange(10, N)
    np.testing.assert_array_equal(teacher.stimuli, scans[0].images[images])
    expected = []
    for s in scans:
        # Only trials of these images count, and the mean over all of those is taken off.
        shown = np.flatnonzero(np.isin(s.image_index, images))
        e = unit_vectors(s.responses[shown], reliability(s).weight)
        first, second = (e[s.image_index[shown] == image] for image in (12, 40))
        assert (len(first), len(second)) == (2, 1)
        expected.append(np.mean([a @ b for a in first for b in second]))
    assert teacher.similarity[2, 30] == pytest.approx(np.mean(expected), abs=1e-6)
    assert teacher.name == "oracle"


def test_the_oracle_of_scans_is_their_mean_oracle_similarity_with_ones_on_its_diagonal():
    scans = [scan("a", seed=1), scan("b", seed=2, n_neurons=5)]
    images = np.arange(10, N)
    each = [
        oracle_similarity(s.repeated_trials(images), reliability(s).weight).astype(np.float64)
        for s in scans
    ]
    expected = np.mean(each, axis=0)
    assert np.isnan(np.diag(expected)).any()  # of images shown once
    np.fill_diagonal(expected, 1)
    found = oracle_teacher(scans).similarity
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(np.diag(found), 1)


def test_averaging_over_trials_comes_closer_to_the_truth_than_one_trial():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((N, 8))
    index = np.tile(np.arange(N), 4)
    noisy = truth[index] + 1.5 * rng.standard_normal((len(index), 8))
    tier = np.where(index < 10, "test", "train")
    recording = scan(image_index=index, tier=tier, responses=(20 + noisy).astype(np.float32))
    expected = similarity(truth[10:], reliability(recording).weight)
    pairs = np.triu_indices(N - 10, 1)
    oracle, data = (
        np.corrcoef(made([recording]).similarity[pairs], expected[pairs])[0, 1]
        for made in (oracle_teacher, neural_data_teacher)
    )
    assert oracle > data + 0.2


# -- stimuli that do not teach -------------------------------------------------------------


@pytest.mark.parametrize(("n", "fraction", "k"), [(500, 0.1, 50), (60, 0.5, 30), (19, 0.1, 1)])
def test_a_fraction_of_the_stimuli_is_held_out_each_once_and_in_order(n, fraction, k):
    held_out = held_out_stimuli(n, fraction)
    assert len(held_out) == k
    assert (np.diff(held_out) > 0).all()
    assert held_out[0] >= 0
    assert held_out[-1] < n


def test_teachers_of_as_many_stimuli_hold_out_the_same_ones():
    np.testing.assert_array_equal(held_out_stimuli(500, 0.1), held_out_stimuli(500, 0.1))
    assert set(held_out_stimuli(500, 0.1)) < set(held_out_stimuli(500, 0.2))
    assert len(held_out_stimuli(500, 0)) == 0


def test_stimuli_are_held_out_from_each_quarter_of_them_alike():
    by_quarter = np.zeros(4)
    for n in range(40, 840, 4):
        by_quarter += np.bincount(held_out_stimuli(n, 0.5) * 4 // n, minlength=4) / n
    np.testing.assert_allclose(by_quarter / by_quarter.mean(), 1, atol=0.03)


def test_stimuli_that_teach_and_those_held_out_are_all_stimuli(teacher):
    held_out = np.array([17, 3, 29, 0])
    divided = replace(teacher, held_out=held_out)
    taught = np.setdiff1d(np.arange(30), held_out)
    for part, rows in ((divided.teaching, taught), (divided.withheld, np.sort(held_out))):
        np.testing.assert_array_equal(part.stimuli, teacher.stimuli[rows])
        assert part.name == teacher.name
        for i, row in enumerate(rows):
            np.testing.assert_array_equal(part.similarity[i], teacher.similarity[row][rows])
    assert len(divided.teaching.stimuli) + len(divided.withheld.stimuli) == 30


def test_all_stimuli_teach_where_none_is_held_out(teacher):
    np.testing.assert_array_equal(teacher.teaching.stimuli, teacher.stimuli)
    np.testing.assert_array_equal(teacher.teaching.similarity, teacher.similarity)


@pytest.mark.parametrize("held_out", [[3], [3, 7, 8]])
def test_a_part_of_the_stimuli_keeps_the_scale_of_all(teacher, held_out):
    """One outlier would otherwise change the contrast of whichever part it is in."""
    stimuli = (teacher.stimuli / np.float32(100) - 1).astype(np.float32)
    stimuli[3, 0, 0, 0] = 20
    divided = replace(teacher, stimuli=stimuli, held_out=np.array(held_out), scale=None)
    assert divided.teaching.scale == divided.withheld.scale == divided.scale == pixel_scale(stimuli)
    shown = prepare_stimuli(divided.teaching.stimuli, 1, scale=divided.teaching.scale)
    taught = np.setdiff1d(np.arange(30), held_out)
    assert torch.equal(shown, prepare_stimuli(stimuli, 1)[taught])


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


@pytest.mark.parametrize(("held_out", "found"), [([3, 30], "3 to 30"), ([-1, 5], "-1 to 5")])
def test_stimuli_that_are_not_there_cannot_be_held_out(teacher, held_out, found):
    with pytest.raises(ValueError, match=f"held_out: {found}, expected 0 to 29"):
        replace(teacher, held_out=np.array(held_out))


def test_stimuli_that_are_no_images_are_refused(teacher):
    with pytest.raises(RecordingError, match="images: shape"):
        SimilarityTeacher("flat", teacher.stimuli[:, 0], teacher.similarity)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "neural model"},
        {"kind": "none", "seed": -1},
        {"name": "none"},
        {"kind": "oracle", "held_out": 0.6},
        {"kind": "oracle", "held_out": -0.1},
        {"kind": "low_rank", "rank": 0},
    ],
)
def test_unknown_teachers_are_refused(bad):
    with pytest.raises(ValidationError):
        TeacherConfig(**bad)
