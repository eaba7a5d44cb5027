"""What a report says is unusual, and nothing where nothing is."""

from __future__ import annotations

import numpy as np

from predictive_model.importers import report_of
from predictive_model.recordings.recording import Recording

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
