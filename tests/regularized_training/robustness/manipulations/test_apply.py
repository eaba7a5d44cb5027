from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
import torch

from regularized_training.robustness.draws import BLOCK
from regularized_training.robustness.manipulations.apply import manipulate
from regularized_training.robustness.manipulations.config import (
    IN_COLOUR,
    PUBLISHED_LEVELS,
    Manipulation,
)
from regularized_training.robustness.manipulations.fourier import mean_amplitude

NAMES: tuple[Manipulation, ...] = get_args(Manipulation)
RANDOM = {"uniform_noise", "salt_and_pepper", "phase_noise", "eidolon_1", "eidolon_2", "eidolon_3"}
UNTOUCHED: dict[Manipulation, float] = {
    "grey": 0,
    "false_colour": 0,
    "contrast": 1,
    "salt_and_pepper": 0,
    "low_pass": 0,
    "high_pass": math.inf,
    "phase_noise": 0,
    "power_equalisation": 0,
    "rotation": 0,
    "eidolon_1": 0,
    "eidolon_2": 0,
    "eidolon_3": 0,
}
MIDDLE: dict[Manipulation, float] = {
    **{name: levels[-2] for name, levels in PUBLISHED_LEVELS.items()},
    "grey": 1,
    "false_colour": 1,
    "power_equalisation": 1,
    "high_pass": 0.7,
    "low_pass": 3,
}


def pictures(n: int, channels: int = 3, height: int = 15, width: int = 15) -> np.ndarray:
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, channels, height, width)).astype(np.uint8)


def made(images: np.ndarray | torch.Tensor, name: Manipulation, level: float, index=None, seed=3):
    index = np.arange(len(images)) if index is None else index
    amplitude = mean_amplitude(images) if name == "power_equalisation" and len(images) else None
    return manipulate(images, name, level, index=index, seed=seed, mean_amplitude=amplitude)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_the_same_to_the_bit_in_any_batch_order_and_number_of_threads(
    name: Manipulation,
) -> None:
    images = pictures(9)
    numbers = np.array([0, 5, 127, 128, 129, 3, 400, 257, 2])  # of several blocks
    amplitude = mean_amplitude(images)

    def some(rows: np.ndarray) -> torch.Tensor:
        return manipulate(
            images[rows],
            name,
            MIDDLE[name],
            index=numbers[rows],
            seed=3,
            mean_amplitude=amplitude,
        )

    torch.set_num_threads(1)
    everything = some(np.arange(9))
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for size in (1, 3, 9):
            parts = [some(np.arange(start, start + size)) for start in range(0, 9, size)]
            assert torch.equal(torch.cat(parts), everything)
        order = np.random.default_rng(0).permutation(9)
        assert torch.equal(some(order), everything[order])


@pytest.mark.parametrize("name", ["low_pass", "phase_noise", "salt_and_pepper", "eidolon_1"])
def test_large_images_which_are_made_a_few_at_a_time_are_those_made_alone(
    name: Manipulation,
) -> None:
    images = pictures(5, 3, 224, 224)
    alone = [made(images[i : i + 1], name, MIDDLE[name], index=np.array([i])) for i in range(5)]
    assert torch.equal(made(images, name, MIDDLE[name]), torch.cat(alone))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_random_differs_with_seed_and_image_and_nothing_else_does(
    name: Manipulation,
) -> None:
    images = np.repeat(pictures(1), 2, 0)
    once, other = (made(images, name, MIDDLE[name], seed=seed) for seed in (3, 4))
    assert torch.equal(once[0], once[1]) is (name not in RANDOM)
    assert torch.equal(once, other) is (name not in RANDOM)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", UNTOUCHED)
def test_the_level_of_no_manipulation_leaves_images_as_they_are_or_grey(
    name: Manipulation, channels: int
) -> None:
    images = pictures(5, channels)
    if name == "false_colour" and channels == 1:
        return
    made_grey = made(images, "grey", float(name not in IN_COLOUR))
    assert torch.equal(made(images, name, UNTOUCHED[name]), made_grey)


@pytest.mark.parametrize("name", sorted(set(NAMES) - IN_COLOUR))
def test_what_is_published_in_grey_is_grey_in_three_channels_and_the_same_in_one(
    name: Manipulation,
) -> None:
    images = pictures(4)
    found = made(images, name, MIDDLE[name])
    assert found.dtype == torch.uint8
    assert torch.equal(found[:, :1].expand(-1, 3, -1, -1), found)
    one = pictures(4, 1)
    alike = made(np.repeat(one, 3, 1), name, MIDDLE[name])
    assert torch.equal(made(one, name, MIDDLE[name]), alike[:, :1])


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (2, 2), (5, 8), (6, 9), (31, 31)])
@pytest.mark.parametrize("name", NAMES)
def test_any_size_of_image_comes_out_with_its_shape(
    name: Manipulation, size: tuple[int, int]
) -> None:
    images = pictures(3, 3, *size)
    if name == "rotation":
        if size[0] != size[1]:
            with pytest.raises(ValueError, match=f"images of {size[0]} x {size[1]}.*square"):
                made(images, name, 90)
        assert torch.equal(made(images, name, 180), torch.from_numpy(images).flip(2, 3))
        return
    # Twice, as what is read from memory that nobody wrote to would differ.
    once, again = (made(images, name, MIDDLE[name]) for _ in range(2))
    assert once.shape == images.shape
    assert torch.equal(once, again)


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize("name", ["phase_noise", "eidolon_1", "eidolon_2", "eidolon_3", "rotation"])
@pytest.mark.parametrize("size", [(1, 6), (12, 12), (9, 9)])
def test_an_image_of_one_grey_stays_so_where_grey_levels_are_only_moved(
    name: Manipulation, value: int, size: tuple[int, int]
) -> None:
    images = np.full((2, 1, *size), value, np.uint8)
    level = 180.0 if name == "rotation" else MIDDLE[name]
    assert torch.equal(made(images, name, level), torch.from_numpy(images))


