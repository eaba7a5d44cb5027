"""Encoders built of neuralpredictors' own parts, as the authors of published ones built theirs."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn

from predictive_model.encoders.neuralpredictors_compat import (
    MLP,
    FiringRateEncoder,
    FullGaussian2d,
    MultiReadoutBase,
    Stacked2dCore,
)


def plain_encoder(
    scan: str,
    n_neurons: int,
    *,
    input_channels: int = 1,
    shifter: bool = False,
    layers: int = 4,
    hidden_channels: int = 64,
    kernels: tuple[int, int] = (9, 7),
    image_shape: tuple[int, int] = (36, 64),
    seed: int = 0,
) -> FiringRateEncoder:
    """A network of the Sensorium 2022 baselines, or a smaller one of the kind, with random weights.

    Nothing in it is 0, so that every part of it counts.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the 2022 release, that the bias starts at 0
        torch.manual_seed(seed)
        core = Stacked2dCore(
            input_channels=input_channels,
            hidden_channels=hidden_channels,
            input_kern=kernels[0],
            hidden_kern=kernels[1],
            layers=layers,
            depth_separable=True,
            stack=-1,
            pad_input=False,
            bias=False,
            input_regularizer="LaplaceL2norm",
        )
        maps = core(torch.randn(4, input_channels, *image_shape)).shape[1:]
        readout = MultiReadoutBase(
            {scan: tuple(maps)},
            {scan: n_neurons},
            base_readout=FullGaussian2d,
            bias=True,
            init_sigma=0.1,
            gauss_type="full",
            source_grid=rng.normal(size=(n_neurons, 2)),
            grid_mean_predictor={"hidden_layers": 1, "hidden_features": 30, "final_tanh": True},
        )
        nn.init.normal_(readout[scan].bias)
        nn.init.normal_(readout[scan]._features)
        shifters = None
        if shifter:
            mlp = MLP(input_features=2, hidden_channels=5, shift_layers=3)
            shifters = nn.ModuleDict({scan: mlp})
    return FiringRateEncoder(core, readout, shifter=shifters).eval()
