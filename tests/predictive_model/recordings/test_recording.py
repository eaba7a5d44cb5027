"""What a recording refuses, how it is divided into tiers, and what is estimated from which."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictive_model.recordings.recording import Recording, RecordingError, assign_tiers

N_IMAGES, N_NEURONS = 30, 4
# Images 0 to 4 are shown three times, the others once.
INDEX = np.r_[np.arange(N_IMAGES), np.arange(5), np.arange(5)]


def arrays(**changes):
    """Arrays that make a recording."""
    rng = np.random.default_rng(0)
    n = len(INDEX)
    given = {
        "name": "scan",
        "images": rng.integers(0, 256, (N_IMAGES, 1, 6, 8)).astype(np.uint8),
        "image_index": INDEX,
        "responses": rng.poisson(2.0, (n, N_NEURONS)).astype(np.float32),
        "behaviour": rng.random((n, 2)).astype(np.float32),
        "pupil": rng.random((n, 2)).astype(np.float32),
    }
    return given | changes


def changed(name, place, value):
    """One array with one value changed."""
    array = np.array(arrays()[name])
    array[place] = value
    return {name: array}


REFUSED = {
    "images without channels": (
        {"images": np.zeros((N_IMAGES, 6, 8), np.uint8)},
        r"images: shape \(30, 6, 8\), expected \(n, channels, height, width\)",
    ),
    "images with two channels": ({"images": np.ones((3, 2, 6, 8), np.uint8)}, "images: .* 1 or 3"),
    "no images": ({"images": np.ones((0, 1, 6, 8), np.uint8)}, r"images: shape \(0, 1, 6, 8\)"),
    "images of doubles": ({"images": np.ones((3, 1, 6, 8))}, "images: type float64, expected"),
    "images with a hole": (
        {"images": np.where(np.arange(48 * N_IMAGES) == 100, np.nan, np.arange(48 * N_IMAGES))
         .reshape(N_IMAGES, 1, 6, 8).astype(np.float32)},
        "images: 1 hold values that are not finite, the first is number 2; remove",
    ),
    "a blank image": (changed("images", 7, 9), "images: 1 are constant, the first is number 7"),
    "no trials": (
        {"responses": np.zeros((0, 4)), "image_index": np.zeros(0, int)},
        "responses: .* no data",
    ),
    "flat responses": ({"responses": np.ones(40)}, "responses: shape .* expected 2 dimensions"),
    "responses of text": ({"responses": np.full((40, 4), "1")}, "responses: type <U1, expected"),
    "complex responses": ({"responses": np.ones((40, 4), complex)}, "responses: type complex128"),
    "missing responses": (
        changed("responses", (3, 1), np.nan),
        "responses: 1 trials .* not finite, the first is trial 3; leave those trials out",
    ),
    "responses beyond single precision": (
        {"responses": np.full((40, 4), 1e300)}, "responses: 40 trials .* not finite",
    ),
    "too short an index": (
        {"image_index": INDEX[:-1]}, r"image_index: shape \(39,\), expected \(40,\), one .* row",
    ),
    "an index of floats": ({"image_index": INDEX * 1.0}, "image_index: type float64, expected int"),
    "an index beyond the images": (
        changed("image_index", 0, 30), "image_index: values from 0 to 30, expected 0 to 29",
    ),
    "a negative index": (changed("image_index", 0, -1), "image_index: values from -1 to 29"),
    "behaviour of other trials": (
        {"behaviour": np.ones((7, 2))}, r"behaviour: shape \(7, 2\), expected \(40, 'k'\), one row",
    ),
    "infinite behaviour": (changed("behaviour", (5, 0), np.inf), "behaviour: 1 .* trial 5; leave"),
    "pupil with three columns": (
        {"pupil": np.ones((40, 3))}, r"pupil: shape \(40, 3\), expected \(40, 2\)",
    ),
    "lost pupil": (changed("pupil", (5, 0), np.nan), "pupil: 1 .* the first is trial 5; leave"),
    "too few neuron ids": ({"neuron_ids": [1, 2]}, r"neuron_ids: shape \(2,\), expected \(4,\)"),
    "the same neuron twice": ({"neuron_ids": [1, 2, 2, 4]}, "neuron_ids: 2 stands there 2 times"),
    "too few names": ({"behaviour_names": ("run",)}, "behaviour_names: 1 names for 2 columns"),
    "names of nothing": ({"behaviour": None, "behaviour_names": ("run",)}, "behaviour_names: 1"),
    "the same name twice": (
        {"behaviour_names": ("run", "run")}, "behaviour_names: run stands there 2 times",
    ),
    "too few tiers": ({"tier": ["train"] * 39}, r"tier: shape \(39,\), expected \(40,\)"),
    "an unknown tier": ({"tier": ["train"] * 39 + ["valid"]}, "tier: found .'valid'., expected"),
    "an image in two tiers": (
        {"tier": ["train"] * 39 + ["test"]}, "tier: image 4 was shown in 2 tiers; put all trials",
    ),
    "an empty name": ({"name": ""}, "name: '', expected letters"),
    "a name that is a path": ({"name": "a/b"}, "name: 'a/b', expected only letters"),
    "a long name": ({"name": "a" * 65}, "name: .* at most 64"),
    "a name that is none": ({"name": 3}, "name: 3, expected letters"),
}  # fmt: skip


@pytest.mark.parametrize("changes, message", REFUSED.values(), ids=REFUSED)
def test_a_contradiction_is_refused_by_the_name_of_its_array(changes, message):
    with pytest.raises(RecordingError, match=rf"^{message}"):
        Recording(**arrays(**changes))


def test_what_a_recording_holds_is_what_was_given():
    given = arrays(neuron_ids=[7, 5, 3, 1], behaviour_names=["run", "size"])
    recording = Recording(**given)
    for field in ("images", "image_index", "responses", "behaviour", "pupil", "neuron_ids"):
        np.testing.assert_array_equal(getattr(recording, field), given[field])
    assert recording.behaviour_names == ("run", "size")
    assert (recording.n_images, recording.n_trials, recording.n_neurons) == (30, 40, 4)
    assert recording.image_shape == (1, 6, 8)


def test_integers_are_taken_as_responses():
    counts = arrays()["responses"].astype(np.int16)
    recording = Recording(**arrays(responses=counts))
    assert recording.responses.dtype == np.float32
    np.testing.assert_array_equal(recording.responses, counts)


# -- tiers ---------------------------------------------------------------------------------


def test_repeated_images_are_the_test_tier_and_a_tenth_of_the_others_validation():
    index = np.r_[np.arange(205), np.arange(5)]
    recording = Recording(**arrays(
        images=np.random.default_rng(0).integers(0, 256, (205, 1, 4, 4)).astype(np.uint8),
        image_index=index, responses=np.ones((210, 3)), behaviour=None, pupil=None,
    ))  # fmt: skip
    np.testing.assert_array_equal(recording.images_of("test"), np.arange(5))
    assert len(recording.images_of("validation")) == 20
    assert len(recording.images_of("train")) == 180
    assert len(recording.images_of("train", "validation", "test")) == 205


@given(
    index=st.lists(st.integers(0, 40), min_size=6, max_size=80), seed=st.integers(0, 9)
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_all_trials_of_an_image_share_a_tier_whatever_was_shown(index, seed):
    index = np.array(index)
    shown, repeats = np.unique(index, return_counts=True)
    if (repeats == 1).sum() < 2:
        with pytest.raises(RecordingError, match="leaves nothing to train on; give `tier`"):
            assign_tiers(index, seed=seed)
        return
    tier = assign_tiers(index, seed=seed)
    for image, n in zip(shown, repeats, strict=True):
        assert len(set(tier[index == image])) == 1
        assert (tier[index == image] == "test").all() == (n >= 2)
    assert {"train", "validation"} <= set(tier)


def test_the_seed_chooses_the_validation_images():
    first, again, other = (assign_tiers(INDEX, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_test_images_are_held_out_where_every_image_was_repeated():
    index = np.repeat(np.arange(20), 3)
    tier = assign_tiers(index, test_images=4)
    images = {t: np.unique(index[tier == t]) for t in ("train", "validation", "test")}
    assert {t: len(i) for t, i in images.items()} == {"train": 14, "validation": 2, "test": 4}
    with pytest.raises(RecordingError, match="20 of 20 images are repeated.* `test_images`"):
        assign_tiers(index)
    for impossible in (1, 19):
        with pytest.raises(RecordingError, match=f"test_images: {impossible}, expected 2 to 18"):
            assign_tiers(index, test_images=impossible)


def test_more_test_images_than_were_repeated_are_held_out_of_the_others():
    index = np.r_[np.arange(40), 7, 9, 7, 9]
    tier = assign_tiers(index, test_images=20)
    test = np.unique(index[tier == "test"])
    assert len(test) == 20 and {7, 9} <= set(test.tolist())
    assert len(np.unique(index[tier == "train"])) == 18


def test_test_images_are_held_out_where_no_image_was_repeated():
    index = np.arange(20)
    assert "test" not in assign_tiers(index)
    tier = assign_tiers(index, test_images=4)
    assert {t: int((tier == t).sum()) for t in set(tier)} == {
        "train": 14, "validation": 2, "test": 4,
    }  # fmt: skip
    assert (tier != assign_tiers(index, test_images=4, seed=1)).any()
    assert (assign_tiers(index, test_images=18) == "test").sum() == 18
    for impossible in (1, 19):
        with pytest.raises(
            RecordingError,
            match=f"test_images: {impossible}, expected 2 to 18, so that of 20 images two",
        ):
            assign_tiers(index, test_images=impossible)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_an_impossible_fraction_of_validation_images_is_refused(fraction):
    with pytest.raises(RecordingError, match="validation_fraction: .* between 0 and 1"):
        assign_tiers(INDEX, validation_fraction=fraction)


def test_other_tiers_can_be_put_in_and_wrong_ones_cannot():
    recording = Recording(**arrays())
    tier = np.where(INDEX < 10, "test", np.where(INDEX < 14, "validation", "train"))
    np.testing.assert_array_equal(recording.with_tiers(tier).images_of("test"), np.arange(10))
    np.testing.assert_array_equal(recording.with_tiers(tier).trials_of("test"), np.r_[:10, 30:40])
    with pytest.raises(RecordingError, match="tier: image 0 was shown in 2 tiers"):
        recording.with_tiers(np.where(np.arange(40) < 10, "test", "train"))
    with pytest.raises(
        RecordingError, match="tier: 'dev', expected one of train, validation, test"
    ):
        recording.trials_of("dev")


# -- equal pictures ------------------------------------------------------------------------


def test_one_picture_under_two_numbers_is_in_one_tier():
    """Images 10 to 14 are 0 to 4 once more: none of them may teach what the others test."""
    given = arrays()
    given["images"][10:15] = given["images"][:5]
    recording = Recording(**given)
    assert set(recording.tier[np.isin(INDEX, np.r_[:5, 10:15])]) == {"test"}
    tier = np.where(INDEX < 5, "test", np.where(INDEX < 20, "validation", "train"))
    with pytest.raises(
        RecordingError, match=r"image 0 \(also number 10, .*shown in 2 tiers.* There are 5 such"
    ):
        Recording(**arrays(images=given["images"], tier=tier))


# -- repeats -------------------------------------------------------------------------------


def test_repeated_trials_lie_by_image_and_repeat_with_nan_for_those_that_are_missing():
    index = np.array([2, 0, 2, 1, 0, 2, 3])
    responses = np.arange(7, dtype=np.float32)[:, None] + [0, 10]
    recording = Recording(**arrays(
        images=arrays()["images"][:5], image_index=index, responses=responses,
        behaviour=None, pupil=None,
    ))  # fmt: skip
    nan = np.nan
    expected = np.array([[1, 4, nan], [0, 2, 5]], np.float32)
    trials = recording.repeated_trials()
    np.testing.assert_array_equal(trials, np.stack([expected, expected + 10], axis=2))
    np.testing.assert_array_equal(recording.repeats, [2, 1, 3, 1, 0])
    # In the order that is asked for, once shown or never.
    trials = recording.repeated_trials(np.array([2, 4, 1]))
    np.testing.assert_array_equal(trials[..., 0], [[0, 2, 5], [nan] * 3, [3, nan, nan]])


def test_estimates_that_compare_repeats_refuse_a_recording_without_them():
    once = Recording(**{
        k: v if k in ("name", "images") else v[:N_IMAGES] for k, v in arrays().items()
    })  # fmt: skip
    with pytest.raises(
        RecordingError, match="image_index: 0 images of 'scan' were shown more than"
    ):
        once.repeated_trials()
    recording = Recording(**arrays())
    np.testing.assert_array_equal(recording.require_repeats(), np.arange(5))
    with pytest.raises(RecordingError, match="1 images .* at least two repeated images"):
        recording.require_repeats(np.array([4, 5, 6]))


# -- normalisation -------------------------------------------------------------------------


def test_normalisation_brings_the_train_tier_to_the_encoders_scale():
    recording = Recording(**arrays())
    norm, train = recording.normalisation, recording.trials_of("train")
    images = norm.images(recording.images[recording.images_of("train")])
    assert images.mean() == pytest.approx(0, abs=1e-5)
    assert images.std() == pytest.approx(1, abs=1e-5)
    scaled = norm.responses(recording.responses[train])
    np.testing.assert_allclose(scaled.std(0, ddof=1), 1, rtol=1e-5)
    assert scaled.min() >= 0  # not centred, as the Poisson loss needs it
    behaviour = norm.behaviour(recording.behaviour[train])
    np.testing.assert_allclose(behaviour.std(0, ddof=1), 1, rtol=1e-5)
    assert behaviour.min() >= 0
    pupil = norm.pupil(recording.pupil[train])
    np.testing.assert_allclose(pupil.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(pupil.std(0, ddof=1), 1, rtol=1e-5)


def test_normalisation_does_not_know_of_validation_and_test_trials():
    recording = Recording(**arrays())
    held_out = np.asarray(recording.tier) != "train"
    images = recording.images.copy()
    images[recording.images_of("validation", "test")] //= 2
    other = replace(
        recording,
        images=images,
        **{
            field: np.where(held_out[:, None], 100 + 3 * values, values)
            for field in ("responses", "behaviour", "pupil")
            if (values := getattr(recording, field)) is not None
        },
    )
    for field, value in vars(recording.normalisation).items():
        np.testing.assert_array_equal(getattr(other.normalisation, field), value, err_msg=field)


def test_a_silent_neuron_and_a_constant_channel_keep_their_scale():
    given = arrays()
    given["responses"][:, 0] = 0
    given["responses"][:, 1] *= 1e-6
    given["behaviour"][:, 0] = 5
    norm = Recording(**given).normalisation
    np.testing.assert_array_equal(norm.response_scale[:2], 1)
    assert (norm.response_scale[2:] != 1).all()
    assert norm.behaviour_std[0] == 1
    assert norm.behaviour_std[1] != 1


def test_normalisation_refuses_what_was_not_recorded_and_what_has_no_train_tier():
    norm = Recording(**arrays(behaviour=None, pupil=None)).normalisation
    with pytest.raises(RecordingError, match="behaviour: .* has none"):
        norm.behaviour(np.ones((1, 2), np.float32))
    with pytest.raises(RecordingError, match="pupil: .* has none"):
        norm.pupil(np.ones((1, 2), np.float32))
    with pytest.raises(RecordingError, match="tier: 0 trials of 'scan' are in the train tier"):
        _ = Recording(**arrays(tier=["test"] * 40)).normalisation
