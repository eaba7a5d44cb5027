"""Residual networks for small images, made of torchvision's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from regularized_training.networks.normalisation import Normalise


class ResNet(nn.Module):
    """ResNet of He et al. 2016 for images of 32 x 32 pixels and the like.

    It differs from torchvision's ResNet in the stem, a 3 x 3 convolution of stride 1 without
    max-pooling, in its settable width, and in taking images in [0, 1]: the first layer normalises
    them. The convolutional trunk ``stem ... stage4`` takes images of any size.

    Parameters
    ----------
    blocks : (4,) int
        Number of residual blocks in each stage: 2, 2, 2, 2 for ResNet18, 3, 4, 6, 3 for ResNet34.
    width : int
        Channels of the stem and the first stage; each later stage doubles them. 64 in the paper.
    n_channels : int
        1 for grey images, 3 for colour.
    n_classes : int
    """

    def __init__(self, blocks: Sequence[int], width: int, n_channels: int, n_classes: int) -> None:
        super().__init__()
        self.normalise = Normalise(n_channels)
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.stage1 = _stage(width, width, blocks[0], stride=1)
        self.stage2 = _stage(width, 2 * width, blocks[1], stride=2)
        self.stage3 = _stage(2 * width, 4 * width, blocks[2], stride=2)
        self.stage4 = _stage(4 * width, 8 * width, blocks[3], stride=2)
        self.classifier = nn.Linear(8 * width, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        x = self.stem(self.normalise(images))
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        return self.classifier(x.mean((2, 3)))


resnet18 = partial(ResNet, (2, 2, 2, 2))
resnet34 = partial(ResNet, (3, 4, 6, 3))


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    """Residual blocks, the first of which changes the size and the number of channels."""
    shortcut = None
    if stride != 1 or n_in != n_out:
        # The same as a 1 x 1 convolution with a stride, whose backward pass crashes torch 2.15 on
        # the CPU for a few channels, channels-last and images larger than 32 x 32.
        shortcut = nn.Sequential(
            nn.MaxPool2d(1, stride), nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out)
        )
    rest = (BasicBlock(n_out, n_out) for _ in range(n_blocks - 1))
    return nn.Sequential(BasicBlock(n_in, n_out, stride, shortcut), *rest)
