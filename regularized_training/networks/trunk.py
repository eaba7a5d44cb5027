"""A network up to one of its layers, which a task and the prediction of responses can share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regularized_training.networks.layer_reader import LayerError, LayerReader, keeping_modes


class Trunk:
    """A network up to one of its layers; what comes after it does not run.

    It shares weights, training mode and device with the network. Make one and keep it: it traces
    the network.

    Parameters
    ----------
    network : nn.Module
    layer : str
        The last layer of the trunk: ``features.16`` of ``vgg19_bn`` for Safarani et al. 2021.

    Raises
    ------
    LayerError
        If there is no such layer, with the names of those there are; or the network cannot be
        traced.

    Examples
    --------
    >>> from regularized_training.networks.architectures import build_network
    >>> from regularized_training.networks.config import NetworkConfig
    >>> config = NetworkConfig(architecture="vgg19_bn", width=4)
    >>> trunk = Trunk(build_network(config, n_channels=1, n_classes=200, seed=0), "features.16")
    >>> trunk.shape((1, 64, 64))
    (16, 16, 16)
    >>> trunk(torch.rand(2, 1, 64, 64)).shape
    torch.Size([2, 16, 16, 16])
    """

    def __init__(self, network: nn.Module, layer: str) -> None:
        self.network, self.layer = network, layer
        self._read = LayerReader(network, (layer,))

    def __call__(self, images: Tensor) -> Tensor:
        """Features (batch, channels, height, width) of images in [0, 1]."""
        (features,) = self._read(images)
        return features

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(channels, height, width) of the features; changes nothing in the network.

        Parameters
        ----------
        image_shape : (channels, height, width)

        Raises
        ------
        LayerError
            If the layer has no maps, since they are flattened or averaged before it.
        """
        parameter = next(self.network.parameters())
        with keeping_modes(self.network), torch.no_grad():
            self.network.eval()
            features = self(parameter.new_zeros(1, *image_shape))
        if features.ndim != 4:
            raise LayerError(
                f"layer: {self.layer!r} has features of shape {tuple(features.shape[1:])}, "
                "expected (channels, height, width); name one before they are flattened"
            )
        _, channels, height, width = features.shape
        return channels, height, width


class FrozenTrunk:
    """A network up to one of its layers, which stays as another training left it.

    Parameters
    ----------
    network : nn.Module
        Its trunk takes over weights and statistics, and no gradient.
    layer : str
        The last layer of the trunk.
    state : mapping of str to Tensor
        State of the whole network that was trained before.

    Raises
    ------
    LayerError
        If there is no such layer.
    """

    def __init__(self, network: nn.Module, layer: str, state: Mapping[str, Tensor]) -> None:
        self._part = LayerReader(network, (layer,)).up_to
        self._part.load_state_dict({name: state[name] for name in self._part.state_dict()})
        self._part.requires_grad_(False)

    def hold(self) -> None:
        """Hold its statistics, too, after the network was put into training mode."""
        self._part.eval()
