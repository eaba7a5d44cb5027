"""Where a training gets its images from: the same bits wherever, in order, from anywhere on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from regularized_training.parallel import Share
from regularized_training.streams import seeds_of
from regularized_training.tasks.batches import augment, batches
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.picture_files import find_pictures
from regularized_training.tasks.picture_task import PictureShape, PictureTask
from regularized_training.tasks.source import ImageSource, image_source
from tests.picture_sets import write_pictures

AUGMENT = AugmentConfig(padding=2)
SHAPE = PictureShape(size=16)
Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureTask:
    return find_pictures(write_pictures(tmp_path_factory.mktemp("set") / "few"), shape=SHAPE)


def train(
    source: ImageSource, epoch: int, first: int = 0, seed: int = 3, n: int = 5
) -> list[Batch]:
    return list(source.train_batches(n, AUGMENT, seed=seed, epoch=epoch, first_batch=first))


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected) > 0
    for (images, labels), (images_, labels_) in zip(found, expected, strict=True):
        assert images.dtype == torch.uint8
        assert torch.equal(images, images_)
        assert torch.equal(labels, labels_)


# -- in memory -----------------------------------------------------------------------------


def test_images_in_memory_come_in_the_order_and_with_the_crops_of_two_streams(
    small_digits: ImageTask,
) -> None:
    """Which go on from epoch to epoch: networks trained by earlier versions saw the same."""
    task = small_digits.subset(200, 20)
    order, crops = (torch.Generator().manual_seed(seed) for seed in seeds_of(3)[1:3])
    images = torch.tensor(task.train_images)
    seen = [
        augment(images[index], crops, AUGMENT)
        for _ in range(2)
        for index in batches(200, 64, order)
    ]
    source = image_source(task)
    found = [
        part
        for epoch in (0, 1)
        for part, _ in source.train_batches(64, AUGMENT, seed=3, epoch=epoch)
    ]
    assert len(found) == len(seen) == 6
    assert all(torch.equal(a, b) for a, b in zip(found, seen, strict=True))


@pytest.mark.parametrize("augment", [AUGMENT, AugmentConfig(padding=0, flip=False)])
def test_an_epoch_in_memory_can_be_begun_anywhere(
    small_digits: ImageTask, augment: AugmentConfig
) -> None:
    task = small_digits.subset(64, 10)
    ongoing = image_source(task)
    for epoch in range(3):
        expected = list(ongoing.train_batches(20, augment, seed=1, epoch=epoch))
    fresh = image_source(task).train_batches(20, augment, seed=1, epoch=2, first_batch=1)
    assert_same(list(fresh), expected[1:])
    # Also after an epoch that was broken off, and back to an earlier one.
    next(ongoing.train_batches(20, augment, seed=1, epoch=3))
    assert_same(list(ongoing.train_batches(20, augment, seed=1, epoch=2)), expected)


# -- from files ----------------------------------------------------------------------------


def test_pictures_are_the_same_whatever_number_of_processes_reads_them(
    pictures: PictureTask,
) -> None:
    alone, with_others = (image_source(pictures, processes=n) for n in (0, 2))
    for epoch in (0, 1):
        assert_same(train(with_others, epoch), train(alone, epoch))
    assert_same(list(with_others.part_batches("test", 4)), list(alone.part_batches("test", 4)))


def test_an_epoch_from_files_can_be_resumed_in_its_middle(pictures: PictureTask) -> None:
    source = image_source(pictures)
    whole = train(source, 1)
    assert len(whole) == len(source) // 5
    assert_same(train(image_source(pictures), 1, first=2), whole[2:])


def test_order_and_crops_change_with_seed_and_epoch(pictures: PictureTask) -> None:
    source = image_source(pictures)
    first = train(source, 0)
    for other in (train(source, 1), train(source, 0, seed=4)):
        assert not torch.equal(first[0][0], other[0][0])
        assert any(not torch.equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


def test_every_picture_is_seen_once_an_epoch_with_its_label(pictures: PictureTask) -> None:
    source = image_source(pictures)
    labels = torch.cat([labels for _, labels in train(source, 0, n=4)])
    assert sorted(labels.tolist()) == sorted(pictures.train_labels.tolist())
    index = torch.cat(list(batches(len(source), 4, order_rng(seed=3, epoch=0))))
    assert torch.equal(labels, torch.from_numpy(pictures.train_labels)[index])


def order_rng(*, seed: int, epoch: int) -> torch.Generator:
    from regularized_training.tasks.from_files import _seed_of

    return torch.Generator().manual_seed(_seed_of(seeds_of(seed).order, epoch))


def test_a_crop_without_chance_is_the_picture_resized(pictures: PictureTask) -> None:
    """All of its area, not mirrored, of a square picture: nothing is left to chance."""
    square = int(np.flatnonzero(pictures.train_labels == 1)[4])  # 36 x 28
    task = pictures._with(**pictures._picked("train", np.array([square])))
    images, labels = next(
        image_source(task).train_batches(
            1, AugmentConfig(flip=False, min_area=1.0), seed=0, epoch=0
        )
    )
    assert labels.tolist() == [1]
    with Image.open(task.folder / task.manifest.place(square).name) as picture:
        # The aspect of a crop is from 3/4 to 4/3, and all of its area fits only as it is.
        expected = picture.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    difference = images[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
    assert np.abs(difference).mean() < 12


def test_of_a_test_picture_the_centre_is_taken(pictures: PictureTask) -> None:
    images, labels = zip(*image_source(pictures).part_batches("test", 2), strict=True)
    assert [len(batch) for batch in images] == [2, 2, 2, 2, 1]
    assert torch.cat(labels).tolist() == pictures.test_labels.tolist()
    place = pictures.manifest.place(int(pictures.test_pictures[0]))
    with Image.open(pictures.folder / place.name) as picture:  # 20 rows of 36
        resized = picture.convert("RGB").resize((32, 18), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((8, 1, 24, 17))).transpose(2, 0, 1)
    np.testing.assert_array_equal(images[0][0], expected)


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    shape = PictureShape(size=16, grey=True)
    task = find_pictures(write_pictures(tmp_path / "few"), shape=shape)
    images, _ = next(image_source(task).part_batches("test", 3))
    assert images.shape == (3, 1, 16, 16) == (3, *task.image_shape)


def test_reading_draws_nothing_from_the_global_generator(pictures: PictureTask) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for processes in (0, 1):
        next(image_source(pictures, processes=processes).train_batches(4, AUGMENT, seed=0, epoch=0))
        assert torch.equal(torch.get_rng_state(), before)


def test_processes_that_train_together_share_each_batch(pictures: PictureTask) -> None:
    whole = train(image_source(pictures), 0, n=6)
    for rank in (0, 1):
        share = Share(6)
        share.world, share.rank = 2, rank
        found = image_source(pictures).train_batches(6, AUGMENT, seed=3, epoch=0, share=share)
        assert_same(list(found), [(images[rank::2], labels[rank::2]) for images, labels in whole])


def test_the_validation_part_is_read_and_not_trained_on(pictures: PictureTask) -> None:
    source = image_source(pictures)
    assert source.labels("validation") is None
    with pytest.raises(TaskError, match="'validation', which 'few' has not taken out"):
        list(source.part_batches("validation", 4))
    task = pictures.with_validation()
    source = image_source(task)
    ((images, labels),) = source.part_batches("validation", 4)
    assert (len(images), labels.tolist()) == (3, [0, 1, 2])
    assert len(source) == len(pictures.train_labels) - 3
    assert not set(task.train_pictures) & set(task.validation_pictures)  # type: ignore[arg-type]


@pytest.mark.parametrize("processes", [0, 2])
def test_a_picture_that_changes_during_training_is_named(tmp_path: Path, processes: int) -> None:
    task = find_pictures(write_pictures(tmp_path / "few"), shape=SHAPE)
    file = task.folder / "train" / "dog" / "dog_1.JPEG"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(TaskError, match=r"few/train/dog/dog_1\.JPEG: has changed: another SHA-256"):
        train(image_source(task, processes=processes), 0)


def test_a_subset_has_the_crops_that_its_pictures_have_in_the_whole(pictures: PictureTask) -> None:
    whole = {
        image.numpy().tobytes()
        for images, _ in train(image_source(pictures), 0, n=1)
        for image in images
    }
    few = train(image_source(pictures.subset(6, None)), 0, n=1)
    assert len(few) == 6
    assert all(images[0].numpy().tobytes() in whole for images, _ in few)


def test_first_batches_alone_are_read_when_no_more_are_asked_for(
    pictures: PictureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    of_manifest = type(pictures.manifest).read
    monkeypatch.setattr(
        type(pictures.manifest),
        "read",
        lambda self, folder, i: read.append(i) or of_manifest(self, folder, i),
    )
    found = image_source(pictures).train_batches(4, AUGMENT, seed=0, epoch=0, first_batch=2)
    assert len(list(islice(found, 1))[0][0]) == len(read) == 4


def test_rotations_are_refused_where_pictures_are_read_from_files(pictures: PictureTask) -> None:
    source = image_source(pictures)
    with pytest.raises(TaskError, match=r"augment\.rotation: 15, which pictures that are read"):
        source.train_batches(4, AugmentConfig(rotation=15), seed=0, epoch=0)