@pytest.mark.parametrize("name", NAMES)
def test_floats_and_tensors_are_the_same_images(name: Manipulation) -> None:
    images = pictures(4)
    found = made(images, name, MIDDLE[name])
    as_float = (images / 255).astype(np.float32)
    for given in (torch.from_numpy(images), as_float, torch.from_numpy(as_float).double()):
        other = made(given, name, MIDDLE[name])
        assert (other.int() - found.int()).abs().max() <= 1
        assert (other != found).double().mean() < 0.01


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_one_draw_serves_all_levels(name: Manipulation) -> None:
    """So that a change of level by next to nothing changes next to nothing."""
    images = pictures(4)
    level = MIDDLE[name]
    a, b = (made(images, name, factor * level) for factor in (1, 1 - 1e-7))
    assert (a.int() - b.int()).abs().double().mean() < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_no_images_are_no_images(name: Manipulation) -> None:
    images = np.zeros((0, 3, 6, 6), np.uint8)
    found = manipulate(
        images,
        name,
        MIDDLE[name],
        index=np.zeros(0, np.int64),
        seed=0,
        mean_amplitude=torch.ones(6, 4),
    )
    assert found.shape == images.shape
    assert found.dtype == torch.uint8


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((3, 2, 4, 4), np.uint8), r"shape \(3, 2, 4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\)"),
        (np.zeros((3, 1, 0, 4), np.uint8), "at least one pixel"),
        (np.zeros((3, 1, 4, 4), np.int64), "type torch.int64, expected uint8"),
        (np.full((3, 1, 4, 4), 1.5), "not all in 0 to 1"),
        (np.full((3, 1, 4, 4), np.nan), "not all in 0 to 1"),
    ],
)
def test_what_is_no_image_is_refused(images: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(images, "contrast", 0.5)


@pytest.mark.parametrize("index", [np.arange(2), np.array([0.0, 1.0, 2.0]), np.array([-1, 0, 1])])
def test_numbers_of_images_must_be_theirs(index: np.ndarray) -> None:
    with pytest.raises(ValueError, match="index: .* numbers of 3 images, integers from 0"):
        made(pictures(3), "contrast", 0.5, index=index)


@pytest.mark.parametrize("level", [0, 1])
def test_grey_has_no_opponent_colour(level: float) -> None:
    with pytest.raises(ValueError, match="false_colour: images of 1 channel, expected 3"):
        made(pictures(3, 1), "false_colour", level)


def test_power_cannot_be_equalised_without_a_set() -> None:
    with pytest.raises(ValueError, match="mean_amplitude: none"):
        manipulate(pictures(2), "power_equalisation", 1, index=np.arange(2), seed=0)


def test_contrast_is_that_of_its_equation_and_0_uniform_grey() -> None:
    images = pictures(4, 1)
    assert (made(images, "contrast", 0.0) == 128).all()
    expected = np.floor(255 * 0.35 + 0.3 * images + 0.5)
    assert np.array_equal(made(images, "contrast", 0.3).numpy(), expected)


def test_uniform_noise_spans_its_width_around_an_image_of_contrast_three_tenths() -> None:
    images = np.full((BLOCK, 1, 20, 20), 51, np.uint8)
    found = made(images, "uniform_noise", 0.2).double() / 255 - (0.35 + 0.3 * 0.2)
    half = 0.5 / 255
    assert found.min().item() == pytest.approx(-0.2, abs=2 * half)
    assert found.max().item() == pytest.approx(0.2, abs=2 * half)
    assert found.var().item() == pytest.approx(0.2**2 / 3, rel=0.02)


@pytest.mark.parametrize("p", [0.1, 0.95, 1.0])
def test_salt_and_pepper_are_half_each(p: float) -> None:
    images = np.full((BLOCK, 3, 20, 20), 100, np.uint8)
    found = made(images, "salt_and_pepper", p)[:, 0]
    off = 4 * math.sqrt(p / 2 * (1 - p / 2) / found.numel())
    for value in (0, 255):
        assert (found == value).double().mean().item() == pytest.approx(p / 2, abs=off)
    assert ((found == 0) | (found == 255) | (found == 100)).all()


def test_quarter_turns_are_anticlockwise_and_four_are_none() -> None:
    images = pictures(2)
    turned = made(images, "rotation", 90)
    assert np.array_equal(turned.numpy(), np.rot90(images, 1, (2, 3)))
    assert torch.equal(made(turned, "rotation", 270), torch.from_numpy(images))
