"""VGG-19 with batch normalisation as Safarani et al. 2021 train it, of torchvision's layers."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from regularized_training.networks.dense import DROPOUT
from regularized_training.networks.normalisation import Normalise
from regularized_training.networks.vgg import DENSE, PUBLISHED_WIDTH


class VGG19BatchNorm(nn.Module):
    """torchvision's features at any width, then a classifier of 1 x 1 convolutions.

    The classifier looks at each place of the last features, 2 x 2 of them for images of 64 x 64
    pixels, and a class has the logit of the place that speaks most for it. So the released code
    has it; the paper names the layers alone.

    The trunk that Safarani et al. share with neural prediction ends after the nonlinearity of
    conv3-1, the fifth convolution: ``features.16``, of a quarter of the images' height and width
    and 4 x ``width`` channels.

    Parameters
    ----------
    width : int
        Channels of the first convolution; 64 as published, which makes 4,096 units in the two
        hidden layers of the classifier.
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    mean, std : float or list of float, optional
        By which pixels are standardised, one value or one for each channel; the usual ones by
        default. Those of grey Tiny ImageNet are .4519 and .2221.
    dropout : float
        Of the units of both hidden layers. A narrow network has too few of them to learn with the
        half that is published.

    Examples
    --------
    >>> import torch
    >>> network = VGG19BatchNorm(width=4, n_channels=1, n_classes=200, mean=0.4519, std=0.2221)
    >>> network(torch.rand(2, 1, 64, 64)).shape
    torch.Size([2, 200])
    """

    def __init__(
        self,
        width: int,
        n_channels: int,
        n_classes: int,
        *,
        mean: float | list[float] | None = None,
        std: float | list[float] | None = None,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        layers = [v if isinstance(v, str) else v * width // PUBLISHED_WIDTH for v in cfgs["E"]]
        self.normalise = Normalise(n_channels, mean, std)
        self.features = make_layers(layers, batch_norm=True)
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        if n_channels != first.in_channels:
            self.features[0] = nn.Conv2d(n_channels, first.out_channels, 3, padding=1)
        self.classifier = nn.Sequential(
            nn.Conv2d(8 * width, DENSE * width, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(DENSE * width, DENSE * width, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(DENSE * width, n_classes, 1),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        places = self.classifier(self.features(self.normalise(images)))
        # As nn.AdaptiveMaxPool2d(1), whose backward pass differs from run to run on a GPU.
        return places.amax((2, 3))
