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
    """A network of the folder, in evaluation mode; takes images in [0, 1]."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        described = json.loads((folder / f"{name}.json").read_text())
        self.operations = described["nodes"]
        self.weights = load_file(folder / f"{name}.safetensors")
        before = described["preprocess"]
        self.scale = before.get("scale", 1.0)
        self.mean = torch.tensor(before["mean"]).view(3, 1, 1)
        self.sd = torch.tensor(before["std"]).view(3, 1, 1)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        known = {"x": (images * self.scale - self.mean) / self.sd}
        for operation in self.operations:
            inputs = [known[name] for name in operation["in"]]
            known[operation["out"]] = self._result(operation, *inputs)
        return known[self.operations[-1]["out"]]

    def _result(self, operation: dict[str, Any], x: Tensor, *others: Tensor) -> Tensor:
        weight, bias = (self.weights.get(operation.get(name) or "") for name in "wb")
        match operation["op"]:
            case "conv":
                above, left, below, right = operation["pad"]
                padded = functional.pad(x, (left, right, above, below))
                return functional.conv2d(padded, weight, bias, operation["stride"])
            case "bn":
                mean, var = (self.weights[operation[name]] for name in ("mean", "var"))
                return functional.batch_norm(x, mean, var, weight, bias, eps=operation["eps"])
            case "linear":
                return functional.linear(x, weight, bias)
            case "gap":
                return x.mean((2, 3))
            case "flatten":
                return x.flatten(1)
            case "flatten_hwc":  # in the order of TensorFlow's memory
                return x.movedim(1, 3).flatten(1)
            case "sub2pad":  # every second pixel, and channels of zeros
                more = operation["pad"]
                return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
            case "maskrelu":  # some units are linear
                mask, slope, shift = (
                    self.weights[operation[name]] for name in ("mask", "slope", "bias")
                )
                return torch.where(mask.bool(), x * slope + shift, x.relu())
            case simple:
                found = {"relu": torch.relu, "sigmoid": torch.sigmoid, "add": torch.add}
                return found[simple](x, *others)


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
