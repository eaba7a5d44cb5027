"""Running means tell a linear core from one with nonlinearities."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from predictive_model.encoders.neuralpredictors_compat import Stacked2dCore
from predictive_model.fits.linearity import is_linear
from predictive_model.fits.published import RECIPES, published_encoder
from predictive_model.recordings.stimuli import natural_stimuli
from tests.published_networks import SHAPE, published_network


@cache
def natural_images() -> Tensor:
    """(60, 1, 24, 32)"""
    return torch.from_numpy(natural_stimuli(60, (24, 32)).astype("float32"))


def fitted(batches: int = 500, **settings: Any) -> dict[str, Tensor]:
    """A core whose running statistics are those of natural images."""
    images = natural_images()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the 2022 release
        torch.manual_seed(0)
        core = Stacked2dCore(
            1, 16, 7, 5, momentum=1.0, input_regularizer="LaplaceL2norm", **settings
        )
        for name, tensor in core.state_dict().items():
            if name.endswith(("norm.weight", "norm.bias", "scale.scale", "bias.bias")):
                tensor.uniform_(0.3, 1.0).mul_(torch.randn_like(tensor).sign())
        core.train()((images - images.mean()) / images.std())
    state = {f"core.{name}": tensor for name, tensor in core.state_dict().items()}
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(batches)
    return state


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"bias": False},
        {"bias": False, "depth_separable": True, "layers": 4},
        {"bias": True, "skip": 2, "layers": 4},
        {"bias": True, "independent_bn_bias": False, "batch_norm_scale": False},
    ],
    ids=["dense", "depth-separable", "skips", "offset"],
)
def test_a_fitted_core_tells_whether_it_is_linear(settings, linear):
    assert is_linear(fitted(linear=linear, **settings)) is linear


def test_nothing_is_told_before_a_fit_or_without_a_second_layer():
    assert is_linear(fitted(batches=3, linear=True)) is None
    assert is_linear(fitted(layers=1, linear=True)) is None
    assert is_linear(fitted(batch_norm=False, linear=True)) is None


def test_what_the_file_tells_overrules_the_recipe_and_what_is_said_overrules_both():
    state = {k: v for k, v in published_network().state_dict().items() if "core." not in k}
    core = fitted(linear=True, bias=False, stack=-1)
    features = torch.rand(1, 16, 1, 5)
    state = core | state | {"readout.101-2-3._features": features}
    recipe = RECIPES["sensorium"].changed(height=SHAPE[0], width=SHAPE[1])
    assert published_encoder(state, recipe).config.core.linear
    assert not published_encoder(state, recipe, linear=False).config.core.linear
