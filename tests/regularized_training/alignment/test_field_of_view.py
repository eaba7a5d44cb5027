"""Images are as large in a network's field of view as they were to the animal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regularized_training.alignment.field_of_view import place_in_field, shown_to_network
from regularized_training.teachers.stimuli import prepare_stimuli


def test_an_image_of_half_the_field_is_half_as_wide_in_the_middle_of_grey() -> None:
    placed = place_in_field(torch.ones(3, 3, 32, 32), 4.0, 8.0, (16, 16))
    expected = torch.full((3, 3, 16, 16), 0.5)
    expected[:, :, 4:12, 4:12] = 1.0
    torch.testing.assert_close(placed, expected)


def test_proportions_are_kept() -> None:
    placed = place_in_field(torch.ones(1, 1, 36, 64), 8.0, 8.0, (64, 64))
    assert (placed == 1).sum() == 36 * 64 and (placed[0, 0, 14:50] == 1).all()


def test_of_a_wider_image_the_middle_is_seen() -> None:
    image = torch.arange(16.0).repeat(16, 1)[None, None]
    placed = place_in_field(image, 16.0, 8.0, (8, 8))
    torch.testing.assert_close(placed[0, 0], torch.arange(4.0, 12.0).repeat(8, 1))


def test_images_without_degrees_are_only_resized() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 12, 12)).astype(np.uint8)
    shown = list(shown_to_network(images, 3, (8, 8), batch=2))
    assert [len(part) for part in shown] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(shown), prepare_stimuli(images, 3, (8, 8)))


@pytest.mark.parametrize(("degrees", "field"), [(0.0, 8.0), (0.01, 8.0)])
def test_images_that_would_vanish_are_refused(degrees: float, field: float) -> None:
    with pytest.raises(ValueError, match="degrees: .*expected"):
        place_in_field(torch.ones(1, 1, 8, 8), degrees, field, (8, 8))
