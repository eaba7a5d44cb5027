"""Pictures of a task that are read from their files, cropped and resized, as they are needed."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from predictive_model.importers.decoding import PictureError, PictureReader
from regularized_training.parallel import Share
from regularized_training.streams import seeds_of
from regularized_training.tasks.batches import batches
from regularized_training.tasks.config import AugmentConfig, ImagePart
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.manifest import label_of
from regularized_training.tasks.picture_task import PictureTask
from regularized_training.tasks.source import Batches


class PicturesFromFiles:
    """An :class:`~regularized_training.tasks.source.ImageSource` over files.

    A training picture is cropped at random (`torchvision.transforms.v2.RandomResizedCrop`) and half
    of them are mirrored; of a test or validation picture the centre is taken, once its shorter side
    is resized. The order of an epoch is decided by seed and epoch, a crop by seed, epoch and the
    picture's place in the manifest, in whatever process it is made.

    Every file's SHA-256 is compared with that in the manifest when it is read, which costs about a
    hundredth of decoding it.

    Parameters
    ----------
    task : PictureTask
    device : str or torch.device
        Where batches are wanted.
    processes : int
        That read pictures beside this one; 0 reads them here.
    """

    def __init__(
        self, task: PictureTask, *, device: str | torch.device = "cpu", processes: int = 0
    ) -> None:
        self._task, self._device, self._processes = task, torch.device(device), processes

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
        seeds = seeds_of(seed)
        rng = torch.Generator().manual_seed(_seed_of(seeds.order, epoch))
        indices = batches(len(self), batch_size, rng)
        chosen: Iterator[Tensor] = itertools.islice(indices, first_batch, None)
        if share is not None:
            chosen = map(share.of, chosen)
        task = self._task
        read = _Reading(task, _random_view(task, augment), (seeds.augmentation, epoch))
        return self._batches(read, chosen, task.train_pictures, task.train_labels)

    def part_batches(self, part: ImagePart, batch_size: int) -> Batches:
        """As of :class:`~regularized_training.tasks.source.ImageSource`."""
        task = self._task
        if part not in task.splits:
            raise TaskError(f"part: {part!r}, which {task.name!r} has not taken out")
        pictures, labels = (getattr(task, f"{part}_{held}") for held in ("pictures", "labels"))
        chosen = torch.arange(len(labels)).split(batch_size)
        return self._batches(_Reading(task, _central_view(task)), iter(chosen), pictures, labels)

    def _batches(
        self,
        read: _Reading,
        chosen: Iterator[Tensor],
        pictures: NDArray[np.int64],
        labels: NDArray[np.int64],
    ) -> Batches:
        loader: Any = DataLoader(
            read,
            batch_size=None,
            sampler=_Sampled(chosen, pictures, labels),
            num_workers=self._processes,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or it draws from the global one, as layers do
        )
        for images, of_images in loader:
            if isinstance(images, str):
                raise TaskError(images)
            moved = (part.to(self._device, non_blocking=True) for part in (images, of_images))
            yield tuple(moved)


class _Sampled:
    """Places in the manifest and labels of each batch, drawn as they are asked for."""

    def __init__(
        self, chosen: Iterator[Tensor], pictures: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> None:
        self._chosen, self._pictures, self._labels = chosen, pictures, labels

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for index in self._chosen:
            yield self._pictures[index.numpy()], self._labels[index.numpy()]


@dataclass(frozen=True)
class _Reading(Dataset):
    """Reads batches of pictures, here or in another process.

    What cannot be read comes back as a message: DataLoader would bury an error in its own.
    """

    task: PictureTask
    view: Any
    seeds: Sequence[int] | None = None  # none where nothing is drawn

    def __getitem__(
        self, batch: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> tuple[Tensor | str, Tensor]:
        pictures, labels = batch
        channels, height, width = self.task.image_shape
        # Channels last, as decoders have them and networks want them: nothing is transposed.
        pixels = np.empty((len(pictures), height, width, channels), np.uint8)
        reader = PictureReader()
        mode: Literal["L", "RGB"] = "L" if self.task.shape.grey else "RGB"
        folder, manifest = self.task.folder, self.task.manifest
        # torchvision draws from torch's global generator, which the layers of networks do too.
        with torch.random.fork_rng(devices=[]):
            for image, i in zip(pixels, pictures.tolist(), strict=True):
                try:
                    content = manifest.read(folder, i)
                    picture = reader.read(content, label_of(folder, manifest.place(i)), mode)
                except (TaskError, PictureError) as error:
                    return str(error), torch.from_numpy(labels)
                if self.seeds is not None:
                    torch.default_generator.manual_seed(_seed_of(*self.seeds, i))
                image[:] = np.asarray(self.view(picture)).reshape(image.shape)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels)


def _random_view(task: PictureTask, augment: AugmentConfig) -> Any:
    from torchvision.transforms import v2  # half a second to import

    if augment.rotation:
        raise TaskError(
            f"augment.rotation: {augment.rotation:g}, which pictures that are read from files "
            "do not have; set it to 0, or import the images into memory"
        )
    size = task.shape.size
    steps = [v2.RandomResizedCrop(size, scale=(augment.min_area, 1.0))]
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose(steps)


def _central_view(task: PictureTask) -> Any:
    from torchvision.transforms import v2

    shape = task.shape
    return v2.Compose([v2.Resize(shape.shorter_side), v2.CenterCrop(shape.size)])


def _seed_of(*numbers: int) -> int:
    """A seed that is another for other numbers."""
    text = "/".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
