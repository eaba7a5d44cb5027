from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from regularized_training.robustness.manipulations.filters import (
    MEAN,
    high_pass,
    low_pass,
)

SIZES = [(1, 1), (1, 9), (8, 8), (15, 7)]
SIGMAS = [0.1, 0.4, 0.7, 1.0, 3.0, 10.0, 40.0]


def pictures(size: tuple[int, int], n: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, 1, *size)))


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("size", SIZES)
def test_low_pass_is_that_of_scipy(size: tuple[int, int], sigma: float) -> None:
    x = pictures(size)
    expected = [
        gaussian_filter(image[0].numpy(), sigma, mode="constant", cval=0.4423) for image in x
    ]
    torch.testing.assert_close(
        low_pass(x, sigma)[:, 0], torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("sigma", [0.4, 1.5])
def test_high_pass_and_low_pass_are_the_image_but_for_its_mean(sigma: float) -> None:
    x = pictures((9, 12))
    high = high_pass(x, sigma)
    torch.testing.assert_close(high.mean((1, 2, 3)), torch.full((3,), 0.4423).double())
    apart = high + low_pass(x, sigma) - x
    torch.testing.assert_close(apart, apart.mean((2, 3), keepdim=True).expand_as(apart))


def test_a_wide_filter_leaves_low_pass_of_the_mean_and_a_high_pass_of_the_image() -> None:
    x = pictures((6, 6))
    assert (low_pass(x, 1000.0) - MEAN).abs().max() < 1e-3
    torch.testing.assert_close(
        high_pass(x, 1000.0), x - x.mean((2, 3), keepdim=True) + MEAN, rtol=0, atol=1e-3
    )
