"""Our corruptions beside the published scripts', on the same images and with the same draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from regularized_training.robustness.corruptions import corrupt as module
from regularized_training.robustness.corruptions.config import ALL, SEVERITIES, Corruption
from regularized_training.robustness.corruptions.corrupt import as_pixels, corrupt
from regularized_training.robustness.corruptions.severities import Parameters, parameters
from regularized_training.robustness.corruptions.weather import ice

FILES = {32: "cifar10c_ref.npz", 64: "tinyimagenetc_ref.npz"}
CROPS = {32: "cifar", 64: "tiny"}
OURS_ALONE = ("shot_noise", "impulse_noise")  # drawn by another method than there
NEAR = 2  # grey levels


@pytest.fixture(scope="module")
def reference(data_folder: Path) -> dict[int, Any]:
    folder = data_folder / "corruption_reference"
    return {size: dict(np.load(folder / name)) for size, name in FILES.items()}


@pytest.fixture(scope="module")
def crops(data_folder: Path) -> Any:
    return dict(np.load(data_folder / "corruption_reference" / "frost_crops.npz"))


def first_channel(pictures: NDArray) -> NDArray:
    """(n, height, width, 3) as (n, 3, height, width)."""
    return np.ascontiguousarray(np.moveaxis(pictures, -1, 1))


def their_draws(corruption: Corruption, seed: int, size: int, p: Parameters) -> list[NDArray]:
    """What their script draws for an image after ``numpy.random.seed``, in its order."""
    rng = np.random.RandomState(seed)
    if corruption in ("gaussian_noise", "speckle_noise"):
        return [np.moveaxis(rng.normal(size=(size, size, 3)), -1, 0)]
    if corruption == "motion_blur":
        return [np.float64(rng.uniform(-45, 45))]
    if corruption == "snow":
        return [rng.normal(size=(1, size, size)), np.float64(rng.uniform(-135, -45))]
    if corruption == "fog":
        return [2 * rng.random_sample(size**2 - 1) - 1]
    if corruption == "spatter":
        return [rng.normal(size=(1, size, size))]
    if corruption == "elastic_transform":
        return [rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, (2, size, size))]
    assert corruption == "glass_blur"
    reach, passes = int(p[1]), int(p[2])
    offsets = np.zeros((passes, 2, size, size), np.int8)
    for one in offsets:
        for y in range(size - reach, reach, -1):
            for x in range(size - reach, reach, -1):
                one[:, y, x] = rng.randint(-reach, reach, size=2)
    return [offsets]


@pytest.mark.parametrize("size", FILES)
@pytest.mark.parametrize("corruption", [name for name in ALL if name not in OURS_ALONE])
def test_with_their_draws_a_corruption_is_theirs(
    corruption: Corruption, size: int, reference: dict[int, Any], crops: Any
) -> None:
    """Of 99 % of the pixels within two grey levels; in fact of nearly all."""
    theirs = reference[size]
    kind = list(theirs["names"]).index(corruption)
    clean = torch.from_numpy(first_channel(theirs["clean"])).float() / 255
    for severity in SEVERITIES:
        p = parameters(corruption, severity, size)
        draws: list[NDArray] = []
        if corruption == "frost":
            draws = [first_channel(crops[CROPS[size]][severity - 1]) / 255]
        elif module._KINDS[corruption].draw is not None:
            seeds = [10000 * kind + 100 * severity + k for k in range(len(clean))]
            each = [their_draws(corruption, seed, size, p) for seed in seeds]
            draws = [np.stack(part) for part in zip(*each, strict=True)]
        drawn = map(torch.from_numpy, draws)
        tensors = [d.float() if d.is_floating_point() else d for d in drawn]
        made = as_pixels(module._KINDS[corruption].corrupt(clean, p, *tensors).clamp(0, 1))
        expected = first_channel(theirs["corrupted"][kind, severity - 1])
        difference = np.abs(made.numpy().astype(int) - expected)
        assert (difference <= NEAR).mean() > 0.9995
        assert difference.max() <= NEAR + 1


@pytest.mark.parametrize("size", FILES)
@pytest.mark.parametrize("corruption", OURS_ALONE)
def test_what_is_drawn_in_another_way_has_their_moments_and_spectrum(
    corruption: Corruption, size: int, reference: dict[int, Any]
) -> None:
    """Of the change of each pixel; also as the pixel's brightness has it."""
    theirs = reference[size]
    kind = list(theirs["names"]).index(corruption)
    clean = first_channel(theirs["clean"])
    for severity in SEVERITIES:
        expected = first_channel(theirs["corrupted"][kind, severity - 1]) - clean.astype(float)
        ours = corrupt(clean, corruption, severity).numpy() - clean.astype(float)
        n = ours.size
        # Of a mean and of a variance, four standard errors of both samples.
        spread = np.sqrt((ours.var() + expected.var()) / n)
        assert abs(ours.mean() - expected.mean()) < 4 * spread
        fourth = [stats.moment(x, 4, axis=None) - x.var() ** 2 for x in (ours, expected)]
        assert abs(ours.var() - expected.var()) < 4 * np.sqrt(sum(fourth) / n)
        dark = clean < np.median(clean)
        ratios = [x[dark].var() / x[~dark].var() for x in (ours, expected)]
        assert ratios[0] == pytest.approx(ratios[1], rel=0.15)
        # White: as much at low spatial frequencies as at high ones.
        power = np.abs(np.fft.fft2(ours)) ** 2
        low = power[..., 1 : size // 4, 1 : size // 4].mean()
        assert low / power[..., size // 4 : size // 2, size // 4 : size // 2].mean() == (
            pytest.approx(1, abs=0.15)
        )


@pytest.mark.parametrize("size", FILES)
def test_synthetic_ice_is_like_that_of_the_photographs(size: int, crops: Any) -> None:
    """In brightness, contrast and colour, and how power falls with spatial frequency."""
    photographs = first_channel(crops[CROPS[size]].reshape(-1, size, size, 3)) / 255
    rng = np.random.default_rng(0)
    n = 400
    ours = ice(rng.standard_normal((n, size, size)), rng.standard_normal(n), rng.random(n))
    for one in (ours, photographs):
        assert one.shape[1:] == (3, size, size)
    few = 2 / np.sqrt(len(photographs))  # standard errors of as few crops as there are
    brightness = [x.mean((1, 2, 3)) for x in (ours, photographs)]
    assert abs(brightness[0].mean() - brightness[1].mean()) < few * brightness[1].std()
    assert brightness[0].std() == pytest.approx(brightness[1].std(), rel=0.35)
    contrast = [x.std((2, 3)).mean() for x in (ours, photographs)]
    assert contrast[0] == pytest.approx(contrast[1], rel=0.25)
    colours = [x.mean((0, 2, 3)) - x.mean() for x in (ours, photographs)]
    assert colours[0] == pytest.approx(colours[1], abs=0.04)
    assert slope(ours) == pytest.approx(slope(photographs), abs=0.5)


def slope(pictures: NDArray) -> float:
    """Of the logarithm of power against that of frequency, from 2 cycles an image on."""
    grey = pictures.mean(1)
    power = (np.abs(np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))) ** 2).mean(0)
    size = len(power)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size) * size] * 2))
    band = (frequency >= 2) & (frequency <= size / 3)
    return float(np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0])
