"""Images of any size and colour, made stimuli of one shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from predictive_model.recordings.stimuli import fit_images


def test_images_of_the_right_width_are_only_cropped():
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64)).astype(np.uint8)
    np.testing.assert_array_equal(fit_images(images, (36, 64)), images[:, :, 14:50])
    np.testing.assert_array_equal(fit_images(images, (64, 64)), images)


def test_colour_becomes_the_luma_that_other_programs_compute():
    colour = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 16)).astype(np.uint8)
    pillow = [np.asarray(Image.fromarray(c.transpose(1, 2, 0)).convert("L")) for c in colour]
    difference = fit_images(colour, (12, 16))[:, 0].astype(int) - np.stack(pillow)
    assert np.abs(difference).max() <= 1  # in rounding
    assert (difference == 0).mean() > 0.99


@pytest.mark.parametrize("size", [(144, 256), (300, 400), (400, 300), (9, 16), (20, 20)])
def test_nothing_is_stretched(size):
    """A ramp along both axes has the same slope along both, in pixels of the result."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    fitted = fit_images((x + y)[None, None], (36, 64))[0, 0]
    middle = fitted[9:-9, 16:-16]
    down, across = np.diff(middle, axis=0), np.diff(middle, axis=1)
    np.testing.assert_allclose(down.mean(), across.mean(), rtol=0.05)
    scale = min(size[0] / 36, size[1] / 64)
    np.testing.assert_allclose(across.mean(), scale, rtol=0.05)
    # The middle of the image stays in the middle, up to half a pixel that cannot be cut.
    np.testing.assert_allclose(fitted.mean(), (x + y).mean(), atol=0.51)


def test_what_is_finer_than_the_new_pixels_is_averaged():
    stripes = np.tile(np.array([0, 255], np.uint8), 128)
    images = np.broadcast_to(stripes, (1, 1, 144, 256)).copy()
    inner = fit_images(images, (36, 64))[0, 0, :, 2:-2]
    assert np.ptp(inner) <= 2 and abs(inner.mean() - 127.5) < 2


def test_bright_edges_do_not_wrap_round():
    """Bicubic resizing overshoots at edges; 255 and a bit is not 0 and a bit."""
    images = np.zeros((1, 1, 18, 32), np.uint8)
    images[..., 16:] = 255
    fitted = fit_images(images, (36, 64))[0, 0]
    assert (fitted[:, :28] <= 30).all() and (fitted[:, 36:] >= 225).all()


def test_floats_stay_floats_and_blank_images_are_refused():
    images = np.random.default_rng(0).normal(size=(2, 1, 40, 64)).astype(np.float32)
    assert fit_images(images, (18, 32)).dtype == np.float32
    with pytest.raises(ValueError, match="1 are constant"):
        fit_images(np.zeros((1, 1, 40, 64), np.uint8), (18, 32))
    with pytest.raises(ValueError, match=r"shape: \(0, 5\)"):
        fit_images(images, (0, 5))
