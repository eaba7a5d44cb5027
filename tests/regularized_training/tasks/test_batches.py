"""Random crops, mirror images, order and bytes of training images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils._python_dispatch import TorchDispatchMode

from regularized_training.tasks.batches import augment, batches, to_float
from regularized_training.tasks.config import AugmentConfig


@pytest.mark.parametrize("flip", [False, True])
def test_augmentation_makes_all_crops_and_only_those(flip: bool) -> None:
    padding, size = 2, 5
    image = np.random.default_rng(0).integers(0, 256, (3, size, size + 1)).astype(np.uint8)
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
    shifts = range(2 * padding + 1)
    crops = [padded[:, y : y + size, x : x + size + 1] for y in shifts for x in shifts]
    if flip:
        crops += [crop[:, :, ::-1] for crop in crops]
    rng = torch.Generator().manual_seed(0)
    copies = torch.from_numpy(image).expand(1000, -1, -1, -1)
    made = augment(copies, rng, AugmentConfig(padding=padding, flip=flip))
    assert {m.numpy().tobytes() for m in made} == {crop.tobytes() for crop in crops}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_are_those_that_the_generator_draws(dtype: torch.dtype) -> None:
    """Shifts down, then to the right, then who is mirrored: seeds of earlier versions reproduce."""
    images = torch.randint(0, 256, (16, 3, 9, 11)).to(dtype)
    made = augment(images, torch.Generator().manual_seed(5), AugmentConfig(padding=4))
    rng = torch.Generator().manual_seed(5)
    down, right = torch.randint(-4, 5, (2, 16, 1), generator=rng)[..., 0].tolist()
    mirrored = torch.rand(16, 1, generator=rng)[:, 0] < 0.5
    for i, image in enumerate(images.numpy()):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="reflect")
        crop = padded[:, 4 + down[i] :, 4 + right[i] :][:, :9, :11]
        np.testing.assert_array_equal(made[i], crop[:, :, ::-1] if mirrored[i] else crop)


class Indices(TorchDispatchMode):
    """Bytes of the largest tensor of whole numbers that is made within it."""

    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.int64:
            self.largest = max(self.largest, made.untyped_storage().nbytes())
        return made


def test_a_crop_takes_no_index_for_each_pixel() -> None:
    images = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    with Indices() as indices:
        augment(images, torch.Generator(), AugmentConfig())
    assert 0 < indices.largest <= 8 * 4 * 3 * 64  # a number for each row


def test_augmentation_keeps_images_apart_and_is_decided_by_its_generator() -> None:
    images = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 6, 6)
    config = AugmentConfig()
    made = [augment(images, torch.Generator().manual_seed(s), config) for s in (0, 0)]
    assert torch.equal(made[0], images)  # of one shade each, so any crop is the image itself
    ramp = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(8, -1, -1, -1)
    a, b, c = (augment(ramp, torch.Generator().manual_seed(s), config) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_no_padding_and_no_flip_leave_images_as_they_are() -> None:
    images = torch.randint(0, 256, (4, 3, 6, 7), dtype=torch.uint8)
    config = AugmentConfig(padding=0, flip=False)
    assert torch.equal(augment(images, torch.Generator(), config), images)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_is_turned_by_an_angle_of_its_own_and_reflected_at_its_edge(
    dtype: torch.dtype,
) -> None:
    """As SciPy does it, after the crop and mirroring that the same seed gives without rotation."""
    images = torch.randint(0, 256, (6, 3, 9, 14)).to(dtype)
    config = AugmentConfig(padding=2, rotation=15)
    made = augment(images, torch.Generator().manual_seed(3), config)
    assert made.dtype == dtype
    rng = torch.Generator().manual_seed(3)
    unturned = augment(images, rng, AugmentConfig(padding=2)).numpy()
    angles = 15 * (2 * torch.rand(6, generator=rng) - 1)
    assert angles.abs().max() > 8 and angles.min() < 0 < angles.max()
    for image, angle, found in zip(unturned, angles.deg2rad().tolist(), made, strict=True):
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        centre = (np.array(image.shape[1:]) - 1) / 2
        for plane, one in zip(image, found.numpy(), strict=True):
            expected = ndimage.affine_transform(
                plane.astype(float), turn, centre - turn @ centre, order=1, mode="mirror"
            )
            np.testing.assert_allclose(one, expected, atol=0.51 if dtype == torch.uint8 else 1e-3)


def test_without_rotation_nothing_more_is_drawn() -> None:
    """What earlier versions drew from a seed they still do."""
    images = torch.randint(0, 256, (8, 1, 9, 9), dtype=torch.uint8)
    one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    plain = augment(images, one, AugmentConfig())
    augment(images, other, AugmentConfig(rotation=10))
    assert not torch.equal(one.get_state(), other.get_state())
    torch.rand(8, generator=one)
    assert torch.equal(one.get_state(), other.get_state())
    assert torch.equal(plain, augment(images, torch.Generator().manual_seed(1), AugmentConfig()))
    assert "rotation" not in AugmentConfig().described()


def test_padding_beyond_the_reflection_is_refused() -> None:
    images = torch.zeros(2, 1, 4, 9, dtype=torch.uint8)
    with pytest.raises(ValueError, match="padding: 4, expected 0 to 3"):
        augment(images, torch.Generator(), AugmentConfig(padding=4))


def test_an_epoch_shows_no_image_twice_in_batches_of_one_size() -> None:
    drawn = list(batches(23, 5, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in drawn] == [5, 5, 5, 5]
    assert len(torch.cat(drawn).unique()) == 20
    assert [len(batch) for batch in batches(3, 5, torch.Generator())] == [3]


def test_bytes_become_floats_from_zero_to_one() -> None:
    images = torch.tensor([[0, 51], [255, 102]], dtype=torch.uint8).expand(2, 3, 2, 2)
    floats = to_float(images)
    torch.testing.assert_close(floats[0, 0], torch.tensor([[0.0, 0.2], [1.0, 0.4]]))
    assert floats.is_contiguous(memory_format=torch.channels_last)
