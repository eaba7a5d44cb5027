"""Corruptions: the same pictures in any company, and what each does to an image."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch import Tensor

from regularized_training.robustness.corruptions import blur, filters, spatter, weather
from regularized_training.robustness.corruptions.config import (
    ALL,
    CATEGORY_OF,
    EXTRA,
    PUBLISHED,
    SEVERITIES,
    Corruption,
    CorruptionConfig,
)
from regularized_training.robustness.corruptions.corrupt import corrupt
from regularized_training.robustness.corruptions.severities import SIZES, parameters
from regularized_training.robustness.draws import BLOCK

RNG = np.random.default_rng(0)
SPATTERED = (1, 5)  # severities of water and of mud, and some of all others


def photographs(n: int, height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth colours with edges."""
    rng = np.random.default_rng(0)  # the same whatever else was tested before
    noise = rng.standard_normal((n, channels, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 0, height / 8, width / 8), mode="wrap")
    scaled = 0.5 + 0.25 * smooth / max(smooth.std(), 1e-9)
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# -- the same pictures -------------------------------------------------------------------------


@pytest.mark.parametrize("corruption", ALL)
def test_a_picture_is_the_same_in_any_company(corruption: Corruption, threads: None) -> None:
    """To the bit: in batches of any size, in any order, among other images, on more threads."""
    images = photographs(160, 33, 32)
    index = np.arange(len(images)) + BLOCK - 30  # of two blocks
    for severity in SPATTERED:
        torch.set_num_threads(1)
        whole = corrupt(images, corruption, severity, index, seed=3)
        torch.set_num_threads(2)
        assert torch.equal(corrupt(images, corruption, severity, index, seed=3), whole)
        order = RNG.permutation(len(images))
        shuffled = corrupt(images[order], corruption, severity, index[order], seed=3)
        assert torch.equal(shuffled, whole[torch.from_numpy(order)])
        for start, size in ((0, 1), (29, 3), (100, 7)):
            rows = slice(start, start + size)
            few = corrupt(images[rows], corruption, severity, index[rows], seed=3)
            assert torch.equal(few, whole[rows])


@pytest.mark.parametrize("corruption", ALL)
def test_images_and_severities_and_seeds_have_draws_of_their_own(corruption: Corruption) -> None:
    image = np.repeat(photographs(1, 32, 32), 2, axis=0)
    made = corrupt(image, corruption, 3, np.array([0, 1]))
    other = corrupt(image[:1], corruption, 3, seed=1)
    drawn = corruption not in (
        *("defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast"),
        *("saturate", "pixelate", "jpeg_compression"),
    )
    assert torch.equal(made[0], made[1]) is not drawn
    assert torch.equal(made[:1], other) is not drawn


