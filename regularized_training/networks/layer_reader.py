"""Features of a network's layers, read without changing the network."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from regularized_training.networks.normalisation import Normalise


class LayerReader:
    """Features of some layers, without running what comes after them.

    It shares weights, training mode and device with the network, and leaves the network's own
    ``forward`` as it is. Make one and keep it: it traces the network.

    Parameters
    ----------
    network : nn.Module
    layers : sequence of str
        Names of modules or of nodes of the traced network.
    """

    def __init__(self, network: nn.Module, layers: tuple[str, ...]) -> None:
        self.layers = tuple(layers)
        training = network.training
        # A leaf is shared with the network as a whole; traced into, its constants would be copied
        # and stay behind when the network moves to another device.
        self._extractor = create_feature_extractor(
            network, list(self.layers), tracer_kwargs={"leaf_modules": [Normalise]}
        )
        self._extractor.train(training)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Features of each layer, (batch, channels, height, width), for images in [0, 1]."""
        return list(self._extractor(images).values())
