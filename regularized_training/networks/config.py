"""Which network is trained, as a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from predictive_model.config import Config

ArchitectureName = Literal["resnet18", "resnet34", "cornet_z", "cornet_z_dense", "vgg16"]


class NetworkConfig(Config):
    """Which network to train.

    Attributes
    ----------
    architecture : str
        A key of ``ARCHITECTURES``.
    width : int
        Channels of the first layer, to which all others are proportional; 64 in the papers.
    activation : {"relu", "elu"}
        The nonlinearity behind all layers.
    initialisation : {"own", "glorot"}
        That of the architecture, or for all weights that of Glorot and Bengio 2010, uniform, with
        biases of 0.
    """

    architecture: ArchitectureName = "resnet18"
    width: int = Field(default=64, ge=1)
    activation: Literal["relu", "elu"] = "relu"
    initialisation: Literal["own", "glorot"] = "own"
