"""Networks of neuralpredictors in the many forms that its users publish, with random weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from predictive_model.encoders.neuralpredictors_compat import (
    MLP,
    FiringRateEncoder,
    FullGaussian2d,
    Stacked2dCore,
    StaticAffine2d,
)

SHAPE = (10, 14)
NEURONS = 5
CORE: dict[str, Any] = dict(
    input_channels=1,
    hidden_channels=4,
    input_kern=5,
    hidden_kern=3,
    layers=3,
    pad_input=False,
    bias=False,
    stack=-1,
    input_regularizer="LaplaceL2norm",
)
CORTEX = {"hidden_layers": 1, "hidden_features": 6, "final_tanh": True}


class Readouts(nn.ModuleDict):
    """Readouts by scan, called as ``FiringRateEncoder`` calls them."""

    def forward(self, x: Tensor, data_key: str, shift: Tensor | None = None) -> Tensor:
        return self[data_key](x, shift=shift)


def published_network(
    *,
    core: Mapping[str, Any] | None = None,
    readout: Mapping[str, Any] | None = None,
    shifter: nn.Module | None = None,
    scans: tuple[str, ...] = ("101-2-3",),
    elu_offset: float = 0.0,
    seed: int = 0,
) -> FiringRateEncoder:
    """A stacked core with a Gaussian readout of each scan; every tensor counts, none is 0 or 1."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the 2022 release
        torch.manual_seed(seed)
        settings = CORE | dict(core or {})
        stack = Stacked2dCore(**settings)
        maps = tuple(stack.eval()(torch.zeros(1, settings["input_channels"], *SHAPE)).shape[1:])
        readouts = Readouts()
        for n, scan in enumerate(scans):
            chosen = dict(bias=True, init_sigma=0.1) | dict(readout or {})
            if "source_grid" not in chosen and "grid_mean_predictor" in chosen:
                chosen["source_grid"] = rng.normal(size=(NEURONS + n, 2))
            readouts[scan] = FullGaussian2d(maps, NEURONS + n, **chosen)
        shifters = nn.ModuleDict({scan: shifter for scan in scans}) if shifter else None
        model = FiringRateEncoder(stack, readouts, shifter=shifters, elu_offset=elu_offset)
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif (
                tensor.is_floating_point()
                and "regularizer" not in name
                and ("source_grid" not in name)
            ):
                tensor.add_(torch.empty_like(tensor).uniform_(-0.3, 0.3))
    return model.eval()


def mlp(inputs: int = 2, hidden: int = 5, layers: int = 3) -> nn.Module:
    """A shifter of tanh units."""
    return MLP(input_features=inputs, hidden_channels=hidden, shift_layers=layers)


def affine(bias: bool = True) -> nn.Module:
    """A shifter of one linear map and a tanh."""
    return StaticAffine2d(bias=bias)
