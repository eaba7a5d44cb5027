"""Whether a published core is linear, read off what its batch normalisations recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_BATCHES = 100  # before the running statistics are those of a fitted network
DECISIVE = 2.0  # times better has one hypothesis to explain the running means than the other
CLOSE = 0.1  # mean squared error of a hypothesis that holds, in units of the running variances


def is_linear(state: Mapping[str, Tensor]) -> bool | None:
    """Whether there is no nonlinearity between the layers of a core; None if that stays open.

    Nothing in a state dict names its nonlinearities. But a layer's batch normalisation fixes mean
    and standard deviation of its output, and the next layer's recorded the mean behind its own
    convolution. The one follows from the other: exactly, borders aside, if the core is linear,
    and up to the shape of the distribution, which is taken to be Gaussian, if there is an ELU
    between them. In the two networks that the Sensorium competition published, ELU explains the
    running means of each later layer 24 times better and more; where a linear core was fitted to a
    simulated scan, linearity explained them 100 times better.

    Parameters
    ----------
    state : mapping of str to tensor
        With keys of ``Stacked2dCore``.
    """
    numbers = [int(m[1]) for k in state if (m := re.match(r"core\.features\.layer(\d+)\.", k))]
    layers = [f"core.features.layer{n}." for n in range(max(numbers, default=-1) + 1)]
    if any(_recorded(state, layer) is None for layer in layers) or len(layers) < 2:
        return None
    errors = []
    for elu in (False, True):
        try:
            errors.append(_error(state, layers, elu))
        except (KeyError, RuntimeError):  # of tensors that are missing or do not fit
            return None
    linear, nonlinear = errors
    if min(errors) > CLOSE or max(errors) < DECISIVE * min(errors):
        return None
    return linear < nonlinear


def _recorded(state: Mapping[str, Tensor], layer: str) -> Tensor | None:
    """The running mean of a layer, if it was recorded in a fit."""
    batches = state.get(f"{layer}norm.num_batches_tracked")
    if batches is None or batches.numel() != 1 or int(batches) < FEWEST_BATCHES:
        return None
    return state.get(f"{layer}norm.running_mean")


def _error(state: Mapping[str, Tensor], layers: list[str], elu: bool) -> float:
    """Mean squared error of the later running means, in units of the running variances."""
    means: list[Tensor] = []
    errors = []
    for layer, following in zip(layers, layers[1:], strict=False):
        means.append(_mean_after(state, layer, elu))
        n_inputs = _entrance(state, following).shape[1]
        seen = torch.cat(means[-max(1, n_inputs // len(means[-1])) :])
        expected = _mean_behind(state, following, seen)
        mean, variance = (
            state[f"{following}norm.running_{name}"].double() for name in ("mean", "var")
        )
        errors.append((mean - expected).square() / variance)
    return float(torch.cat(errors).mean())


def _mean_after(state: Mapping[str, Tensor], layer: str, elu: bool) -> Tensor:
    """Mean of each channel of a layer's output; Gaussian before the nonlinearity."""
    none = torch.zeros_like(state[f"{layer}norm.running_mean"])
    scale = state.get(f"{layer}norm.weight", state.get(f"{layer}scale.scale", none + 1))
    offset = state.get(f"{layer}norm.bias", state.get(f"{layer}bias.bias", none))
    scale, offset = scale.double().flatten(), offset.double().flatten()
    if not elu:
        return offset
    quantiles = torch.special.ndtri((torch.arange(400, dtype=torch.float64) + 0.5) / 400)
    return F.elu(offset[:, None] + scale[:, None] * quantiles).mean(1)


def _entrance(state: Mapping[str, Tensor], layer: str) -> Tensor:
    separable = f"{layer}ds_conv.in_depth_conv.weight"
    return state[separable] if separable in state else state[f"{layer}conv.weight"]


def _mean_behind(state: Mapping[str, Tensor], layer: str, mean: Tensor) -> Tensor:
    """Mean of each channel behind a layer's convolutions, of constant maps."""
    if f"{layer}conv.weight" in state:
        return _convolved(state, f"{layer}conv", mean)
    for part in ("in_depth_conv", "spatial_conv", "out_depth_conv"):
        mean = _convolved(state, f"{layer}ds_conv.{part}", mean)
    return mean


def _convolved(state: Mapping[str, Tensor], name: str, mean: Tensor) -> Tensor:
    weight = state[f"{name}.weight"].double().sum((2, 3))
    depthwise = weight.shape[1] == 1 and len(weight) == len(mean) > 1
    out = weight[:, 0] * mean if depthwise else weight @ mean
    bias = state.get(f"{name}.bias")
    return out if bias is None else out + bias.double()
