"""Where a training gets its images from, be they in memory or read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.parallel import Share
from regularized_training.tasks.config import AugmentConfig, ImagePart
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.picture_task import PictureTask

Batches = Iterator[tuple[Tensor, Tensor]]


class ImageSource(Protocol):
    """The images of a task, in batches; ``len`` is the number of training images."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the labels."""
        ...

    def __len__(self) -> int: ...

    def labels(self, part: Literal["train"] | ImagePart) -> NDArray[np.int64] | None:
        """Labels of a part, for which no image is read; None if it has no such part."""
        ...

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
        """Batches of one epoch, in random order, cropped and mirrored at random.

        All of them are decided by `seed`, `epoch` and a batch's number alone, so that an epoch can
        be resumed in its middle. What does not fill a batch is left out.

        Parameters
        ----------
        batch_size : int
            Of all processes together.
        augment : AugmentConfig
        seed : int
            Of the training.
        epoch : int
        first_batch : int
            Begin with this one, from 0.
        share : Share, optional
            Of several processes that train together: yield only this one's images.

        Yields
        ------
        images : (batch, channels, height, width) uint8 Tensor
            On the source's device; in memory perhaps with the channels last.
        labels : (batch,) int64 Tensor

        Raises
        ------
        TaskError
            If an image cannot be read.
        """
        ...

    def part_batches(self, part: ImagePart, batch_size: int) -> Batches:
        """Images of the test or the validation part in order, the last batch perhaps smaller."""
        ...


def image_source(
    task: ImageTask | PictureTask, *, device: str | torch.device = "cpu", processes: int = 0
) -> ImageSource:
    """The images of a task.

    Parameters
    ----------
    task : ImageTask or PictureTask
    device : str or torch.device
        Where batches are wanted. Images in memory are kept there.
    processes : int
        That read pictures beside this one; 0 reads them here. They change no bit.

    Examples
    --------
    >>> from regularized_training.tasks.image_files import digits
    >>> source = image_source(digits(size=16))
    >>> batches = source.train_batches(64, AugmentConfig(flip=False), seed=0, epoch=0)
    >>> images, labels = next(batches)
    >>> images.shape, images.dtype, len(source) // 64
    (torch.Size([64, 1, 16, 16]), torch.uint8, 20)
    """
    if isinstance(task, PictureTask):
        from regularized_training.tasks.from_files import PicturesFromFiles

        return PicturesFromFiles(task, device=device, processes=processes)
    from regularized_training.tasks.in_memory import ImagesInMemory

    return ImagesInMemory(task, device=device)