@pytest.mark.parametrize("corruption", ALL)
@pytest.mark.parametrize(("height", "width"), [(1, 9), (9, 1), (1, 1), (2, 3), (17, 40), (96, 64)])
def test_any_size_and_grey_images_are_corrupted(
    corruption: Corruption, height: int, width: int
) -> None:
    colour, grey = photographs(2, height, width), photographs(2, height, width, 1)
    for severity in SPATTERED:
        assert corrupt(colour, corruption, severity).shape == colour.shape
        made = corrupt(grey, corruption, severity)
        assert made.shape == grey.shape and made.dtype == torch.uint8
        # As if photographs without colour had been corrupted, and then turned grey.
        three = corrupt(np.repeat(grey, 3, 1), corruption, severity).float()
        weighed = (three * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        assert (made.float() - weighed).abs().max() <= 0.51


@pytest.mark.parametrize(
    "corruption", [name for name, kind in CATEGORY_OF.items() if kind == "blur"] + ["contrast",
                   "elastic_transform", "pixelate"],
)  # fmt: skip
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_an_image_of_one_grey_stays_as_it_is(corruption: Corruption, level: int) -> None:
    """Also where it is between two levels but for rounding errors."""
    flat = np.full((2, 3, 32, 32), level, np.uint8)
    for severity in SEVERITIES:
        assert (corrupt(flat, corruption, severity) == level).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corruption", ALL)
def test_severer_corruptions_change_images_more(corruption: Corruption, size: int) -> None:
    """From the mildest to the severest; not from each to the next, as those published do not."""
    images = photographs(24 if size < 224 else 3, size, size)

    def changed(severity: int) -> float:
        made = corrupt(images, corruption, severity).float()
        return (made - torch.from_numpy(images).float()).square().mean().item()

    if corruption in ("elastic_transform", "saturate"):
        assert min(changed(s) for s in SEVERITIES) > 1
    else:
        assert changed(5) > 1.15 * changed(1) > 0


# -- what each does ----------------------------------------------------------------------------


def flat(level: int, n: int = 40) -> NDArray[np.uint8]:
    return np.full((n, 3, 32, 32), level, np.uint8)


def test_noises_have_the_moments_that_they_say() -> None:
    gaussian = corrupt(flat(128), "gaussian_noise", 5).float() / 255
    assert gaussian.std().item() == pytest.approx(0.1, rel=0.02)
    speckle = corrupt(flat(64), "speckle_noise", 5).float() / 255
    assert speckle.std().item() == pytest.approx(0.2 * 64 / 255, rel=0.02)
    impulse = corrupt(flat(128), "impulse_noise", 5).numpy()
    assert (impulse == 0).mean() == pytest.approx(0.035, abs=0.003)
    assert (impulse == 255).mean() == pytest.approx(0.035, abs=0.003)
    for level in (10, 128, 250):
        shot = corrupt(flat(level), "shot_noise", 5).numpy()
        # Photons, of which 50 are white: pixels are cut to the level below, and at white.
        photons = np.arange(200)
        chance = stats.poisson.pmf(photons, 50 * level / 255)
        seen = np.floor(np.minimum(photons / 50, 1) * 255 + 1e-3)
        mean = (chance * seen).sum()
        deviation = np.sqrt((chance * (seen - mean) ** 2).sum())
        assert shot.mean() == pytest.approx(mean, abs=4 * deviation / np.sqrt(shot.size))
        assert shot.std() == pytest.approx(deviation, rel=0.02)


def test_a_kernel_is_applied_as_by_scipy() -> None:
    images = photographs(2, 40, 33).astype(np.float32) / 255
    kernel = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    ours = filters.correlated(torch.from_numpy(images), kernel)
    theirs = ndimage.correlate(images, kernel.numpy()[None, None], mode="mirror")
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_zoom_is_scipys() -> None:
    image = photographs(1, 32, 32).astype(np.float64)
    for factor in (1.0, 1.11, 1.26, 2.25):
        shown = int(np.ceil(32 / factor))
        top = (32 - shown) // 2
        crop = image[0, :, top : top + shown, top : top + shown]
        larger = ndimage.zoom(crop, (1, factor, factor), order=1)
        trim = (larger.shape[1] - 32) // 2
        ours = filters.zoomed(torch.from_numpy(image), factor)[0]
        np.testing.assert_allclose(ours, larger[:, trim : trim + 32, trim : trim + 32], atol=1e-9)


def test_a_moving_point_leaves_a_line_in_its_direction() -> None:
    point = torch.zeros(3, 1, 41, 41)
    point[:, :, 20, 20] = 1
    degrees = torch.tensor([0.0, 45.0, -30.0], dtype=torch.float64)
    made = filters.motion_blurred(point, 10, 4, degrees)
    y, x = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    for image, angle in zip(made[:, 0], degrees.tolist(), strict=True):
        assert image.sum() == pytest.approx(1, abs=0.1)
        along = -torch.tensor([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        across = (x * along[1] - y * along[0]).abs()
        assert across[image > 0].max() <= 0.75
        assert (x * along[0] + y * along[1])[image > 0].min() >= -0.75


def test_glass_takes_values_in_turn() -> None:
    """Literally, pixel after pixel."""
    reach = 2
    offsets = RNG.integers(-reach, reach, (3, 2, 12, 14)).astype(np.int8)
    ours = blur._sources(torch.from_numpy(offsets).long(), reach).numpy()
    for number, one in enumerate(offsets):
        value = np.arange(12 * 14).reshape(12, 14)
        for y in range(12 - reach, reach, -1):
            for x in range(14 - reach, reach, -1):
                value[y, x] = value[y + one[1, y, x], x + one[0, y, x]]
        np.testing.assert_array_equal(ours[number], value.ravel())


def test_brightness_and_saturation_are_those_of_hue_saturation_value() -> None:
    images = RNG.integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    images[:, :, 0] = 0  # black
    images[:, :, 1] = images[:, :1, 1]  # grey
    pixels = images[0].reshape(3, -1).T / 255
    value, scale, plus = parameters("brightness", 3, 32)[0], *parameters("saturate", 4, 32)
    lighter, richer = [], []
    for pixel in pixels:
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        lighter.append(colorsys.hsv_to_rgb(h, s, min(v + value, 1)))
        richer.append(colorsys.hsv_to_rgb(h, min(s * scale + plus, 1), v))
    for corruption, severity, expected in (("brightness", 3, lighter), ("saturate", 4, richer)):
        made = corrupt(images, corruption, severity)[0].reshape(3, -1).T.numpy()  # type: ignore[arg-type]
        assert np.abs(made - np.floor(np.array(expected) * 255)).max() <= 1


def test_contrast_keeps_each_channels_mean() -> None:
    images = photographs(3, 32, 32)
    made = corrupt(images, "contrast", 5).float().numpy()
    assert made.mean((2, 3)) == pytest.approx(images.mean((2, 3)), abs=1)
    assert made.std((2, 3)) == pytest.approx(0.15 * images.std((2, 3)), rel=0.05)


def test_clouds_are_rougher_the_less_their_variation_falls() -> None:
    varied = torch.from_numpy(2 * RNG.random((50, 64**2 - 1)) - 1)
    roughness = []
    for decay in (1.5, 2.0, 3.0):
        made = weather.clouds(varied, 64, decay)
        assert made.amin() == 0 and made.amax() == 1
        roughness.append(made.diff(dim=1).square().mean().item())
    assert roughness == sorted(roughness, reverse=True)
    # On a torus: what is beyond an edge goes on at the other.
    across = (made[:, :, 0] - made[:, :, -1]).abs().mean()
    assert across < 2 * made.diff(dim=2).abs().mean()


def test_edges_of_a_square_are_its_outline_and_distances_are_those_to_them() -> None:
    image = torch.zeros(1, 1, 24, 24)
    image[:, :, 8:16, 8:16] = 200
    edges = spatter.edges(image)
    assert edges.any() and not edges[:, :, 10:14, 10:14].any() and not edges[:, :, :6].any()
    distance = spatter._distance(edges)[0, 0].numpy()
    exact = ndimage.distance_transform_edt(~edges[0, 0].numpy())
    np.testing.assert_allclose(distance, exact, rtol=0.03)


def test_an_equalised_histogram_is_flat() -> None:
    levels = torch.from_numpy(RNG.integers(100, 140, (2, 1, 64, 64))).float()
    made = spatter._equalised(levels)
    assert made.amin() == 0 and made.amax() == 255
    ranks = stats.rankdata(levels[0].numpy()) / 4096
    assert made[0].flatten().numpy() / 255 == pytest.approx(ranks, abs=0.03)
    same = torch.full((1, 1, 4, 4), 7.0)
    assert torch.equal(spatter._equalised(same), same)


# -- settings and errors -----------------------------------------------------------------------


def test_severities_between_the_published_sizes_lie_between() -> None:
    for corruption in ALL:
        for severity in SEVERITIES:
            low, high = (np.array(parameters(corruption, severity, s)) for s in (32, 64))
            between = np.array(parameters(corruption, severity, 45))
            assert (between >= np.minimum(low, high)).all()
            assert (between <= np.maximum(low, high)).all()
            assert parameters(corruption, severity, 300) == parameters(corruption, severity, 224)
            assert parameters(corruption, severity, 28) == parameters(corruption, severity, 32)
    assert parameters("glass_blur", 5, 50)[1:] == (2, 2)  # whole pixels and passes


def test_there_are_fifteen_and_four_in_four_categories() -> None:
    assert len(PUBLISHED) == 15 and len(EXTRA) == 4 and set(CATEGORY_OF) == set(ALL)
    assert CorruptionConfig().kinds == PUBLISHED


@pytest.mark.parametrize(
    ("images", "corruption", "severity", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), "fog", 1, "expected uint8.*multiply"),
        (np.zeros((1, 4, 8, 8), np.uint8), "fog", 1, r"shape \(1, 4, 8, 8\), expected \(n, 1 or 3"),
        (np.zeros((3, 8, 8), np.uint8), "fog", 1, r"shape \(3, 8, 8\), expected \(n, 1 or 3"),
        (np.zeros((1, 3, 0, 8), np.uint8), "fog", 1, "not empty"),
        (np.zeros((1, 3, 8, 8), np.uint8), "rain", 1, "'rain', expected one of gaussian_noise"),
        (np.zeros((1, 3, 8, 8), np.uint8), "fog", 6, "severity: 6, expected 1 to 5"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(
    images: NDArray, corruption: Corruption, severity: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        corrupt(images, corruption, severity)


def test_numbers_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"index: shape \(3,\), expected \(2,\)"):
        corrupt(flat(0, 2), "fog", 1, np.arange(3))


def test_no_images_are_no_pictures() -> None:
    none: Tensor = corrupt(flat(0, 0), "fog", 1)
    assert none.shape == (0, 3, 32, 32)
