from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from regularized_training.robustness.blurring import Edge, blur_matrix, blurred

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.4, 1.0, 3.0, 10.0, 40.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (40, 33)])
@pytest.mark.parametrize("edge", ["constant", "nearest", "reflect"])
@pytest.mark.parametrize("truncate", [3, 4])
def test_a_blur_is_that_of_scipy(
    size: tuple[int, int], sigma: float, edge: Edge, truncate: float
) -> None:
    images = RNG.random((2, 3, *size))
    ours = blurred(torch.from_numpy(images), sigma, edge, truncate)
    theirs = gaussian_filter(images, (0, 0, sigma, sigma), mode=edge, truncate=truncate)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("edge", ["nearest", "reflect"])
def test_what_is_constant_stays_so_within_mirrored_or_repeated_edges(edge: Edge) -> None:
    for size in (1, 2, 5):
        assert blur_matrix(size, 3.0, edge).sum(1) == pytest.approx(np.ones(size))
