"""Published CIFAR-10 networks, stored as a list of operations beside their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SIDE, ACROSS = 32, 100  # pixels of an image; images in a line of the picture that holds them all


class Cifar10Network(nn.Module):
    """A network of the folder, of those that have no batch normalisation."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        described = json.loads((folder / f"{name}.json").read_text())
        self.operations = described["nodes"]
        self.weights = load_file(folder / f"{name}.safetensors")
        scale = described["preprocess"]
        self.mean = torch.tensor(scale["mean"]).view(3, 1, 1)
        self.sd = torch.tensor(scale["std"]).view(3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        known = {"x": (images - self.mean) / self.sd}
        for operation in self.operations:
            inputs = [known[name] for name in operation["in"]]
            known[operation["out"]] = self._result(operation, *inputs)
        return known[self.operations[-1]["out"]]

    def _result(self, operation: dict[str, Any], x: Tensor, *others: Tensor) -> Tensor:
        kind = operation["op"]
        weight, bias = (self.weights.get(operation.get(name) or "") for name in "wb")
        if kind == "conv":
            above, left, below, right = operation["pad"]
            padded = functional.pad(x, (left, right, above, below))
            return functional.conv2d(padded, weight, bias, operation["stride"])
        if kind == "linear":
            return functional.linear(x, weight, bias)
        simple = {"relu": torch.relu, "flatten": lambda x: x.flatten(1), "add": torch.add}
        return simple[kind](x, *others)


def cifar10_test_images(folder: Path, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first n, (n, 3, 32, 32), and their classes."""
    with Image.open(folder / "test_100x100_tiles.webp") as picture:
        lines = -(-n // ACROSS)
        pixels = np.asarray(picture.convert("RGB").crop((0, 0, SIDE * ACROSS, SIDE * lines)))
    tiles = pixels.reshape(lines, SIDE, ACROSS, SIDE, 3).transpose(0, 2, 4, 1, 3)
    images = np.ascontiguousarray(tiles.reshape(-1, 3, SIDE, SIDE)[:n])
    return images, np.load(folder / "labels.npy")[:n].astype(np.int64)
