"""Networks in files: a graph of operations as JSON beside its tensors as safetensors.

``NAME.json`` holds ``preprocess``, with the ``mean`` and ``std`` of each channel that images in
[0, 1] are normalised by, once they are multiplied by ``scale`` (1 by default); ``nodes``, a list of
operations; and perhaps the ``output`` among these, by default the last, and the ``input_size``. A
node has the name ``op`` of its operation, names of its inputs ``in``, of which ``x`` is the images,
the name ``out`` of its result, and its attributes, of which some name tensors of the file. Tensors
of integers stand for ``(value - zero point) * scale``: of ``l0.w`` these are ``l0.wzp`` and
``l0.wscale``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from predictive_model.text import read_text
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.stored_graph import CLASSES, IMAGES, class_operation, named
from regularized_training.networks.weights import read_weights

# Operations without attributes, and what we call them.
SIMPLE = {n: n for n in ("relu", "sigmoid", "add", "gap", "flatten", "flatten_hwc")}
SIMPLE["relu6"] = "clipped_relu"
OPS = (*SIMPLE, "conv", "linear", "bn", "pad", "sub2pad", "maskrelu")
FLAT = ("linear", "flatten", "flatten_hwc")  # whose results have no height and width


@dataclass(frozen=True)
class Graph:
    """A network of a file.

    Attributes
    ----------
    config : NetworkConfig
        Of the architecture ``graph``.
    state : dict of str to Tensor
        Its weights.
    n_channels : int
        Of its images.
    image_size : int or None
        Of their sides, in pixels, as far as the file says.
    """

    config: NetworkConfig
    state: dict[str, Tensor]
    n_channels: int
    image_size: int | None


def graph_pair(file: Path) -> tuple[Path, Path]:
    """The two files of a network, of which one is named.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    """
    pair = file.with_suffix(".json"), file.with_suffix(".safetensors")
    for one, what in zip(pair, ("the graph (.json)", "the tensors (.safetensors)"), strict=True):
        if not one.is_file():
            raise FileNotFoundError(f"{one}: no such file; expected {what} of {file.stem} there")
    return pair


def graphs_in(folder: Path) -> list[Path]:
    """The JSON files of a folder that have tensors beside them, by name."""
    return [f for f in sorted(folder.glob("*.json")) if f.with_suffix(".safetensors").is_file()]


def read_graph(file: Path) -> Graph:
    """Read a network, as the module describes it.

    Raises
    ------
    FileNotFoundError
        If one of its two files is missing.
    ValueError
        If they cannot be read, an operation is unknown, or a tensor is missing.
    """
    described, tensors = graph_pair(file)
    try:
        content = json.loads(read_text(described))
    except ValueError as error:
        raise ValueError(f"{described}: not JSON ({error})") from error
    if not isinstance(content, dict) or not {"preprocess", "nodes"} <= content.keys():
        raise ValueError(f"{described}: expected an object with preprocess and nodes")
    try:
        return _Reader(content, read_weights(tensors), tensors.name).graph()
    except (ValueError, KeyError, TypeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{described}: {what}") from error


class _Reader:
    """Makes of nodes the operations of the architecture ``graph``, and their weights."""

    def __init__(
        self, content: Mapping[str, Any], tensors: Mapping[str, Tensor], file: str
    ) -> None:
        self._content, self._tensors, self._file = content, tensors, file
        self._operations: list[dict[str, Any]] = []
        self._weights: list[dict[str, Tensor]] = []  # of each operation
        self._called = {"x": IMAGES}  # by the names of the file
        self._flat: set[str] = set()  # results, by our names

    def graph(self) -> Graph:
        nodes = self._content["nodes"]
        for node in needed(nodes, self._content.get("output")):
            self._read(node)
        final = named(self._operations)[-1]
        if final not in self._flat:
            self._add("flatten", (final,))
        place = class_operation(self._operations)
        del self._operations[place][CLASSES[self._operations[place]["op"]]]
        names = named(self._operations)
        state = {
            f"{name}.{key}": value
            for name, tensors in zip(names, self._weights, strict=True)
            for key, value in tensors.items()
        }
        mean, std = self._preprocessing()
        config = NetworkConfig(
            architecture="graph", mean=mean, std=std, options={"operations": self._operations}
        )
        return Graph(config, state, len(mean), self._content.get("input_size"))

    def _preprocessing(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        about = self._content["preprocess"]
        scale = float(about.get("scale", 1.0))
        mean, std = (tuple(float(v) / scale for v in about[name]) for name in ("mean", "std"))
        return mean, std

    def _read(self, node: Mapping[str, Any]) -> None:
        kind = node["op"]
        if kind not in OPS:
            raise ValueError(f"operation {kind!r} of {node['out']!r}, expected {', '.join(OPS)}")
        inputs = tuple(self._called[name] for name in node["in"])
        if kind == "conv":
            found = self._convolution(node, inputs)
        elif kind == "pad":
            found = self._pad(node["pad"], inputs)
        elif kind == "sub2pad":
            found = self._add("sub2pad", inputs, channels=node["pad"])
        elif kind == "linear":
            found = self._linear(node, inputs)
        elif kind == "bn":
            found = self._batch_norm(node, inputs)
        elif kind == "maskrelu":
            weights = {name: self._tensor(node, name) for name in ("mask", "slope", "bias")}
            found = self._add(kind, inputs, weights, shape=list(weights["mask"].shape))
        else:
            found = self._add(SIMPLE[kind], inputs)
        self._called[node["out"]] = found

    def _add(
        self,
        kind: str,
        inputs: Sequence[str],
        weights: Mapping[str, Tensor] | None = None,
        **arguments: Any,
    ) -> str:
        """One more operation; its name."""
        before = named(self._operations)[-1] if self._operations else IMAGES
        # What comes of the operation before it, which is nearly always so, is not said.
        said = {} if tuple(inputs) == (before,) else {"inputs": list(inputs)}
        self._operations.append({"op": kind, **arguments, **said})
        self._weights.append(dict(weights or {}))
        name = named(self._operations)[-1]
        if kind in FLAT or set(inputs) <= self._flat:
            self._flat.add(name)
        return name

    def _pad(self, sides: Sequence[int], inputs: Sequence[str]) -> str:
        above, left, below, right = sides
        return self._add("pad", inputs, padding=[left, right, above, below])

    def _convolution(self, node: Mapping[str, Any], inputs: Sequence[str]) -> str:
        weights = self._weight_and_bias(node, 4)
        above, left, below, right = node["pad"]
        padding = [above, left]
        if (above, left) != (below, right):  # which a convolution of torch has not
            inputs, padding = (self._pad(node["pad"], inputs),), [0, 0]
        out_channels, in_channels, *kernel = weights["weight"].shape
        groups = int(node.get("groups", 1))
        return self._add(
            "conv",
            inputs,
            weights,
            in_channels=in_channels * groups,
            out_channels=out_channels,
            kernel_size=kernel,
            stride=node["stride"],
            padding=padding,
            groups=groups,
            bias="bias" in weights,
        )

    def _linear(self, node: Mapping[str, Any], inputs: Sequence[str]) -> str:
        if not set(inputs) <= self._flat:
            inputs = (self._add("flatten", inputs),)
        weights = self._weight_and_bias(node, 2)
        out_features, in_features = weights["weight"].shape
        return self._add(
            "linear",
            inputs,
            weights,
            in_features=in_features,
            out_features=out_features,
            bias="bias" in weights,
        )

    def _batch_norm(self, node: Mapping[str, Any], inputs: Sequence[str]) -> str:
        weights = self._weight_and_bias(node, 1) | {
            "running_mean": self._tensor(node, "mean"),
            "running_var": self._tensor(node, "var"),
            "num_batches_tracked": torch.tensor(0),
        }
        kind = "flat_bn" if set(inputs) <= self._flat else "bn"
        n = len(weights["weight"])
        return self._add(kind, inputs, weights, num_features=n, eps=node["eps"])

    def _weight_and_bias(self, node: Mapping[str, Any], ndim: int) -> dict[str, Tensor]:
        weights = {"weight": self._tensor(node, "w")}
        if (found := weights["weight"].ndim) != ndim:
            raise ValueError(
                f"tensor {node['w']!r} of {self._file}: {found} dimensions, expected {ndim}"
            )
        if node.get("b"):
            weights["bias"] = self._tensor(node, "b")
        return weights

    def _tensor(self, node: Mapping[str, Any], attribute: str) -> Tensor:
        """The tensor that an attribute of a node names, as real numbers."""
        name = node[attribute]
        if name not in self._tensors:
            raise ValueError(
                f"tensor {name!r} of the operation {node['op']} {node['out']!r}: not in "
                f"{self._file}, which has {', '.join(sorted(self._tensors)[:5])} ..."
            )
        value = self._tensors[name]
        if value.is_floating_point():
            return value.float()
        about = [f"{name.rpartition('.')[0]}.{suffix}" for suffix in ("wzp", "wscale")]
        if missing := [one for one in about if one not in self._tensors]:
            raise ValueError(
                f"tensor {name!r} of {self._file}: whole numbers, whose {missing[0]!r} is missing"
            )
        line = (-1, *[1] * (value.ndim - 1))  # for all of it, or for each output
        zero, scale = (self._tensors[one].float().reshape(line) for one in about)
        return (value.float() - zero) * scale


def needed(nodes: Sequence[Mapping[str, Any]], output: str | None) -> list[Mapping[str, Any]]:
    """The nodes that an output is computed from, in their order.

    Raises
    ------
    ValueError
        If there is no such output, or an input that is no result of a node before it.
    """
    outputs = [node["out"] for node in nodes]
    if not nodes or (output is not None and output not in outputs):
        raise ValueError(f"output {output!r}: no node has it; expected one of {outputs[-3:]}")
    wanted = {output or outputs[-1]}

    def backwards() -> Iterator[Mapping[str, Any]]:
        for node in reversed(nodes):
            if node["out"] in wanted:
                wanted.discard(node["out"])
                wanted.update(node["in"])
                yield node

    found = list(backwards())[::-1]
    if unknown := sorted(wanted - {"x"}):
        raise ValueError(f"nodes: no node before it has the input {unknown[0]!r}")
    return found
