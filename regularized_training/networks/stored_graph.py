"""Networks that are stored as a list of operations, each of which is a named module.

The architecture ``graph`` takes the list as its option ``operations``. An operation is a table with
the name ``op`` of one of ``OPERATIONS``, the arguments of its module, and ``inputs``: names of
operations before it, or ``images`` for the normalised images; the operation before it by default.
Operations are named by their kind and a number: ``conv1``, ``relu1``, ``conv2``. The last one that
has weights gives the classes and leaves out how many there are::

    [{"op": "conv", "in_channels": 3, "out_channels": 8, "kernel_size": [3, 3], "stride": 2},
     {"op": "relu"}, {"op": "gap"}, {"op": "flatten"}, {"op": "linear", "in_features": 8}]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.networks.normalisation import Normalise

IMAGES = "images"
# How an operation that gives the classes calls their number.
CLASSES = {"conv": "out_channels", "linear": "out_features"}


class Operation(nn.Module):
    """A base of operations that torch has no module for: each is one layer to be read."""


class Add(Operation):
    """The sum of two layers of one shape."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(batch, ...) of both."""
        return x + other


class FlattenLast(Operation):
    """All units in a line, channels last: the order of TensorFlow's memory."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, height * width * channels) of (batch, channels, height, width)."""
        return x.movedim(1, 3).flatten(1)


class Subsample(Operation):
    """Every second pixel, between channels of zeros: the shortcut A of He et al. 2016.

    Parameters
    ----------
    channels : int
        Of zeros, on either side.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), with half of the height and width."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.channels, self.channels))


class MaskedReLU(Operation):
    """Rectified units, some of which are linear instead.

    Parameters
    ----------
    shape : sequence of int
        Of one image's units.
    """

    mask: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mask", torch.zeros(*shape))
        self.slope = nn.Parameter(torch.ones(*shape))
        self.bias = nn.Parameter(torch.zeros(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, ...): slope * x + bias where the mask is 1, elsewhere x rectified."""
        return torch.where(self.mask.bool(), x * self.slope + self.bias, x.relu())


# None ends with a digit, with which its number would be taken for another's.
OPERATIONS: Mapping[str, Callable[..., nn.Module]] = {
    "conv": nn.Conv2d,
    "linear": nn.Linear,
    "bn": nn.BatchNorm2d,
    "flat_bn": nn.BatchNorm1d,
    "relu": nn.ReLU,
    "clipped_relu": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "maskrelu": MaskedReLU,
    "add": Add,
    "gap": lambda: nn.AdaptiveAvgPool2d(1),
    "pad": nn.ZeroPad2d,
    "sub2pad": Subsample,
    "flatten": nn.Flatten,
    "flatten_hwc": FlattenLast,
}


class GraphNetwork(nn.Module):
    """A network of listed operations, which normalises its images first.

    Parameters
    ----------
    n_channels : int
    n_classes : int
    operations : sequence of mappings
        As the module describes them.

    Raises
    ------
    ValueError
        If an operation is unknown, lacks an argument, or has an input that is not before it.
    """

    def __init__(
        self, n_channels: int, n_classes: int, *, operations: Sequence[Mapping[str, Any]]
    ) -> None:
        super().__init__()
        if not operations:
            raise ValueError("operations: none, expected a list of them")
        self.normalise = Normalise(n_channels)
        names = named(operations)
        classes = class_operation(operations)
        steps: list[tuple[str, tuple[str, ...]]] = []
        known = [IMAGES]
        for place, (name, operation) in enumerate(zip(names, operations, strict=True)):
            inputs = tuple(operation.get("inputs") or known[-1:])
            if unknown := [one for one in inputs if one not in known]:
                raise ValueError(
                    f"operations: {name} has the input {unknown[0]!r}, expected one of those "
                    f"before it: {', '.join(known)}"
                )
            n = 2 if operation["op"] == "add" else 1
            if len(inputs) != n:
                raise ValueError(f"operations: {name} has {len(inputs)} inputs, expected {n}")
            arguments = {k: v for k, v in operation.items() if k not in ("op", "inputs")}
            if place == classes:
                arguments[CLASSES[operation["op"]]] = n_classes
            try:
                module = OPERATIONS[operation["op"]](**arguments)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"operations: {name} with {arguments}: {error}") from error
            if inputs == (IMAGES,) and getattr(module, "in_channels", n_channels) != n_channels:
                raise ValueError(
                    f"operations: {name} takes images of {module.in_channels} channels, found "
                    f"images of {n_channels}"
                )
            self.add_module(name, module)
            steps.append((name, inputs))
            known.append(name)
        last_use = {one: name for name, inputs in steps for one in inputs}
        self._steps = tuple(
            (name, inputs, tuple(one for one in set(inputs) if last_use[one] == name))
            for name, inputs in steps
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        name, known = IMAGES, {IMAGES: self.normalise(images)}
        for name, inputs, done in self._steps:
            found = getattr(self, name)(*[known[one] for one in inputs])
            for one in done:  # frees its memory
                del known[one]
            known[name] = found
        return known[name]


def named(operations: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of each operation; ValueError if one is unknown."""
    counts: Counter[str] = Counter()
    names = []
    for place, operation in enumerate(operations):
        kind = str(operation.get("op", ""))
        if kind not in OPERATIONS:
            raise ValueError(
                f"operations: number {place + 1} is {kind!r}, expected one of "
                f"{', '.join(OPERATIONS)}"
            )
        counts[kind] += 1
        names.append(f"{kind}{counts[kind]}")
    return names


def class_operation(operations: Sequence[Mapping[str, Any]]) -> int:
    """Place of the operation that gives the classes.

    Raises
    ------
    ValueError
        If what comes after the last convolution or linear layer is more than a mean or a change of
        shape, so that its outputs are no classes.
    """
    for place in range(len(operations) - 1, -1, -1):
        kind = operations[place]["op"]
        if kind in CLASSES:
            return place
        if kind not in ("gap", "flatten", "flatten_hwc"):
            break
    raise ValueError(
        "operations: expected the last one with weights to be "
        f"{' or '.join(CLASSES)}, whose outputs are the classes, and none but gap and flatten "
        f"after it; found {operations[-1]['op']}"
    )
