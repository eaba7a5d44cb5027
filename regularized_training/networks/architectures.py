"""Task networks, built by name; :mod:`~regularized_training.networks.registry` has the names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.networks.calls import builder_call
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig, is_file_name
from regularized_training.networks.libraries import Prepared, published_weights
from regularized_training.networks.normalisation import Normalise
from regularized_training.networks.registry import NETWORKS
from regularized_training.networks.v1 import MEAN, STD, put_v1_first
from regularized_training.networks.weights import put_weights, weights_of_file

__all__ = ["build_network", "compared_layers", "load_network", "outline"]


def build_network(config: NetworkConfig, n_channels: int, n_classes: int, seed: int) -> nn.Module:
    """Make a network to train, with random weights or with those that its configuration names.

    Global random state is left as it was.

    Parameters
    ----------
    config : NetworkConfig
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    seed : int
        Decides all random weights.

    Returns
    -------
    nn.Module
        On the CPU and channels-last in memory. Takes images (batch, channels, height, width) in
        [0, 1], returns logits (batch, class).

    Raises
    ------
    PartError
        If there is no such network here, or what has its name builds none.
    ValueError
        If it cannot be built in this way, or the weights are another network's.
    OSError
        If weights are missing, or cannot be downloaded.
    """
    return _built(config, n_channels, n_classes, seed, trained=bool(config.weights))


def outline(config: NetworkConfig, n_channels: int = 3, n_classes: int = 10) -> nn.Module:
    """The network of a configuration, to look at its layers and not to run it."""
    with suppress(Exception), torch.device("meta"):  # without memory for weights
        return _built(config, n_channels, n_classes, seed=0, trained=False)
    # Its builder looks at values, which it may do in any way, or nothing can be built at all.
    return _built(config, n_channels, n_classes, seed=0, trained=False)


def _built(
    config: NetworkConfig, n_channels: int, n_classes: int, seed: int, *, trained: bool
) -> nn.Module:
    if n_classes < 2:
        raise ValueError(f"n_classes: {n_classes}, expected at least 2")
    with seeded(seed):
        network = _new(config, n_channels, n_classes)
        if config.v1 is not None:
            _put_v1_first(network, config)
        if config.initialisation == "glorot":
            _glorot(network)
        if trained:
            _start_from_weights(network, config, n_channels, n_classes)
    if config.activation == "elu":
        _replace_relu(network)
    if config.mean:
        normalise = _first_normalise(network, config, "mean, std", f"{config.mean}, {config.std}")
        normalise.by(config.mean, config.std)
    if config.low_pass:
        normalise = _first_normalise(network, config, "low_pass", f"{config.low_pass:g}")
        normalise.blur_by(config.low_pass)
    return network.to(memory_format=torch.channels_last)


def _new(config: NetworkConfig, n_channels: int, n_classes: int) -> nn.Module:
    name = config.architecture
    build = builder_call(config, n_channels, n_classes)
    try:
        network = build()
    except (ValueError, OSError):  # which say what is wrong
        raise
    except Exception as error:  # another package's builder may raise anything
        raise NETWORKS.error(
            name,
            f"building failed ({type(error).__name__}: {error}); expected a function of "
            "n_channels and n_classes, see docs/extending.md",
        ) from error
    if not isinstance(network, nn.Module):
        raise NETWORKS.error(name, f"built a {type(network).__name__}, expected a torch.nn.Module")
    return network


def _start_from_weights(
    network: nn.Module, config: NetworkConfig, n_channels: int, n_classes: int
) -> None:
    if is_file_name(config.weights):
        state = weights_of_file(config)
    else:
        state = published_weights(config, n_channels)
    inner = network.network if isinstance(network, Prepared) else network
    put_weights(inner, state, n_classes, config.weights)


def _glorot(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _replace_relu(network: nn.Module) -> None:
    found = False
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ELU(inplace=child.inplace))
                found = True
    if not found:
        raise ValueError("activation: 'elu', but the network has no torch.nn.ReLU to replace")


def _put_v1_first(network: nn.Module, config: NetworkConfig) -> None:
    assert config.v1 is not None
    _first_normalise(network, config, "v1", "given").by(MEAN, STD)
    # Of a library's network by the names that it has there.
    inner = network.network if isinstance(network, Prepared) else network
    put_v1_first(inner, config.v1, config.replaced, config.width)


def _first_normalise(
    network: nn.Module, config: NetworkConfig, setting: str, value: str
) -> Normalise:
    """What a network begins with; ValueError if it does not, as the setting asks for."""
    first = [module for module in network.modules() if isinstance(module, Normalise)]
    if len(first) != 1:
        raise ValueError(
            f"{setting}: {value}, but {config.architecture} does not begin with "
            "regularized_training.networks.normalisation.Normalise, which that is for; leave it "
            "out, or have the network's builder begin so"
        )
    return first[0]


def load_network(
    config: NetworkConfig, n_channels: int, n_classes: int, state_dict: Mapping[str, Tensor]
) -> nn.Module:
    """Make a network with trained weights, in evaluation mode.

    Raises
    ------
    ValueError
        If the weights do not fit the network.
    """
    network = _built(config, n_channels, n_classes, seed=0, trained=False)
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        raise ValueError(
            f"state_dict: does not fit {config.architecture} of width {config.width} with "
            f"{n_channels} channels and {n_classes} classes; give the config it was trained with "
            f"({error})"
        ) from error
    return network.eval()
