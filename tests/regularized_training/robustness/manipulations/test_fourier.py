from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from regularized_training.robustness.manipulations.fourier import (
    mean_amplitude,
    unit_phases,
    with_amplitude,
    with_phase_noise,
)

SIZES = [(1, 1), (1, 6), (5, 1), (2, 2), (8, 8), (7, 8), (8, 7), (9, 9)]


def pictures(size: tuple[int, int], n: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, 1, *size)))


def full_spectrum(images: torch.Tensor) -> torch.Tensor:
    return torch.fft.fft2(images.to(torch.complex128))


@pytest.mark.parametrize("size", SIZES)
def test_phase_noise_keeps_all_amplitudes(size: tuple[int, int]) -> None:
    x = pictures(size)
    noisy = with_phase_noise(x, unit_phases(np.arange(4), *size, seed=0), 180.0)
    assert noisy.shape == x.shape
    torch.testing.assert_close(full_spectrum(noisy).abs(), full_spectrum(x).abs())


@pytest.mark.parametrize("size", SIZES)
def test_phases_change_by_the_noise_and_by_its_opposite_at_opposite_frequencies(
    size: tuple[int, int],
) -> None:
    height, width = size
    unit = unit_phases(np.arange(4), *size, seed=0)
    noisy = with_phase_noise(pictures(size), unit, 90.0)
    turn = (full_spectrum(noisy) / full_spectrum(pictures(size))).angle()[:, 0]
    torch.testing.assert_close(turn[:, :, : width // 2 + 1], np.pi / 2 * unit)
    there = torch.arange(height)[:, None], torch.arange(width)
    opposite = -there[0] % height, -there[1] % width
    torch.testing.assert_close(turn[:, opposite[0], opposite[1]], -turn)


@pytest.mark.parametrize("size", SIZES)
def test_only_frequencies_that_are_their_own_opposite_have_no_phase_noise(
    size: tuple[int, int],
) -> None:
    own = [{0, n // 2} if n % 2 == 0 else {0} for n in size]
    unit = unit_phases(np.arange(4), *size, seed=0)
    for row in range(size[0]):
        for column in range(size[1] // 2 + 1):
            none = row in own[0] and column in own[1]
            assert (unit[:, row, column] == 0).all().item() is none


def test_phase_noise_is_uniform() -> None:
    unit = unit_phases(np.arange(300), 9, 9, seed=0)
    assert stats.kstest(unit[:, :, 1:].flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert stats.kstest(unit[:, 1, 0].numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("size", SIZES)
def test_equalised_images_have_the_mean_amplitude_and_their_own_phases(
    size: tuple[int, int],
) -> None:
    x = pictures(size)
    amplitude = mean_amplitude(x)
    torch.testing.assert_close(amplitude, torch.fft.rfft2(x).abs().mean((0, 1)))
    equal = torch.fft.rfft2(with_amplitude(x, amplitude))
    torch.testing.assert_close(equal.abs(), amplitude.expand_as(equal))
    turn = equal / torch.fft.rfft2(x)
    assert turn.real.min() > 0
    assert turn.imag.abs().max() < 1e-9


def test_an_image_without_a_frequency_gets_it_at_phase_0() -> None:
    """Of one grey, or black: otherwise rounding would decide what is seen."""
    amplitude = mean_amplitude(pictures((6, 6)))
    one, black = torch.full((1, 1, 6, 6), 0.3).double(), torch.zeros(1, 1, 6, 6).double()
    expected = torch.fft.irfft2(amplitude.to(torch.complex128), s=(6, 6))[None, None]
    torch.testing.assert_close(with_amplitude(one, amplitude), expected)
    torch.testing.assert_close(with_amplitude(black, amplitude), expected)


def test_mean_amplitude_is_of_all_images_made_grey() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 200, 100)).astype(np.uint8)
    luma = np.tensordot([0.2125, 0.7154, 0.0721], images / 255, (0, 1))
    expected = np.abs(np.fft.rfft2(luma)).mean(0)
    torch.testing.assert_close(mean_amplitude(images), torch.from_numpy(expected))


def test_a_spectrum_of_another_size_and_an_empty_set_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(8, 8\), expected \(8, 5\)"):
        with_amplitude(pictures((8, 8)), torch.ones(8, 8))
    with pytest.raises(ValueError, match="images: none"):
        mean_amplitude(np.zeros((0, 1, 4, 4), np.uint8))
