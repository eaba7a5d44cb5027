"""A picture is its grey values, in whatever type and on whatever scale they are stored."""

from __future__ import annotations

import numpy as np
import pytest

from predictive_model.digest import equal_pictures, image_keys

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_picture_has_one_key_as_bytes_and_as_floats_of_either_scale(
    dtype: type, scale: int
) -> None:
    floats = (PICTURES / (255 / scale)).astype(dtype)
    assert image_keys(floats) == image_keys(PICTURES)
    assert image_keys(PICTURES.astype(np.int64)) == image_keys(PICTURES)


def test_black_and_white_pictures_are_the_same_as_zeros_and_ones() -> None:
    black_and_white = (PICTURES > 127).astype(np.uint8)
    assert image_keys(black_and_white.astype(np.float32)) == image_keys(black_and_white * 255)


def test_scales_that_are_mixed_are_told_apart_picture_by_picture() -> None:
    mixed = np.concatenate([PICTURES, PICTURES / 255]).astype(np.float32)
    np.testing.assert_array_equal(equal_pictures(mixed), np.r_[:6, :6])


@pytest.mark.parametrize("contrast", [1e-3, 0.09, 3.0])
def test_pictures_that_are_no_grey_values_are_equal_only_if_all_their_floats_are(
    contrast: float,
) -> None:
    """Also very dim ones, whose values all lie near 0."""
    rng = np.random.default_rng(1)
    images = (contrast * rng.random((5, 1, 8, 8))).astype(np.float32)
    images[3] = images[0]
    np.testing.assert_array_equal(equal_pictures(images), [0, 1, 2, 0, 4])
    images[3, 0, 2, 2] += contrast / 100
    np.testing.assert_array_equal(equal_pictures(images), np.arange(5))
