"""What becomes of equal pictures, missing values, blanks and negative responses, in any format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictive_model.importers import read_recording, scan_recording
from predictive_model.importers.importer import Common
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.usable import usable_recording
from predictive_model.recordings.recording import Recording, RecordingError
from tests.installed_package import installed_package

N, NEURONS = 40, 12


def recorded(**changes: Any) -> Recorded:
    """40 images shown once, the last 8 of them three times more."""
    rng = np.random.default_rng(0)
    index = np.r_[:N, np.repeat(np.arange(N - 8, N), 3)]
    arrays = {
        "images": rng.integers(0, 256, (N, 1, 6, 6)).astype(np.uint8),
        "image_index": index,
        "responses": rng.gamma(2.0, 1.0, (len(index), NEURONS)).astype(np.float32),
        "behaviour": rng.random((len(index), 3)).astype(np.float32),
        "behaviour_names": ("size", "speed", "lick"),
        "pupil": rng.random((len(index), 2)).astype(np.float32),
        "neuron_ids": np.arange(NEURONS) + 100,
        "cortical_positions": rng.random((NEURONS, 3)).astype(np.float32),
    }
    return Recorded(**(arrays | changes))


def usable(found: Recorded, **options: Any) -> tuple[Recording, str]:
    from predictive_model.importers.import_options import ImportOptions

    recording, notes = usable_recording(found, name="scan", options=ImportOptions(**options))
    return recording, "\n".join(notes)


def with_holes(values: Any, *places: Any) -> Any:
    values = np.array(values, np.float32)
    for place in places:
        values[place] = np.nan
    return values


def test_whatever_is_whole_is_left_as_it_is() -> None:
    found = recorded()
    recording, notes = usable(recorded())
    assert notes == ""
    for name in ("images", "image_index", "responses", "behaviour", "pupil", "neuron_ids"):
        np.testing.assert_array_equal(getattr(recording, name), getattr(found, name))


# -- equal pictures ----------------------------------------------------------------------------


def test_pictures_shown_under_two_numbers_are_the_repeated_ones() -> None:
    """As in a session in which 300 of 900 images stand twice: nothing else is repeated there."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (60, 1, 6, 6)).astype(np.uint8)
    order = rng.permutation(np.r_[:60, :30])
    responses = rng.random((90, 4)).astype(np.float32)
    recording, notes = usable(Recorded(pictures[order], np.arange(90), responses))
    assert recording.n_images == 60 and recording.n_trials == 90
    np.testing.assert_array_equal(recording.images[recording.image_index], pictures[order])
    np.testing.assert_array_equal(recording.tier == "test", order < 30)
    assert "30 images had the pixels of another image and were merged with it" in notes


PLAIN = """
import numpy as np
from predictive_model.importers import Importer
from predictive_model.recordings.recording import Recording

IMPORTER = Importer(lambda path, **arguments: (Recording("scan", **np.load(path)), ()))
"""


@pytest.mark.parametrize("format", ["npz", "mylab_plain:IMPORTER"])
def test_every_importer_merges_equal_pictures(tmp_path: Path, format: str) -> None:
    found = recorded()
    images = np.concatenate([found.images, found.images[:5]]).astype(np.float32)
    images[-5:] /= 255  # and their copies on another scale
    index = np.r_[found.image_index, N : N + 5]
    responses = np.concatenate([found.responses, found.responses[:5]])
    path = tmp_path / "scan.npz"
    np.savez(path, images=images, image_index=index, responses=responses)
    with installed_package(tmp_path, "mylab_plain", PLAIN, {}):
        recording, report = scan_recording(path, format=format)
    assert recording.n_images == N
    assert "5 images had the pixels of another" in "\n".join(report.notes)
    assert (recording.repeats[:5] == 2).all()


def test_no_training_picture_is_in_a_test_tier_that_the_file_has() -> None:
    found = recorded()
    found.images[0] = found.images[N - 1]
    tier = np.where(found.image_index < N - 8, "train", "test").astype("U10")
    tier[1] = "validation"
    tier[-1] = "train"  # a repeat of a test image
    found.tier = tier
    recording, notes = usable(found)
    assert "2 trials of 1 images were moved to the test tier" in notes
    shown = {t: set(recording.images_of(t)) for t in ("train", "test", "validation")}
    assert not shown["train"] & shown["test"] and recording.tier[0] == "test"
    recording, _ = usable(recorded(tier=tier), new_tiers=True)
    assert len(recording.images_of("test")) == 8


def test_tiers_that_share_all_images_are_refused_with_a_way_on() -> None:
    tier = np.resize(["train", "test"], N + 24)
    index = np.repeat(np.arange(32), 2)
    with pytest.raises(RecordingError, match="tier: 32 of 32 .* nothing to train on.*new_tiers"):
        usable(recorded(image_index=index, tier=tier))
    found, asked = recorded(image_index=index), Common(test_images=6, seed=1)
    recording, _ = usable_recording(found, name="scan", asked=asked)
    assert len(recording.images_of("test")) == 6


