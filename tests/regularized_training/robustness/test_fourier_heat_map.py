"""Networks that see some frequencies alone are disturbed by waves of these alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.robustness.fourier_heat_map import (
    fourier_basis,
    fourier_heat_map,
    random_signs,
)
from regularized_training.robustness.fourier_heat_map_config import FourierHeatMapConfig

SIDE, CLASSES, N = 16, 4, 80
RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.arange(N) % CLASSES)
# Each class is a wave of 3 cycles, at another phase.
PHASES = torch.arange(CLASSES)[:, None] * torch.pi / 2
ACROSS = torch.cos(6 * torch.pi * torch.arange(SIDE) / SIDE + PHASES)
PATTERNS = ACROSS[:, None, None].expand(CLASSES, 2, SIDE, SIDE)  # of two channels
IMAGES = (0.5 + 0.2 * PATTERNS[LABELS]).mul(255).round().to(torch.uint8).numpy()
RADIUS = np.hypot(*np.meshgrid(*2 * [np.arange(-8, 9)], indexing="ij")) / SIDE


def config(**settings: object) -> FourierHeatMapConfig:
    return FourierHeatMapConfig.model_validate({"n_images": None, "norm": 2.0} | settings)


class Sees(nn.Module):
    """Says whose pattern an image has most of."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, PATTERNS)


class Band(nn.Module):
    """Right, unless a band of frequencies, in cycles per pixel, is not as its class has it."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        down, across = torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)
        radius = torch.hypot(down, across)
        self.passed = ((radius >= low) & (radius <= high)).float()

    def forward(self, images: Tensor) -> Tensor:
        answers = Sees()(images)
        rest = images - (0.5 + 0.2 * PATTERNS[answers.argmax(1)])
        left = torch.fft.irfft2(torch.fft.rfft2(rest) * self.passed, s=(SIDE, SIDE))
        disturbed = left.flatten(1).norm(dim=1) > 1
        return torch.where(disturbed[:, None], answers.roll(1, 1), answers)


class Guesses(nn.Module):
    """Answers by a hash of the image."""

    def forward(self, images: Tensor) -> Tensor:
        mixed = images.flatten(1) @ torch.sin(torch.arange(2 * SIDE * SIDE) * 12.9898) * 43758.5
        return torch.sin(mixed[:, None] * torch.arange(1, CLASSES + 1))


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.14), (0.25, 1.0)])
def test_a_band_of_frequencies_that_a_network_sees_is_where_it_errs(
    low: float, high: float
) -> None:
    found = fourier_heat_map(Band(low, high), IMAGES, LABELS, config())
    assert found.clean_error == 0 and found.n == N and found.map.shape == (17, 17)
    inside = np.logical_and(low <= RADIUS, high >= RADIUS)
    np.testing.assert_array_equal(found.map, inside)
    bands = found.bands
    assert (bands["low"] == 0) == (low > 0) and (bands["high"] == 1) == (high == 1)


def test_waves_like_those_of_classes_disturb_and_no_others() -> None:
    # Amplitudes: 0.2 of the image, 4 * 2^1/2 / 16 = 0.35 of a wave, which is right by its sign.
    found = fourier_heat_map(Sees(), IMAGES, LABELS, config(norm=4.0))
    where = np.argwhere(found.map > 0) - 8
    np.testing.assert_array_equal(where, [[0, -3], [0, 3]])
    # Of two channels whose signs differ, nothing is left of the wave: all are right.
    number = found.frequencies.number[8, 5]
    signs = random_signs(np.arange(N), len(found.error), 2, 0)[:, number]
    added = 0.5 * signs.sum(1) * 0.35 * np.cos(np.arange(4) * np.pi / 2).round()[:, None]
    scores = 0.2 * np.eye(4)[LABELS] - 0.2 * np.eye(4)[(LABELS + 2) % 4] + added.T
    assert found.error[number] == pytest.approx((scores.argmax(1) != LABELS).mean())
    assert 0.2 < found.error[number] < 0.6


def test_one_who_guesses_errs_by_chance_at_every_frequency() -> None:
    found = fourier_heat_map(Guesses(), IMAGES, LABELS, config())
    assert found.error.mean() == pytest.approx(1 - 1 / CLASSES, abs=0.02)
    assert found.error.std() < 3 * (0.75 * 0.25 / N) ** 0.5


def test_what_is_found_does_not_depend_on_batches_nor_on_the_other_frequencies() -> None:
    network = Band(0.0, 0.2)
    found = fourier_heat_map(network, IMAGES, LABELS, config(n_images=50, seed=3))
    for size in (7, 64, 500):
        again = fourier_heat_map(
            network, IMAGES, LABELS, config(n_images=50, seed=3, batch_size=size)
        )
        np.testing.assert_array_equal(again.error, found.error)
    few = fourier_heat_map(network, IMAGES, LABELS, config(step=4))
    assert few.frequencies.down.tolist() == few.frequencies.across.tolist() == [-8, -4, 0, 4, 8]
    np.testing.assert_array_equal(few.map, found.map[::4, ::4])
    near = fourier_heat_map(network, IMAGES, LABELS, config(largest=2))
    np.testing.assert_array_equal(near.map, found.map[6:11, 6:11])
    assert near.bands["high"] is None and near.bands["middle"] is not None


def test_waves_have_one_frequency_and_norm_1() -> None:
    for height, width in ((16, 16), (7, 10), (9, 5)):
        frequencies = config().frequencies(height, width)
        waves = fourier_basis(frequencies.tried, height, width)
        torch.testing.assert_close(waves.flatten(1).norm(dim=1), torch.ones(len(waves)))
        power = torch.fft.fft2(waves).abs() > 1e-3
        for (down, across), there in zip(frequencies.tried, power, strict=True):
            places = {(down % height, across % width), (-down % height, -across % width)}
            assert {tuple(place) for place in there.nonzero().tolist()} == places
        # Every frequency of such images, and none twice.
        assert (power.sum(0) == 1).all()
        number = frequencies.number
        np.testing.assert_array_equal(number, number[::-1, ::-1])
        assert number[height // 2, width // 2] == np.flatnonzero(frequencies.radius == 0)[0]


def test_signs_belong_to_image_frequency_and_channel() -> None:
    signs = random_signs(np.arange(300), 20, 3, 0)
    assert set(np.unique(signs)) == {-1, 1} and abs(signs.mean()) < 0.03
    assert abs(np.corrcoef(signs.reshape(300, -1).T) - np.eye(60)).max() < 0.3
    np.testing.assert_array_equal(random_signs(np.array([250, 4]), 20, 3, 0), signs[[250, 4]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"largest": 9}, "largest: 9 cycles per image, expected at most 8"),
        ({"step": 9}, "step: 9, expected at most 8"),
        ({"largest": 4, "step": 5}, "step: 5, expected at most 4"),
    ],
)
def test_frequencies_that_images_do_not_have_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fourier_heat_map(Sees(), IMAGES, LABELS, config(**settings))


@pytest.mark.parametrize("settings", [{"norm": 0}, {"step": 0}, {"largest": 0}, {"n_images": 0}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="greater than"):
        config(**settings)
