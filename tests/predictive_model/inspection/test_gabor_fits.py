"""Gabors fitted to Gabors are these Gabors."""

from __future__ import annotations

import numpy as np
import pytest

from predictive_model.inspection.gabor_fits import fit_gabors, orientation_difference


def gabor(x, y, orientation, frequency, sigma, phase, shape=(30, 40)):
    dy, dx = np.mgrid[: shape[0], : shape[1]] - np.array([y, x])[:, None, None]
    across = np.cos(orientation) * dx + np.sin(orientation) * dy
    along = np.cos(orientation) * dy - np.sin(orientation) * dx
    envelope = np.exp(-((across / sigma[0]) ** 2 + (along / sigma[1]) ** 2) / 2)
    return envelope * np.cos(2 * np.pi * frequency * across - phase)


def test_every_parameter_is_recovered():
    rng = np.random.default_rng(0)
    n = 12
    width = rng.uniform(2.0, 3.5, n)
    true = {
        "x": rng.uniform(12, 28, n),
        "y": rng.uniform(10, 20, n),
        "orientation": rng.uniform(0, np.pi, n),
        "frequency": rng.uniform(0.35, 0.4, n) / width,  # nearly blind to uniform light
        "sigma": np.stack([width, width * rng.uniform(1, 1.5, n)], axis=1),
        "phase": rng.uniform(0, 2 * np.pi, n),
    }
    images = [gabor(**{k: v[i] for k, v in true.items()}) for i in range(n)]
    fits = fit_gabors(7.0 * np.array(images))
    assert fits.r2.min() > 0.98
    off = orientation_difference(fits.orientation, true["orientation"])
    assert np.degrees(off).max() < 2
    np.testing.assert_allclose(fits.frequency, true["frequency"], rtol=0.1)
    np.testing.assert_allclose(fits.centre, np.stack([true["x"], true["y"]], 1), atol=0.3)
    np.testing.assert_allclose(fits.sigma, true["sigma"], rtol=0.15)


def test_an_image_that_is_noise_is_no_gabor():
    noise = np.random.default_rng(0).standard_normal((2, 30, 40))
    assert fit_gabors(noise).r2.max() < 0.2


def test_a_blank_image_has_no_power_to_explain():
    fits = fit_gabors(np.zeros((1, 30, 40)))
    assert fits.r2 == [0]
    np.testing.assert_array_equal(fits.centre, [[19.5, 14.5]])


@pytest.mark.parametrize(
    "a, b, between", [(0, 179, 1), (10, 100, 90), (170, 20, 30), (45, 45, 0), (0, 180, 0)]
)
def test_orientations_are_the_same_after_half_a_turn(a, b, between):
    found = np.degrees(orientation_difference(np.radians(a), np.radians(b)))
    assert found == pytest.approx(between)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"images: shape \(1, 1, 4, 4\), expected \(image, height"):
        fit_gabors(np.zeros((1, 1, 4, 4)))
    with pytest.raises(ValueError, match="finite"):
        fit_gabors(np.full((1, 4, 4), np.nan))
