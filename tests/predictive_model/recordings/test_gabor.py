"""Gabor energies see how a grating is turned and how fine it is, not where its stripes are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from predictive_model.recordings.gabor import GaborEnergies, gabor_bank, gabor_pairs
from predictive_model.recordings.gabor_config import GaborConfig

SHAPE = (1, 48, 48)
CONFIG = GaborConfig(wavelengths=(4, 8), orientations=4)


def grating(wavelength: float, orientation: float, phase: float = 0.0) -> torch.Tensor:
    """(1, 48, 48), stripes across the direction ``orientation`` in radians."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    across = np.cos(orientation) * x + np.sin(orientation) * y
    return torch.cos(2 * np.pi * across / wavelength + phase)[None]


@pytest.fixture(scope="module")
def energies() -> GaborEnergies:
    return GaborEnergies(CONFIG, SHAPE)


@pytest.mark.parametrize("number", range(8))
def test_each_map_prefers_its_own_grating(energies: GaborEnergies, number: int) -> None:
    wavelength, orientation = CONFIG.wavelengths[number // 4], np.pi * (number % 4) / 4
    maps = energies(grating(wavelength, orientation)[None])[0].mean((1, 2))
    assert maps.argmax() == number
    others = maps[torch.arange(8) != number]
    assert maps[number] > 1.5 * others.max()


def test_the_phase_of_a_grating_makes_no_difference(energies: GaborEnergies) -> None:
    phases = torch.stack([grating(8, 0, phase) for phase in np.linspace(0, 2 * np.pi, 8)])
    preferred = energies(phases)[:, 4, 1:-1, 1:-1]  # images are continued by reflection
    assert (preferred.amax(0) / preferred.amin(0) < 1.02).all()


def test_contrast_is_compressed_as_the_exponent_says() -> None:
    image = grating(8, 0)[None]
    for exponent in (0.25, 0.5, 1.0):
        energies = GaborEnergies(CONFIG.model_copy(update={"exponent": exponent}), SHAPE)
        ratio = energies(4 * image)[0, 4] / energies(image)[0, 4]
        torch.testing.assert_close(ratio, torch.full((6, 6), 16**exponent), rtol=1e-3, atol=0)


def test_uniform_light_is_not_seen_and_gradients_stay_finite_there(
    energies: GaborEnergies,
) -> None:
    blank = torch.full((1, *SHAPE), 3.0, requires_grad=True)
    dark = energies(torch.zeros(1, *SHAPE))
    torch.testing.assert_close(energies(blank), dark, atol=1e-4, rtol=0)
    energies(blank).sum().backward()
    assert blank.grad is not None and torch.isfinite(blank.grad).all()


def test_a_patch_is_seen_where_it_is(energies: GaborEnergies) -> None:
    image = torch.zeros(1, *SHAPE)
    image[..., 8:16, 32:40] = grating(4, 0)[..., 8:16, 32:40]
    place = int(energies(image)[0, 0].argmax())
    assert divmod(place, 6) == (1, 4)


def test_sampling_coarsely_gives_what_every_pixel_gives() -> None:
    images = torch.randn(4, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    config = GaborConfig(wavelengths=(8, 16), orientations=2)
    coarse = GaborEnergies(config, SHAPE)
    assert max(coarse.strides) > 1
    fine = GaborEnergies(config, SHAPE)
    fine.strides = [1, 1]
    difference = coarse(images) - fine(images)
    assert difference.std() < 0.15 * fine(images).std()
    assert difference.mean().abs() < 0.01 * fine(images).mean()


def test_colours_are_averaged() -> None:
    image = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    grey = image.mean(1, keepdim=True)
    of_colours, of_grey = (GaborEnergies(CONFIG, (c, 48, 48)) for c in (3, 1))
    torch.testing.assert_close(of_colours(image), of_grey(grey))


def test_a_bank_has_nothing_to_learn_and_nothing_to_store(energies: GaborEnergies) -> None:
    assert list(energies.parameters()) == [] and energies.state_dict() == {}
    assert energies.out_shape == (8, 6, 6) == tuple(energies(torch.zeros(1, *SHAPE)).shape[1:])


def test_maps_of_an_image_that_is_no_square_keep_its_proportions() -> None:
    energies = GaborEnergies(CONFIG, (1, 36, 64))
    assert energies.out_shape == (8, 4, 8)
    assert energies(torch.randn(2, 1, 36, 64)).shape == (2, 8, 4, 8)


def test_filters_have_norm_1_ignore_light_and_are_in_quadrature() -> None:
    bank = gabor_bank(CONFIG, 8.0)
    even, odd = np.split(bank.reshape(len(bank), -1), 2)
    np.testing.assert_allclose(np.linalg.norm(bank, axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(bank.sum((1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose((even * odd).sum(1), 0, atol=1e-5)


def test_a_gabor_has_the_orientation_frequency_and_size_it_was_asked_for() -> None:
    place = np.arange(-20, 21, dtype=np.float32)[None]
    even, odd = gabor_pairs(
        place,
        place,
        orientation=np.array([0.0]),
        frequency=np.array([0.1]),
        sigma=np.array([[4.0, 6.0]]),
    )
    x = place[0].astype(np.float64)
    # The odd one needs no correction for uniform light: its even and odd halves cancel.
    expected = np.exp(-(x**2) / 32) * np.sin(0.2 * np.pi * x)
    np.testing.assert_allclose(odd[0, 20] / odd[0, 20, 22], expected / expected[22], atol=1e-4)
    np.testing.assert_allclose(odd[0, :, 22] / odd[0, 20, 22], np.exp(-(x**2) / 72), atol=1e-4)
    assert even[0, 20, 20] == even.max()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wavelengths", ()),
        ("wavelengths", (1.5,)),
        ("orientations", 0),
        ("envelope", 0),
        ("exponent", 1.5),
        ("pool", 0),
    ],
)
def test_an_impossible_bank_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        GaborConfig(**{field: value})  # type: ignore[arg-type]


def test_a_gabor_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="wavelengths: a Gabor of 21 pixels is 49 wide"):
        GaborEnergies(GaborConfig(), (1, 16, 16))


def test_images_of_another_shape_are_refused(energies: GaborEnergies) -> None:
    with pytest.raises(ValueError, match=r"images: shape \(2, 1, 48, 40\), expected \(batch, 1, 4"):
        energies(torch.zeros(2, 1, 48, 40))