# -- missing values ----------------------------------------------------------------------------


def test_one_lost_neuron_costs_no_trial_and_one_lost_trial_no_neuron() -> None:
    found = recorded()
    found.responses = with_holes(found.responses, (slice(None), 3), (7, slice(None)), (9, 2))
    whole = found.responses.copy()
    recording, notes = usable(found)
    np.testing.assert_array_equal(recording.responses, np.delete(np.delete(whole, [7, 9], 0), 3, 1))
    np.testing.assert_array_equal(recording.neuron_ids, np.delete(np.arange(NEURONS) + 100, 3))
    assert len(recording.cortical_positions) == NEURONS - 1
    assert "1 trials without any response are left out" in notes
    assert "1 of 12 neurons are left out: more than 10% of their values are missing" in notes
    assert "1 of 63 trials are left out: responses are missing" in notes


def test_the_share_that_may_be_missing_decides_between_neurons_and_trials() -> None:
    holes = ((slice(None, 8), 3),)  # an eighth of the trials
    responses = with_holes(recorded().responses, *holes)
    assert usable(recorded(responses=responses))[0].responses.shape == (64, 11)
    kept = usable(recorded(responses=responses), most_missing=0.2)[0]
    assert kept.responses.shape == (56, 12)
    every = with_holes(responses, *((slice(n, n + 8), n) for n in range(NEURONS)))
    with pytest.raises(RecordingError, match="every neuron misses more than 10%.*most_missing"):
        usable(recorded(responses=every))
    assert usable(recorded(responses=every), most_missing=1)[0].n_neurons == NEURONS


def test_blinks_cost_their_trials_and_a_dead_sensor_only_its_column() -> None:
    found = recorded()
    found.pupil = with_holes(found.pupil, 4)
    found.behaviour = with_holes(found.behaviour, (slice(None), 1), (6, 0))
    recording, notes = usable(found)
    assert recording.n_trials == 62 and recording.pupil is not None
    assert recording.behaviour_names == ("size", "lick")
    assert "2 of 64 trials are left out: behaviour or pupil are missing" in notes
    recording, notes = usable(recorded(pupil=with_holes(recorded().pupil, slice(30))))
    assert recording.pupil is None and recording.n_trials == 64
    assert "pupil positions are left out" in notes


def test_neurons_without_a_place_are_left_out_or_all_places_are() -> None:
    places = recorded().cortical_positions
    recording, notes = usable(recorded(cortical_positions=with_holes(places, 5)))
    assert recording.n_neurons == 11 and "1 of 12 neurons are left out: their cortical" in notes
    recording, notes = usable(recorded(cortical_positions=with_holes(places, slice(6))))
    assert recording.n_neurons == 12 and recording.cortical_positions is None
    assert "cortical positions are left out: those of 6 of 12" in notes


def test_pixels_outside_the_screen_are_grey_and_images_that_are_not_there_are_left_out() -> None:
    found = recorded()
    images = with_holes(found.images, (..., slice(2), slice(None)), 11)
    recording, notes = usable(recorded(images=images))
    assert recording.n_images == N - 1 and recording.n_trials == 63
    inside = np.delete(images, 11, 0)[:, :, 2:]
    np.testing.assert_array_equal(recording.images[:, :, 2:], inside)
    np.testing.assert_array_equal(recording.images[:, :, :2], inside.mean().round())
    assert "33.3% of the pixels, in 39 of 39 images, have no value" in notes
    assert "1 images of whose pixels more than 10% have no value are left out, with 1" in notes


def test_blank_images_are_left_out_with_their_trials() -> None:
    found = recorded()
    found.images[N - 1] = 128
    recording, notes = usable(found)
    assert (recording.n_images, recording.n_trials) == (N - 1, 60)
    assert "1 blank images, of one grey throughout, are left out, with 4 trials" in notes


# -- negative responses ------------------------------------------------------------------------


def test_negative_responses_are_refused_clipped_or_kept() -> None:
    responses = recorded().responses
    responses[0] = -1
    with pytest.raises(RecordingError, match="12 values are negative .*=clip.*=keep.*`mse`"):
        usable(recorded(responses=responses))
    clipped, notes = usable(recorded(responses=responses), negative="clip")
    assert clipped.responses.min() == 0 and "12 negative responses (1.6%) were set to 0" in notes
    np.testing.assert_array_equal(
        usable(recorded(responses=responses), negative="keep")[0].responses, responses
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative": "maybe"}, "options: negative: .*'refuse', 'clip' or 'keep'"),
        ({"most_missing": 2}, "options: most_missing: .* less than or equal to 1, found 2"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "scan.npz", images=np.ones(3))
    with pytest.raises(RecordingError, match=message):
        read_recording(tmp_path / "scan.npz", options=options)
