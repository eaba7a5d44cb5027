"""CORnet-Z of Kubilius et al. 2018: four areas of the ventral stream, a convolution each."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from regularized_training.networks.dense import dense_readout
from regularized_training.networks.normalisation import Normalise

DENSE = 64  # units of a fully connected layer for each channel of V1; 4,096 in all at width 64


class CORnetZ(nn.Module):
    """Each area is a convolution, a nonlinearity and max-pooling, 3 x 3 with stride 2.

    Two read-outs: ``dense=False`` is the published one, the mean over space and a linear layer;
    ``dense=True`` is that of Federer et al. 2020, three fully connected layers with dropout before
    each. Theirs sees images of 227 x 227 with a stride of 2 in V1; here, for 32 x 32, V1 has a
    stride of 1, and there is no local response normalisation.

    Parameters
    ----------
    width : int
        Channels of V1; each later area doubles them. 64 in both papers.
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    dense : bool
    """

    def __init__(self, width: int, n_channels: int, n_classes: int, *, dense: bool = False) -> None:
        super().__init__()
        self.normalise = Normalise(n_channels)
        self.V1 = _area(n_channels, width, kernel=7, stride=1 if dense else 2)
        self.V2 = _area(width, 2 * width)
        self.V4 = _area(2 * width, 4 * width)
        self.IT = _area(4 * width, 8 * width)
        self.decoder = (
            # 32 x 32 pixels leave 2 x 2 places in IT.
            dense_readout(8 * width, 2, DENSE * width, n_classes, drop_features=True)
            if dense
            else nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, n_classes)
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        return self.decoder(self.IT(self.V4(self.V2(self.V1(self.normalise(images))))))


cornet_z_dense = partial(CORnetZ, dense=True)


def _area(n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
