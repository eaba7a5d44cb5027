"""The core computes what neuralpredictors' core computes, in another order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from predictive_model.encoders import core as core_module
from predictive_model.encoders.core import Core, DepthwiseConv2d
from predictive_model.encoders.neuralpredictors_compat import Stacked2dCore

SETTINGS: dict[str, dict[str, Any]] = {
    "dense with skips, all layers": dict(skip=3, hidden_kern=3),
    "dense, last layer": dict(skip=0, hidden_kern=3, stack=-1),
    "depth-separable, last layer": dict(skip=0, hidden_kern=5, stack=-1, depth_separable=True),
}


def pair(**settings: Any) -> tuple[Stacked2dCore, Core]:
    """The same core twice, in double precision."""
    common = dict(
        input_channels=1,
        hidden_channels=16,
        input_kern=5,
        layers=3,
        bias=False,
        pad_input=False,
        gamma_input=1.0,
        **settings,
    )
    theirs, ours = Stacked2dCore(**common), Core(**common)
    ours.load_state_dict(theirs.state_dict())
    return theirs.double().train(), ours.double().train()


def gradients(core: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    core.zero_grad()
    out = core(images)
    out.sin().sum().backward()
    return out.detach(), [p.grad.clone() for p in core.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("part_bytes", [2**30, 2**17])
def test_outputs_gradients_and_running_statistics_are_equal(
    name: str, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a batch passes in many parts, with batch normalisation over all of them."""
    monkeypatch.setattr(core_module, "PART_BYTES", part_bytes)
    torch.manual_seed(0)
    theirs, ours = pair(**SETTINGS[name])
    images = torch.randn(13, 1, 18, 20, dtype=torch.float64)
    (a, grads_a), (b, grads_b) = gradients(theirs, images), gradients(ours, images)
    torch.testing.assert_close(b, a, atol=1e-10, rtol=1e-10)
    for x, y in zip(grads_a, grads_b, strict=True):
        torch.testing.assert_close(y, x, atol=1e-9, rtol=1e-9)
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize(
    ("kernel", "padding", "batch"), itertools.product([4, 5, 7, (3, 7)], [0, 2, 3], [1, 5])
)
def test_depthwise_gradients_are_those_of_pytorch(
    kernel: int | tuple[int, int], padding: int, batch: int
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 16, kernel, padding=padding, groups=16, bias=batch == 5)
    plain.to(memory_format=torch.channels_last)
    assert DepthwiseConv2d.suits(plain)
    fast = DepthwiseConv2d.like(plain)
    maps = torch.randn(batch, 16, 12, 20).contiguous(memory_format=torch.channels_last)
    found = []
    for conv in (plain, fast):
        conv.zero_grad()
        x = maps.clone().requires_grad_()
        out = conv(x)
        out.sin().sum().backward()
        assert x.grad is not None
        found.append([out.detach(), x.grad, *(p.grad.clone() for p in conv.parameters())])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 3e-5 * a.abs().max()


def test_only_wide_depthwise_kernels_of_stride_one_are_replaced() -> None:
    assert not DepthwiseConv2d.suits(nn.Conv2d(16, 16, 3, groups=16))
    assert not DepthwiseConv2d.suits(nn.Conv2d(16, 16, 7))
    assert not DepthwiseConv2d.suits(nn.Conv2d(16, 16, 7, groups=16, stride=2))
