"""CORnet-S of Kubilius et al. 2019: a shallow recurrent network with four areas, and its variants.

Written from the paper. It leaves open what goes into the residual sum and where normalisation
stands: here as in the residual networks that it was drawn from, which gives the published number of
parameters, 53,416,616 at width 64 for colour and 1,000 classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.networks.normalisation import Normalise
from regularized_training.networks.registry import CORNET_S_STEPS

Gate = Literal["hard", "soft"]
Norm = Literal["step", "shared", "group", "none"]
RECURRENT = ("V2", "V4", "IT")
V1_STRIDES = (1, 2, 4)
GROUPS = 32  # of group normalisation, or the largest common divisor with the channels


class CORnetS(nn.Module):
    """V1 without recurrence, then V2, V4 and IT, whose output is their input in the next step.

    V1 is a 7 x 7 convolution, max-pooling and a 3 x 3 convolution. Each later area lets its input
    in by a 1 x 1 convolution once; in each step a 1 x 1 convolution widens it, a 3 x 3 convolution
    follows, which in the first step halves height and width, and a 1 x 1 convolution narrows it
    again; what came into the step is added. Weights are those of all steps, batch normalisation is
    each step's own. The mean over space of IT is decoded linearly.

    Steps are readable layers, counted from 0: ``V4.2`` is the third of V4. An area's name stands
    for its last step.

    Parameters
    ----------
    width : int
        Channels of V1; each later area doubles them. 64 as published.
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    steps : (3,) int
        In V2, V4 and IT; ``[1, 1, 1]`` is a network without recurrence.
    v1_stride : {4, 2, 1}
        How many pixels lie between neighbouring places of V1. 4 is published, for 224 pixels: the
        convolution and the pooling have a stride of 2. With 2 the convolution has none. With 1
        there is no pooling either, so that 32 pixels leave 4 x 4 places in IT.
    bottleneck : int
        How many times as wide a step is within; 1 for no bottleneck.
    convolutions : {3, 2}
        In each step; 2 leaves out the first.
    skip : bool
        Whether what came into a step is added to what comes out. In the first step it passes a
        1 x 1 convolution of every second place, with normalisation.
    gate : {"hard", "soft"}
        What an area sees of its input after the first step: nothing as published, or
        state + sigmoid(input + state) * input. The paper has the sigmoid; how it acts is ours.
    norm : {"step", "shared", "group", "none"}
        Batch normalisation of each step or shared by all, group normalisation shared by all, or
        biases alone.

    Raises
    ------
    ValueError
        If a setting is not among these.
    """

    def __init__(
        self,
        width: int,
        n_channels: int,
        n_classes: int,
        *,
        steps: Sequence[int] = CORNET_S_STEPS,
        v1_stride: int = 4,
        bottleneck: int = 4,
        convolutions: int = 3,
        skip: bool = True,
        gate: Gate = "hard",
        norm: Norm = "step",
    ) -> None:
        super().__init__()
        _check(steps, v1_stride, bottleneck, convolutions, gate, norm)
        self.normalise = Normalise(n_channels)
        self.V1 = nn.Sequential(
            nn.Conv2d(n_channels, width, 7, 1 + (v1_stride > 2), padding=3, bias=norm == "none"),
            _norm(norm, width),
            nn.ReLU(inplace=True),
            *([nn.MaxPool2d(3, stride=2, padding=1)] if v1_stride > 1 else []),
            nn.Conv2d(width, width, 3, padding=1, bias=norm == "none"),
            _norm(norm, width),
            nn.ReLU(inplace=True),
        )
        n = width
        for name, n_steps in zip(RECURRENT, steps, strict=True):
            self.add_module(
                name,
                Area(
                    n,
                    2 * n,
                    n_steps,
                    bottleneck=bottleneck,
                    convolutions=convolutions,
                    skip=skip,
                    gate=gate,
                    norm=norm,
                ),
            )
            n *= 2
        self.classifier = nn.Linear(n, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        x = self.V1(self.normalise(images))
        for name in RECURRENT:
            x = self.get_submodule(name)(x)
        return self.classifier(x.mean((2, 3)))


class Area(nn.Module):
    """A recurrent area; see :class:`CORnetS` for its settings."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_steps: int,
        *,
        bottleneck: int,
        convolutions: int,
        skip: bool,
        gate: Gate,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.n_steps, self.gate = n_steps, gate
        wide, bias = bottleneck * n_out, norm == "none"
        self.entry = nn.Conv2d(n_in, n_out, 1, bias=bias)
        # Every second place. A 1 x 1 convolution with this stride is the same, and its backward
        # pass crashes torch 2.15 on the CPU, as in regularized_training.networks.resnet.
        self.halve = nn.MaxPool2d(1, 2)
        self.skip = None
        if skip:
            self.skip = nn.Sequential(nn.Conv2d(n_out, n_out, 1, bias=bias), _norm(norm, n_out))
        widths = [n_out, wide, wide, n_out] if convolutions == 3 else [n_out, wide, n_out]
        self.convolutions = nn.ModuleList(
            StridedConv(a, b, kernel, padding=kernel // 2, bias=bias)
            for a, b, kernel in zip(widths, widths[1:], (1, 3, 1)[-convolutions:], strict=False)
        )
        own = norm == "step"
        self.norms = nn.ModuleList([] if own else [_norm(norm, n) for n in widths[1:]])
        for step in range(n_steps):
            norms = [_norm(norm, n) for n in widths[1:]] if own else []
            self.add_module(str(step), Step(norms))

    def forward(self, x: Tensor) -> Tensor:
        """What the last step comes to, (batch, n_out, height / 2, width / 2)."""
        entered = self.entry(x)
        kept = None if self.skip is None else self.skip(self.halve(entered))
        state = self.get_submodule("0")(entered, kept, self.convolutions, self.norms, stride=2)
        for step in range(1, self.n_steps):
            if self.gate == "soft":
                seen = self.halve(entered)
                state = state + torch.sigmoid(seen + state) * seen
            kept = None if self.skip is None else state
            state = self.get_submodule(str(step))(state, kept, self.convolutions, self.norms)
        return state


class Step(nn.Module):
    """One pass through an area's convolutions, with normalisation of its own or the area's."""

    def __init__(self, norms: Sequence[nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norms)
        self.relu = nn.ReLU(inplace=True)

    def forward(
        self,
        x: Tensor,
        kept: Tensor | None,
        convolutions: nn.ModuleList,
        shared: nn.ModuleList,
        stride: int = 1,
    ) -> Tensor:
        """The area's next state; `kept` is added to it, and the 3 x 3 convolution has `stride`."""
        norms = self.norms if len(self.norms) else shared
        for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
            x = self.relu(x) if number else x
            x = norm(convolution(x, stride if convolution.kernel_size == (3, 3) else 1))
        return self.relu(x if kept is None else x + kept)


class StridedConv(nn.Conv2d):
    """A convolution whose stride is each call's."""

    def forward(self, x: Tensor, stride: int = 1) -> Tensor:
        """Convolved at each `stride`-th place."""
        return F.conv2d(x, self.weight, self.bias, stride, self.padding)


def _norm(norm: Norm, n: int) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    return nn.GroupNorm(math.gcd(GROUPS, n), n) if norm == "group" else nn.BatchNorm2d(n)


def _check(
    steps: Sequence[int],
    v1_stride: int,
    bottleneck: int,
    convolutions: int,
    gate: str,
    norm: str,
) -> None:
    if not isinstance(steps, Sequence) or len(steps) != 3 or any(n < 1 for n in steps):
        raise ValueError(f"steps: {steps}, expected three numbers of at least 1, of V2, V4 and IT")
    if bottleneck < 1:
        raise ValueError(f"bottleneck: {bottleneck}, expected at least 1, which is none")
    for name, given, allowed in (
        ("v1_stride", v1_stride, V1_STRIDES),
        ("convolutions", convolutions, (2, 3)),
        ("gate", gate, get_args(Gate)),
        ("norm", norm, get_args(Norm)),
    ):
        if given not in allowed:
            raise ValueError(f"{name}: {given!r}, expected one of {', '.join(map(str, allowed))}")
