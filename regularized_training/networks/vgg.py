"""VGG-16 of Simonyan and Zisserman 2015 for small images, of torchvision's layers."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from regularized_training.networks.dense import dense_readout
from regularized_training.networks.normalisation import Normalise

PUBLISHED_WIDTH = 64
DENSE = 64  # units of a hidden layer of the classifier for each channel of the first convolution


class VGG16(nn.Module):
    """torchvision's features at any width, followed by three fully connected layers.

    The fully connected layers have 4,096 units at width 64, as published, and see one place of
    space: 32 x 32 pixels are halved five times.

    Parameters
    ----------
    width : int
        Channels of the first convolution; 64 as published.
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    """

    def __init__(self, width: int, n_channels: int, n_classes: int) -> None:
        super().__init__()
        layers = [v if isinstance(v, str) else v * width // PUBLISHED_WIDTH for v in cfgs["D"]]
        self.normalise = Normalise(n_channels)
        self.features = make_layers(layers)
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        if n_channels != first.in_channels:
            self.features[0] = nn.Conv2d(n_channels, first.out_channels, 3, padding=1)
        self.classifier = dense_readout(8 * width, 1, DENSE * width, n_classes, drop_features=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        return self.classifier(self.features(self.normalise(images)))
