"""Networks of listed operations, beside the same computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.networks.architectures import build_network, load_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.graph_files import read_graph
from regularized_training.networks.layer_reader import LayerReader, readable_layers
from tests.stored_graphs import MEAN, STD, conv, linear, simple, tiny_graph, write_graph

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def normalised(scale: float = 1.0) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (scale * IMAGES - mean) / std


def loaded(file: Path, n_classes: int = 10) -> nn.Module:
    graph = read_graph(file)
    return load_network(graph.config, graph.n_channels, n_classes, graph.state)


def test_a_network_answers_as_its_operations_say(tmp_path: Path) -> None:
    _, t = tiny_graph()
    x = F.conv2d(F.pad(normalised(), (0, 1, 0, 1)), t["one.w"], t["one.b"], 2)
    x = F.batch_norm(x, t["bn.m"], t["bn.v"], t["bn.w"], t["bn.b"], eps=1e-3).relu()
    x = (F.conv2d(x, t["two.w"], t["two.b"], padding=1, groups=2) + x).clamp(0, 6)
    expected = F.linear(x.mean((2, 3)), t["last.w"], t["last.b"])
    network = loaded(write_graph(tmp_path))
    torch.testing.assert_close(network(IMAGES), expected)
    channels_last = network(IMAGES.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, expected)


def test_every_other_operation_is_computed_as_its_source_does(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(2)
    shapes = {
        "one.w": (4, 3, 1, 1),
        "one.b": (4,),
        "slope": (8, 5, 5),
        "bias": (8, 5, 5),
        "two.w": (6, 8 * 5 * 5),
        "two.b": (6,),
        **{f"bn.{name}": (6,) for name in "wbm"},
        "three.w": (5, 6),
        "three.b": (5,),
    }
    t = {name: torch.randn(*shape, generator=rng) for name, shape in shapes.items()}
    t["mask"] = (torch.rand(8, 5, 5, generator=rng) < 0.5).float()
    t["bn.v"] = torch.rand(6, generator=rng) + 0.5
    nodes = [
        simple("pad", "x", "p", pad=[0, 1, 2, 1]),  # above, left, below, right
        conv("p", "a", "one"),
        simple("sigmoid", "a", "b"),
        simple("sub2pad", "b", "c", pad=2),
        simple("maskrelu", "c", "d", mask="mask", slope="slope", bias="bias"),
        simple("flatten_hwc", "d", "e"),
        linear("e", "f", "two"),
        simple("bn", "f", "g", w="bn.w", b="bn.b", mean="bn.m", var="bn.v", eps=1e-5),
        linear("g", "h", "three"),
        simple("relu", "a", "unused"),
    ]
    graph = {"preprocess": {"mean": [0, 0, 0], "std": [1, 1, 1]}, "nodes": nodes, "output": "h"}
    network = loaded(write_graph(tmp_path, graph=graph, tensors=t), 5)
    x = F.conv2d(F.pad(IMAGES, (1, 1, 0, 2)), t["one.w"], t["one.b"]).sigmoid()
    zeros = torch.zeros(3, 2, 5, 5)
    x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
    x = x.relu() * (1 - t["mask"]) + (x * t["slope"] + t["bias"]) * t["mask"]
    x = F.linear(x.permute(0, 2, 3, 1).reshape(3, -1), t["two.w"], t["two.b"])
    x = F.batch_norm(x, t["bn.m"], t["bn.v"], t["bn.w"], t["bn.b"])
    torch.testing.assert_close(network(IMAGES), F.linear(x, t["three.w"], t["three.b"]))
    assert not any(name.startswith("relu") for name in readable_layers(network))


def test_whole_numbers_stand_for_scaled_ones_and_a_convolution_may_give_the_classes(
    tmp_path: Path,
) -> None:
    weights = torch.tensor([[1, 2, 255], [0, 128, 7]], dtype=torch.uint8).view(2, 3, 1, 1)
    tensors = {
        "l.w": weights,
        "l.wzp": torch.tensor([128], dtype=torch.uint8),
        "l.wscale": torch.tensor([0.5, 0.25]),
        "l.b": torch.tensor([1.0, 2.0]),
    }
    graph = {
        "preprocess": {"mean": [128.0] * 3, "std": [128.0] * 3, "scale": 255.0},
        "nodes": [simple("gap", "x", "g"), conv("g", "o", "l")],
        "output": "o",
        "input_size": 8,
    }
    file = write_graph(tmp_path, graph=graph, tensors=tensors)
    real = (weights.float() - 128) * torch.tensor([0.5, 0.25]).view(2, 1, 1, 1)
    x = ((255 * IMAGES - 128) / 128).mean((2, 3))
    torch.testing.assert_close(
        loaded(file, 2)(IMAGES), F.linear(x, real[:, :, 0, 0], tensors["l.b"])
    )
    assert read_graph(file).image_size == 8


def test_every_layer_can_be_read_by_its_name(tmp_path: Path) -> None:
    network = loaded(write_graph(tmp_path))
    layers = readable_layers(network)
    assert layers == (
        *("normalise", "pad1", "conv1", "bn1", "relu1", "conv2", "add1", "clipped_relu1"),
        *("gap1", "flatten1", "linear1"),
    )
    first, last = LayerReader(network, ("normalise", "linear1"))(IMAGES)
    torch.testing.assert_close(first, normalised())
    torch.testing.assert_close(last, network(IMAGES))


def test_it_can_be_blurred_first_and_be_trained_from_scratch(tmp_path: Path) -> None:
    graph = read_graph(write_graph(tmp_path))
    blurred = graph.config.model_copy(update={"low_pass": 1.0})
    sharp = load_network(graph.config, 3, 10, graph.state)
    assert not torch.allclose(load_network(blurred, 3, 10, graph.state)(IMAGES), sharp(IMAGES))
    network = build_network(graph.config, 3, 7, seed=0)
    network(IMAGES).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


GAP: dict[str, Any] = {"op": "gap"}
LAST: dict[str, Any] = {"op": "linear", "in_features": 3}


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([], "operations: none"),
        ([{"op": "softmax"}], "number 1 is 'softmax', expected one of conv, linear"),
        ([GAP], "expected the last one with weights to be conv or linear"),
        ([LAST, {"op": "relu"}], "none but gap and flatten after it; found relu"),
        ([GAP, LAST | {"inputs": ["relu1"]}], "linear1 has the input 'relu1', expected one of"),
        ([GAP, LAST | {"inputs": ["gap1", "gap1"]}], "linear1 has 2 inputs, expected 1"),
        ([GAP, LAST | {"colour": 3}], "linear1 with .*unexpected keyword argument 'colour'"),
        ([{"op": "conv", "in_channels": 1, "kernel_size": 1}], "takes images of 1 channels, found"),
    ],
)
def test_operations_that_are_no_network_are_refused(
    operations: list[dict[str, Any]], message: str
) -> None:
    config = NetworkConfig(architecture="graph", options={"operations": operations})
    with pytest.raises(ValueError, match=message):
        build_network(config, 3, 10, seed=0)
