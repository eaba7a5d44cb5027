"""What early vision passes on: energies, bright and dark spots, luminance, all on one scale."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from predictive_model.encoders.config import FrontEndConfig
from predictive_model.encoders.front_end import FrontEnd
from predictive_model.recordings.gabor_config import GaborConfig

SHAPE = (1, 32, 32)
GABORS = GaborConfig(wavelengths=(4,), orientations=2, exponent=1.0)
CONFIG = FrontEndConfig(gabors=GABORS, spots=(1.0, 3.0))
# Maps: two energies; fine spots bright, dark; coarse spots bright, dark; luminance.
FINE_BRIGHT, FINE_DARK, COARSE_BRIGHT, COARSE_DARK, LUMINANCE = range(2, 7)


@pytest.fixture
def front_end() -> FrontEnd:
    return FrontEnd(CONFIG, SHAPE)


def spot(radius: float, sign: float = 1.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(32.0) - 12, torch.arange(32.0) - 20, indexing="ij")
    return sign * (x**2 + y**2 <= radius**2).float()[None, None]


def test_bright_and_dark_spots_of_each_size_have_maps_of_their_own(front_end: FrontEnd) -> None:
    bright, dark, large = (front_end(image)[0] for image in (spot(1), spot(1, -1), spot(4)))
    # Around a bright spot there is a dark ring, wider but much fainter.
    assert bright[FINE_BRIGHT, 1, 2] > 2 * bright[FINE_DARK, 1, 2]
    torch.testing.assert_close(bright[FINE_BRIGHT], dark[FINE_DARK])
    torch.testing.assert_close(bright[COARSE_BRIGHT], dark[COARSE_DARK])
    fine, coarse = (front.amax() for front in (large[FINE_BRIGHT], large[COARSE_BRIGHT]))
    assert coarse > fine and bright[FINE_BRIGHT].amax() > bright[COARSE_BRIGHT].amax()
    assert divmod(int(large[COARSE_BRIGHT].argmax()), 4) == (1, 2)


def test_spots_are_compressed_like_energies() -> None:
    gabors = GABORS.model_copy(update={"exponent": 0.25})
    front_end = FrontEnd(CONFIG.model_copy(update={"gabors": gabors}), SHAPE)
    noise = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    ratio = (front_end(100 * noise) / front_end(10 * noise))[0, :LUMINANCE]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 10**0.5), rtol=0.05, atol=0)


def test_energies_do_not_tell_bright_from_dark(front_end: FrontEnd) -> None:
    torch.testing.assert_close(front_end(spot(2))[:, :2], front_end(spot(2, -1))[:, :2])


def test_luminance_is_the_average_of_the_pixels(front_end: FrontEnd) -> None:
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    expected = images.view(3, 4, 8, 4, 8).mean((2, 4))
    torch.testing.assert_close(front_end(images)[:, LUMINANCE], expected)


def test_uniform_light_is_luminance_and_nothing_else(front_end: FrontEnd) -> None:
    dark, light = (front_end(torch.full((1, *SHAPE), level))[0] for level in (0.0, 2.0))
    torch.testing.assert_close(dark[:LUMINANCE], light[:LUMINANCE], atol=1e-4, rtol=0)
    torch.testing.assert_close(light[LUMINANCE], torch.full((4, 4), 2.0))


def test_standardised_maps_have_mean_0_and_variance_1_over_all_scans(front_end: FrontEnd) -> None:
    generator = torch.Generator().manual_seed(0)
    scans = [torch.randn(n, *SHAPE, generator=generator) * scale for n, scale in ((150, 1), (9, 3))]
    front_end.standardise(scans)
    maps = front_end(torch.cat(scans))
    torch.testing.assert_close(maps.mean((0, 2, 3)), torch.zeros(7), atol=1e-4, rtol=0)
    torch.testing.assert_close(maps.var((0, 2, 3), correction=0), torch.ones(7), atol=1e-3, rtol=0)
    before = front_end.mean.clone()
    front_end.standardise(scans)  # again: nothing accumulates
    torch.testing.assert_close(front_end.mean, before)


def test_the_state_holds_the_scale_and_no_filters(front_end: FrontEnd) -> None:
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    front_end.standardise([images])
    assert set(front_end.state_dict()) == {"mean", "std"}
    other = FrontEnd(CONFIG, SHAPE)
    other.load_state_dict(front_end.state_dict())
    torch.testing.assert_close(other(images), front_end(images))


def test_spots_and_luminance_can_be_left_out() -> None:
    config = FrontEndConfig(gabors=GABORS, spots=(), luminance=False)
    front_end = FrontEnd(config, SHAPE)
    assert config.channels == 2 and front_end.out_shape == (2, 4, 4)
    torch.testing.assert_close(front_end(spot(2)), front_end.energies(spot(2)))


def test_nothing_to_standardise_by_is_refused(front_end: FrontEnd) -> None:
    with pytest.raises(ValueError, match="scans: no images"):
        front_end.standardise([])


@pytest.mark.parametrize("spots", [(2.0, 1.0), (1.0, 1.0)])
def test_spots_must_rise(spots: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="spots: .* expected rising"):
        FrontEndConfig(spots=spots)


def test_a_spot_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="spots: a blur of 12 pixels reaches 36 pixels"):
        FrontEnd(FrontEndConfig(gabors=GABORS, spots=(12.0,)), SHAPE)
