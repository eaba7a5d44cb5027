from __future__ import annotations

import numpy as np
import pytest
import torch

from regularized_training.robustness.manipulations.colour import (
    axes_matrix,
    false_colour,
    grey,
    opponent_matrix,
)


def colours(n: int = 500) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, 3, 1, 1)))


def linear(encoded: torch.Tensor) -> torch.Tensor:
    """The curve of sRGB for values that may be negative, (n, 3)."""
    x = encoded[:, :, 0, 0]
    bent = ((x.abs() + 0.055) / 1.055) ** 2.4
    return torch.where(x.abs() <= 0.04045, x.abs() / 12.92, bent) * x.sign()


def test_grey_is_the_luma_of_its_channels() -> None:
    x = colours()
    expected = 0.2125 * x[:, 0] + 0.7154 * x[:, 1] + 0.0721 * x[:, 2]
    torch.testing.assert_close(grey(x)[:, 0], expected)
    assert grey(torch.ones(1, 3, 1, 1)).item() == pytest.approx(1)
    assert torch.equal(grey(x[:, :1]), x[:, :1])


def test_opponent_colours_twice_are_the_colours() -> None:
    x = colours()
    torch.testing.assert_close(false_colour(false_colour(x)), x, rtol=0, atol=1e-12)


def test_luminance_stays_and_both_axes_of_colour_are_negated() -> None:
    x = colours()
    before, after = (linear(images) @ axes_matrix().T for images in (x, false_colour(x)))
    torch.testing.assert_close(after, before * torch.tensor([1, -1, -1]).double())
    # That of ITU-R BT.709, whatever the cones.
    luminance = torch.tensor([0.2126, 0.7152, 0.0722]).double()
    torch.testing.assert_close(linear(false_colour(x)) @ luminance, linear(x) @ luminance)


def test_greys_stay() -> None:
    x = torch.linspace(0, 1, 256).double().view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    torch.testing.assert_close(false_colour(x), x, rtol=0, atol=1e-12)


def test_a_colour_is_mirrored_at_the_grey_of_its_luminance() -> None:
    """c' = 2 Y (1, 1, 1) - c in linear light, as all that has no luminance is negated."""
    luminance = torch.tensor([0.2126, 0.7152, 0.0722]).double()
    expected = 2 * luminance.expand(3, 3) - torch.eye(3).double()
    torch.testing.assert_close(opponent_matrix(), expected)


def test_red_turns_green_and_blue_yellow() -> None:
    red, blue = torch.tensor([[0.6, 0.4, 0.4], [0.4, 0.4, 0.6]]).double().view(2, 3, 1, 1)
    red, blue = (false_colour(x[None]).flatten().tolist() for x in (red, blue))
    assert red[0] < min(red[1], red[2])
    assert blue[2] < min(blue[0], blue[1])
