"""What a report says is unusual, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from predictive_model.importers import report_of
from predictive_model.recordings.recording import Recording, assign_tiers

RNG = np.random.default_rng(0)


def scan(n_once: int, n_repeated: int, silent: int = 0) -> Recording:
    """Images shown once, and others shown twice, which are the test tier."""
    n = n_once + n_repeated
    index = np.r_[:n, n_once:n]
    responses = RNG.random((len(index), 6), np.float32) + 0.1
    responses[:, :silent] = 0
    images = RNG.integers(0, 256, (n, 1, 4, 4)).astype(np.uint8)
    return Recording("scan", images, index, responses)


def test_a_usual_scan_has_no_notes() -> None:
    assert report_of(scan(120, 10)).notes == ()


def test_neurons_that_never_respond_are_counted() -> None:
    assert report_of(scan(120, 10, silent=2)).notes == ("2 of 6 neurons never respond",)


def test_trials_in_which_nothing_responds_are_counted_where_much_does() -> None:
    """As where a probe came loose, and nobody said so; a few quiet neurons are silent by chance."""
    for neurons, noted in ((12, True), (6, False)):
        responses = np.ones((140, neurons), np.float32)
        responses[7:10] = 0
        images = RNG.integers(0, 256, (130, 1, 4, 4)).astype(np.uint8)
        notes = report_of(Recording("scan", images, np.r_[:130, 120:130], responses)).notes
        assert any("in 3 trials no neuron responds" in note for note in notes) == noted


def test_a_scan_without_repeats_is_told_how_to_get_a_test_tier() -> None:
    repeats, tier = report_of(scan(120, 0)).notes
    assert repeats == "no image was shown more than once, so reliability cannot be estimated"
    assert tier.startswith("there is no test tier") and "--test-images" in tier


def test_a_small_train_tier_is_compared_with_100_and_with_the_test_tier() -> None:
    assert report_of(scan(100, 10)).notes == (
        "only 90 images are in the train tier; expected at least 100",
    )
    assert report_of(scan(120, 130), notes=("first",)).notes == (
        "first",
        "the train tier has fewer images (108) than the test tier (130)",
    )


def test_few_test_images_and_those_that_were_shown_once_are_counted() -> None:
    (few,) = report_of(scan(120, 2)).notes
    assert few.startswith("only 2 images are in the test tier; --test-images holds out more")
    recording = scan(220, 2)
    tier = assign_tiers(recording.image_index, test_images=30)
    assert report_of(recording.with_tiers(tier)).notes == (
        "only 2 of the 30 test images were shown more than once; noise ceilings go by these alone",
    )


def test_inputs_that_default_encoders_ignore_are_named_with_the_settings_that_use_them() -> None:
    with_pupil = replace(scan(120, 10), pupil=RNG.random((140, 2), np.float32))
    assert "ignores pupil; its settings use pupil position by `shifter`" in str(
        report_of(with_pupil)
    )
    both = replace(with_pupil, behaviour=RNG.random((140, 1), np.float32))
    assert "ignores pupil and behaviour; " in str(report_of(both))
    assert "`modulator` or `behaviour_channels`" in str(report_of(both))
    assert "ignores" not in str(report_of(scan(120, 10)))
