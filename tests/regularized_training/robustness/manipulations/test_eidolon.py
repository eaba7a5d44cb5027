from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter, map_coordinates

from regularized_training.robustness.manipulations.eidolon import (
    displaced,
    eidolon,
    scales,
    unit_fields,
    unit_noise,
)


def pictures(height: int, width: int, n: int = 4) -> torch.Tensor:
    """Blurred noise, which has as much at all scales as photographs do, roughly."""
    rng = np.random.default_rng(0)
    images = [
        sum(s * gaussian_filter(rng.standard_normal((height, width)), s) for s in (0.5, 1, 2, 4, 8))
        for _ in range(n)
    ]
    x = torch.from_numpy(np.stack(images))[:, None]
    low, high = x.amin((1, 2, 3), True), x.amax((1, 2, 3), True)
    return (x - low) / (high - low)


def disarrayed(x: torch.Tensor, reach: float, coherence: float) -> torch.Tensor:
    noise = unit_noise(np.arange(len(x)), *x.shape[2:], coherence, seed=0)
    return eidolon(x, noise, reach, coherence)


def error(x: torch.Tensor, reach: float, coherence: float) -> float:
    return (disarrayed(x, reach, coherence) - x).square().mean().item()


@pytest.mark.parametrize("coherence", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (33, 20), (32, 32)])
def test_without_reach_an_eidolon_is_the_image(size: tuple[int, int], coherence: float) -> None:
    x = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(0)).double()
    made = disarrayed(x, 0.0, coherence)
    torch.testing.assert_close(made, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("coherence", [1.0, 0.3, 0.0])
def test_more_reach_leaves_less_of_the_image(coherence: float) -> None:
    x = pictures(64, 64)
    errors = [error(x, reach, coherence) for reach in (1, 2, 4, 8, 16, 32, 64, 128)]
    assert errors == sorted(errors)


def test_coherence_displaces_all_scales_alike() -> None:
    """The image as a whole, and by as much whether or not it is first taken apart."""
    x = pictures(32, 32)
    whole, apart = (disarrayed(x, 16, c) for c in (1.0, 1 - 1e-9))
    torch.testing.assert_close(whole, apart, rtol=0, atol=1e-6)
    shift = 16 * 32 / 256 * unit_fields(unit_noise(np.arange(4), 32, 32, 1.0, seed=0).double())
    torch.testing.assert_close(whole, displaced(x, shift[:, 0]))


def test_without_coherence_scales_go_their_own_ways() -> None:
    """An image that is displaced keeps its grey levels; scales that part company do not."""
    x = pictures(64, 64)

    def distance(coherence: float) -> float:
        """Of the sorted grey levels of eidolons from those of the images."""
        made = disarrayed(x, 32, coherence)
        both = [images.flatten(1).sort(1).values for images in (made, x)]
        return (both[0] - both[1]).abs().mean().item()

    assert distance(0.0) > distance(0.3) > 1.5 * distance(1.0)


def test_fields_of_scales_and_the_shared_one_are_independent_and_of_unit_variance() -> None:
    noise = unit_noise(np.arange(1000), 26, 13, 0.3, seed=0).double()
    assert noise.shape == (1000, len(scales(26)) + 2, 2, 26, 13)
    fields = unit_fields(noise)
    flat = fields.transpose(0, 1).flatten(1).numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 0.02
    # At every pixel, those at the edges too.
    np.testing.assert_allclose(fields[:, 0].std(0), 1, atol=0.12)
    assert fields.std().item() == pytest.approx(1, abs=0.01)
    assert stats.kstest(fields[:, 0, 0, 0, 0].numpy(), "norm").pvalue > 0.01


def test_eidolons_of_any_coherence_have_the_same_fields() -> None:
    shared, both, own = (unit_noise(np.arange(3), 8, 6, c, seed=0) for c in (1.0, 0.3, 0.0))
    assert torch.equal(torch.cat([shared, own], 1), both)


def test_fields_are_as_smooth_as_the_grain() -> None:
    """White noise under a Gaussian of 10 pixels correlates as one of sqrt(2) times 10."""
    noise = unit_noise(np.arange(40), 256, 64, 1.0, seed=0).double()
    field = unit_fields(noise)[:, 0, :, 100:156]
    for distance in (5, 14, 20):
        pairs = field[:, :, :-distance], field[:, :, distance:]
        found = np.corrcoef(*(a.flatten().numpy() for a in pairs))[0, 1]
        assert found == pytest.approx(np.exp(-(distance**2) / 400), abs=0.1)


def test_displacement_is_sampling_between_pixels_with_mirrored_edges() -> None:
    x = pictures(6, 9, 2)
    shift = 4 * torch.from_numpy(np.random.default_rng(1).standard_normal((2, 2, 6, 9)))
    rows, columns = np.mgrid[:6, :9]
    expected = [
        map_coordinates(
            image[0], [rows + down.numpy(), columns + right.numpy()], order=1, mode="reflect"
        )
        for image, (down, right) in zip(x.numpy(), shift, strict=True)
    ]
    torch.testing.assert_close(displaced(x, shift)[:, 0], torch.from_numpy(np.stack(expected)))


def test_a_whole_shift_moves_what_is_right_to_the_left() -> None:
    x = pictures(5, 5, 1)
    shift = torch.zeros(1, 2, 5, 5).double()
    shift[:, 1] = 1
    torch.testing.assert_close(displaced(x, shift)[..., :-1], x[..., 1:])


@pytest.mark.parametrize(("height", "number"), [(256, 12), (224, 12), (64, 8), (32, 6), (4, 1)])
def test_scales_are_half_octaves_up_to_an_eighth_of_the_height(height: int, number: int) -> None:
    found = scales(height)
    assert len(found) == number
    np.testing.assert_allclose(np.square(found), 2.0 ** np.arange(-1, number - 1))
    assert len(scales(1)) == 1
