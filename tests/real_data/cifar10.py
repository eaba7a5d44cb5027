"""Published CIFAR-10 networks, as they are imported, and the lossless test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from regularized_training.networks.reading import read_imported
from regularized_training.robustness.corruptions.stored import CIFAR10

SIDE, ACROSS = 32, 100  # pixels of an image; images in a line of the picture that holds them all


def cifar10_network(data_folder: Path, name: str) -> nn.Module:
    """A network of the pool, in evaluation mode; takes images in [0, 1]."""
    network = read_imported(str(data_folder / "cifar10_pool" / f"{name}.json"), classes=CIFAR10)
    return network.for_task(CIFAR10, (3, SIDE, SIDE), "cifar10")


def cifar10_test_images(
    folder: Path, n: int = 10_000
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first n, (n, 3, 32, 32), and their classes."""
    with Image.open(folder / "test_100x100_tiles.webp") as picture:
        lines = -(-n // ACROSS)
        pixels = np.asarray(picture.convert("RGB").crop((0, 0, SIDE * ACROSS, SIDE * lines)))
    tiles = pixels.reshape(lines, SIDE, ACROSS, SIDE, 3).transpose(0, 2, 4, 1, 3)
    images = np.ascontiguousarray(tiles.reshape(-1, 3, SIDE, SIDE)[:n])
    return images, np.load(folder / "labels.npy")[:n].astype(np.int64)
