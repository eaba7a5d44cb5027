"""Small networks that are stored as a graph in JSON beside safetensors, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def conv(
    i: str, o: str, w: str, pad: tuple[int, ...] = (0, 0, 0, 0), **more: Any
) -> dict[str, Any]:
    node = {"op": "conv", "in": [i], "out": o, "w": f"{w}.w", "b": f"{w}.b", "stride": 1}
    return node | {"pad": list(pad)} | more


def linear(i: str, o: str, w: str) -> dict[str, Any]:
    return {"op": "linear", "in": [i], "out": o, "w": f"{w}.w", "b": f"{w}.b"}


def simple(op: str, i: str, o: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "in": [i], "out": o, **more}


def tiny_graph(
    n_channels: int = 3, n_classes: int = 10
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A convolution, a residual branch, and a readout, of images of any size."""
    nodes = [
        conv("x", "a", "one", (0, 0, 1, 1), stride=2),
        simple("bn", "a", "b", w="bn.w", b="bn.b", mean="bn.m", var="bn.v", eps=1e-3),
        simple("relu", "b", "c"),
        conv("c", "d", "two", (1, 1, 1, 1), groups=2),
        {"op": "add", "in": ["d", "c"], "out": "e"},
        simple("relu6", "e", "f"),
        simple("gap", "f", "g"),
        linear("g", "h", "last"),
    ]
    rng = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    tensors = {
        "one.w": random(4, n_channels, 3, 3),
        "one.b": random(4),
        "bn.w": random(4),
        "bn.b": random(4),
        "bn.m": random(4),
        "bn.v": random(4).abs() + 0.5,
        "two.w": random(4, 2, 3, 3),
        "two.b": random(4),
        "last.w": random(n_classes, 4),
        "last.b": random(n_classes),
    }
    about = {"mean": MEAN[:n_channels], "std": STD[:n_channels]}
    return {"preprocess": about, "nodes": nodes}, tensors


def write_graph(
    folder: Path,
    name: str = "tiny",
    graph: dict[str, Any] | None = None,
    tensors: dict[str, Tensor] | None = None,
) -> Path:
    """The JSON file of a network that is written with its tensors."""
    given = tiny_graph()
    file = folder / f"{name}.json"
    file.write_text(json.dumps(given[0] if graph is None else graph))
    save_file(given[1] if tensors is None else tensors, file.with_suffix(".safetensors"))
    return file
