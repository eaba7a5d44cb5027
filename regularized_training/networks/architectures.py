"""Task networks by name, and the layers whose features are compared with the brain's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from regularized_training.networks.config import ArchitectureName, NetworkConfig
from regularized_training.networks.cornet import AREAS, CORnetZ
from regularized_training.networks.resnet import ResNet
from regularized_training.networks.vgg import VGG16


@dataclass(frozen=True)
class Architecture:
    """How to build a network and where to read it.

    Attributes
    ----------
    build : callable
        Takes width, number of channels and number of classes.
    similarity_layers : tuple of str
        Layers of Eq. 9 of Li et al. 2019, from the image on, as torchvision's
        ``create_feature_extractor`` names them.
    """

    build: Callable[[int, int, int], nn.Module]
    similarity_layers: tuple[str, ...]


# The stem and the end of each stage, all read after the nonlinearity: in ResNet18 layers 1, 5, 9,
# 13 and 17 of Li et al. 2019, counting convolutions.
RESNET_LAYERS = ("stem", "stage1", "stage2", "stage3", "stage4")

# All convolutions after the nonlinearity; the third is features.6.
VGG_LAYERS = tuple(f"features.{i}" for i in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29))

# A new network is one entry here and its name in `ArchitectureName`.
ARCHITECTURES: Mapping[ArchitectureName, Architecture] = {
    "resnet18": Architecture(partial(ResNet, (2, 2, 2, 2)), RESNET_LAYERS),
    "resnet34": Architecture(partial(ResNet, (3, 4, 6, 3)), RESNET_LAYERS),
    "cornet_z": Architecture(CORnetZ, AREAS),
    "cornet_z_dense": Architecture(partial(CORnetZ, dense=True), AREAS),
    "vgg16": Architecture(VGG16, VGG_LAYERS),
}


def compared_layers(
    architecture: ArchitectureName, chosen: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Layers of a network that are compared with a teacher, from the image on.

    Parameters
    ----------
    architecture : str
        A key of ``ARCHITECTURES``.
    chosen : tuple of str, optional
        Only these of the architecture's similarity layers, in any order; all by default.

    Raises
    ------
    ValueError
        If the architecture has no similarity layer of a name.
    """
    there = ARCHITECTURES[architecture].similarity_layers
    if chosen is None:
        return there
    unknown = sorted(set(chosen) - set(there))
    if unknown:
        raise ValueError(
            f"layers: {', '.join(unknown)} are not among those of {architecture} that can be "
            f"compared with a teacher: {', '.join(there)}"
        )
    return tuple(layer for layer in there if layer in chosen)


def build_network(config: NetworkConfig, n_channels: int, n_classes: int, seed: int) -> nn.Module:
    """Make a network with random weights; global random state is left as it was.

    Parameters
    ----------
    config : NetworkConfig
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    seed : int
        Decides all weights.

    Returns
    -------
    nn.Module
        On the CPU and channels-last in memory. Takes images (batch, channels, height, width) in
        [0, 1], returns logits (batch, class).
    """
    if n_classes < 2:
        raise ValueError(f"n_classes: {n_classes}, expected at least 2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[config.architecture].build(config.width, n_channels, n_classes)
        if config.initialisation == "glorot":
            _glorot(network)
    if config.activation == "elu":
        _replace_relu(network)
    return network.to(memory_format=torch.channels_last)


def _glorot(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _replace_relu(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ELU(inplace=child.inplace))


def load_network(
    config: NetworkConfig, n_channels: int, n_classes: int, state_dict: Mapping[str, Tensor]
) -> nn.Module:
    """Make a network with trained weights, in evaluation mode.

    Raises
    ------
    ValueError
        If the weights do not fit the network.
    """
    network = build_network(config, n_channels, n_classes, seed=0)
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        raise ValueError(
            f"state_dict: does not fit {config.architecture} of width {config.width} with "
            f"{n_channels} channels and {n_classes} classes; give the config it was trained with "
            f"({error})"
        ) from error
    return network.eval()
