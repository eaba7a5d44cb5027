"""Images of a task that are held in memory, or in that of a GPU."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.parallel import Share
from regularized_training.streams import seeds_of
from regularized_training.tasks.batches import augment as augmented
from regularized_training.tasks.batches import batches
from regularized_training.tasks.config import AugmentConfig, ImagePart
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.source import Batches


class ImagesInMemory:
    """An :class:`~regularized_training.tasks.source.ImageSource` over arrays.

    Order and crops come from two streams that go on from epoch to epoch, each image's crop from
    where the stream is. To begin elsewhere, what lies before is drawn without touching an image.

    Parameters
    ----------
    task : ImageTask
    device : str or torch.device
        Where the images are kept.
    """

    def __init__(self, task: ImageTask, *, device: str | torch.device = "cpu") -> None:
        self._task = task
        self._tensors: dict[str, tuple[Tensor, Tensor]] = {
            split: (
                torch.tensor(getattr(task, f"{split}_images"), device=device),
                torch.tensor(getattr(task, f"{split}_labels"), device=device),
            )
            for split in task.splits
        }
        self._streams: _Streams | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self._task.image_shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the labels."""
        return self._task.classes

    def __len__(self) -> int:
        return len(self._task.train_labels)

    def labels(self, part: Literal["train"] | ImagePart) -> NDArray[np.int64] | None:
        """Labels of a part."""
        return getattr(self._task, f"{part}_labels")

    def train_batches(
        self,
        batch_size: int,
        augment: AugmentConfig,
        *,
        seed: int,
        epoch: int,
        first_batch: int = 0,
        share: Share | None = None,
    ) -> Batches:
        """As of :class:`~regularized_training.tasks.source.ImageSource`."""
        images, labels = self._tensors["train"]
        streams = self._at(batch_size, augment, seed, epoch)
        for number, index in enumerate(batches(len(labels), batch_size, streams.order)):
            if number < first_batch:
                self._draw_only(len(index), streams.augmentation, augment)
                continue
            index = index.to(images.device)
            made = augmented(images[index], streams.augmentation, augment)
            if share is None:
                yield made, labels[index]
            else:
                yield share.of(made), share.of(labels[index])
        self._streams = streams._replace(epoch=epoch + 1)

    def part_batches(self, part: ImagePart, batch_size: int) -> Batches:
        """As of :class:`~regularized_training.tasks.source.ImageSource`."""
        if part not in self._tensors:
            raise TaskError(f"part: {part!r}, which {self._task.name!r} has not taken out")
        images, labels = self._tensors[part]
        yield from zip(images.split(batch_size), labels.split(batch_size), strict=True)

    def _at(self, batch_size: int, augment: AugmentConfig, seed: int, epoch: int) -> _Streams:
        """Both streams at the beginning of an epoch."""
        asked = (batch_size, augment, seed)
        streams, self._streams = self._streams, None  # an epoch that is broken off leaves none
        if streams is None or streams.of != asked or streams.epoch > epoch:
            seeds = seeds_of(seed)
            order = torch.Generator().manual_seed(seeds.order)
            augmentation = torch.Generator().manual_seed(seeds.augmentation)
            streams = _Streams(asked, 0, order, augmentation)
        for _ in range(streams.epoch, epoch):
            for index in batches(len(self), batch_size, streams.order):
                self._draw_only(len(index), streams.augmentation, augment)
        return streams._replace(epoch=epoch)

    def _draw_only(self, n: int, rng: torch.Generator, augment: AugmentConfig) -> None:
        _, height, width = self.image_shape
        augmented(torch.empty(n, 0, height, width, dtype=torch.uint8), rng, augment)


class _Streams(NamedTuple):
    """Generators of order and augmentation, at the beginning of an epoch."""

    of: tuple[int, AugmentConfig, int]
    epoch: int
    order: torch.Generator
    augmentation: torch.Generator
