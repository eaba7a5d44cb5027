"""Most exciting images have the contrast they should, and excite the simulated neurons themselves.

:mod:`tests.clear_scan` and :mod:`tests.simulated_scan` say what was simulated.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.inspection.gabor_fits import GaborFits, fit_gabors, orientation_difference
from predictive_model.inspection.most_exciting_images import (
    MostExcitingImageConfig,
    MostExcitingImages,
    at_contrast,
    blur,
    most_exciting_images,
    to_contrast,
)
from predictive_model.recordings.simulation import SimulatedCortex
from tests import clear_scan, simulated_scan

FINE = MostExcitingImageConfig(smoothing=0.5)


@cache
def found() -> MostExcitingImages:
    return most_exciting_images(clear_scan.fitted(), config=FINE, seed=1)


def contrast_of(fitted: FittedEncoder, images):
    return np.sqrt((fitted.normalisation.images(images) ** 2).mean((1, 2, 3)))


# -- constraints ---------------------------------------------------------------------------


def test_all_images_have_the_same_contrast_and_are_within_the_range():
    images = found().images
    np.testing.assert_allclose(contrast_of(clear_scan.fitted(), images), 0.2, rtol=1e-3)
    assert images.min() >= 0
    assert images.max() <= 255


@given(
    contrast=st.floats(0.05, 0.9),
    heaviness=st.floats(0.5, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_scaled_images_keep_their_contrast_however_much_of_them_is_clipped(
    contrast, heaviness, seed
):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((3, 1, 8, 8)) * np.exp(heaviness * rng.standard_normal((8, 8)))
    images = torch.from_numpy(noise)
    scaled = to_contrast(images, contrast, (-1.0, 1.5))
    np.testing.assert_allclose(scaled.square().mean((1, 2, 3)).sqrt(), contrast, rtol=1e-5)
    assert scaled.min() >= -1
    assert scaled.max() <= 1.5
    within = (scaled > -1) & (scaled < 1.5)
    for image, of, inside in zip(images, scaled, within, strict=True):
        factor = (of / image)[inside]
        np.testing.assert_allclose(factor, factor[0], rtol=1e-6)  # the others' proportions stay
        assert (of.abs() <= (factor[0] * image).abs() + 1e-9).all()


def test_a_grey_image_stays_grey():
    grey = to_contrast(torch.zeros(1, 1, 4, 4), 0.5, (-1, 1))
    np.testing.assert_array_equal(grey, 0)


def test_images_at_the_contrast_of_most_exciting_ones():
    images = clear_scan.recording().images[:20]
    scaled = at_contrast(clear_scan.fitted(), images, MostExcitingImageConfig(contrast=0.3))
    np.testing.assert_allclose(contrast_of(clear_scan.fitted(), scaled), 0.3, rtol=1e-4)


def test_blurring_keeps_the_sum_and_adds_the_variances():
    image = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    image[0, 0, 20, 20] = 1
    blurred = blur(image, 2.0)[0, 0]
    y = torch.arange(41, dtype=torch.float64) - 20
    assert blurred.sum() == pytest.approx(1)
    for axis in (0, 1):
        assert (blurred.sum(axis) * y**2).sum() == pytest.approx(4, rel=0.03)
    assert blur(image, 0) is image


# -- ascent --------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_images():
    again = most_exciting_images(clear_scan.fitted(), config=FINE, seed=1)
    np.testing.assert_array_equal(again.images, found().images)
    np.testing.assert_array_equal(again.trace, found().trace)


def test_a_neuron_gets_the_same_image_whichever_others_there_are():
    some = most_exciting_images(clear_scan.fitted(), [7, 2], FINE, seed=1, batch_size=4)
    np.testing.assert_array_equal(some.neurons, [7, 2])
    np.testing.assert_allclose(some.images, found().images[[7, 2]], atol=0.5)


def test_other_starts_come_to_about_the_same_response():
    """A few neurons have a second, lesser peak, which is why there are several starts."""
    other = most_exciting_images(clear_scan.fitted(), config=FINE, seed=2)
    ratio = other.responses / found().responses
    assert (np.abs(ratio - 1) < 0.01).mean() > 0.6
    assert np.abs(ratio - 1).max() < 0.4


def test_responses_are_those_that_the_encoder_predicts():
    predicted = clear_scan.fitted().predict(found().images)
    np.testing.assert_allclose(np.diag(predicted), found().responses, rtol=1e-3)
    np.testing.assert_array_equal(found().trace[-1], found().responses)
    assert found().trace.shape == (FINE.steps + 1, 30)


def test_the_ascent_ends_where_it_hardly_rises_any_more_and_a_short_one_says_it_has_not():
    assert found().converged.mean() > 0.9
    assert (found().trace[-1] > 1.5 * found().trace[0]).mean() > 0.9
    short = most_exciting_images(
        clear_scan.fitted(), [0, 1, 2], MostExcitingImageConfig(steps=2, step_size=0.1)
    )
    assert not short.converged.any()


# -- against the truth ---------------------------------------------------------------------


def true_responses(cortex: SimulatedCortex, images):
    """Of each neuron to its own image."""
    return np.diag(cortex.rates(images))


@pytest.mark.parametrize("scan", [clear_scan, simulated_scan], ids=["clear", "noisy"])
def test_most_exciting_images_excite_the_neurons_more_than_any_natural_image(scan):
    """The simulated neurons themselves, and natural images at the same contrast."""
    fitted, cortex = scan.fitted(), scan.cortex()
    images = found().images if scan is clear_scan else most_exciting_images(fitted).images
    excited = true_responses(cortex, images)
    natural = cortex.rates(at_contrast(fitted, scan.recording().images)).max(0)
    assert (excited > natural).mean() > 0.9
    assert np.median(excited / natural) > 1.3


def test_most_exciting_images_excite_nearly_as_much_as_the_true_gabor():
    fitted, cortex = clear_scan.fitted(), clear_scan.cortex()
    y, x = np.mgrid[: clear_scan.SHAPE[0], : clear_scan.SHAPE[1]]
    dx, dy = (v - c[:, None, None] for v, c in zip((x, y), cortex.centres.T, strict=True))
    cos, sin = np.cos(cortex.orientation), np.sin(cortex.orientation)
    cos, sin = cos[:, None, None], sin[:, None, None]
    across, along = cos * dx + sin * dy, cos * dy - sin * dx
    sigma = cortex.sigma[:, :, None, None]
    envelope = np.exp(-((across / sigma[:, 0]) ** 2 + (along / sigma[:, 1]) ** 2) / 2)
    angle = 2 * np.pi * cortex.frequency[:, None, None] * across
    gabors = envelope * np.cos(angle - cortex.phase[:, None, None])
    norm = fitted.normalisation
    grey = (norm.image_mean + norm.image_std * gabors[:, None]).astype(np.float32)
    best = true_responses(cortex, at_contrast(fitted, grey, FINE))
    assert np.median(true_responses(cortex, found().images) / best) > 0.9


@cache
def gabors() -> GaborFits:
    return fit_gabors(found().images[:, 0] - clear_scan.fitted().normalisation.image_mean)


@pytest.mark.parametrize("is_complex", [False, True], ids=["simple", "complex"])
def test_their_orientation_and_place_are_those_of_the_simulated_neurons(is_complex):
    """Measured: 3.0 and 6.3 degrees, 0.7 pixels."""
    cortex = clear_scan.cortex()
    kind = cortex.is_complex == is_complex
    off = np.degrees(orientation_difference(gabors().orientation, cortex.orientation))[kind]
    assert np.median(off) < 10
    assert np.median(np.linalg.norm(gabors().centre - cortex.centres, axis=1)[kind]) < 1.2


def test_their_spatial_frequency_is_about_that_of_the_simulated_neurons():
    ratio = gabors().frequency / clear_scan.cortex().frequency
    assert np.median(ratio) == pytest.approx(1, abs=0.12)
    assert np.median(np.abs(np.log(ratio))) < 0.25


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"contrast": 0}, "contrast"),
        ({"steps": 0}, "steps"),
        ({"smoothing": -1}, "smoothing"),
        ({"starts": 0}, "starts"),
        ({"pixel_range": (255, 0)}, r"pixel_range: \(255.0, 0.0\), expected \(lowest, highest\)"),
        ({"blur": 1}, "blur"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        MostExcitingImageConfig(**settings)


def test_contrasts_and_ranges_that_do_not_suit_the_encoder_are_refused():
    fitted = clear_scan.fitted()
    with pytest.raises(ValueError, match="contrast: 3.0, expected less than 1"):
        most_exciting_images(fitted, [0], MostExcitingImageConfig(contrast=3.0))
    with pytest.raises(ValueError, match=r"pixel_range: \(0.0, 1.0\), expected a range around"):
        most_exciting_images(fitted, [0], MostExcitingImageConfig(pixel_range=(0, 1)))
    with pytest.raises(ValueError, match="neurons: 30, expected 0 to 29"):
        most_exciting_images(fitted, [30])
