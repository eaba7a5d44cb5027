"""Table 2 of Kubilius et al. 2019, and what counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.alignment.simplicity import longest_path, simplicity
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig


def built(architecture: str, **settings: Any) -> nn.Module:
    with torch.device("meta"):
        described = {"architecture": architecture, **settings}
        return build_network(NetworkConfig.model_validate(described), 3, 1000, seed=0)


@pytest.mark.parametrize(
    ("architecture", "length", "published"),
    [
        ("torchvision:alexnet", 8, 0.48),
        ("torchvision:vgg16", 16, 0.36),
        ("torchvision:vgg19", 19, 0.34),
        ("torchvision:resnet18", 18, 0.35),
        ("torchvision:squeezenet1_0", 18, 0.35),
        ("cornet_s", 15, 0.37),
    ],
)
def test_simplicity_is_the_published(architecture: str, length: int, published: float) -> None:
    network = built(architecture)
    assert longest_path(network) == length
    assert round(simplicity(network), 2) == published


def test_mobilenet_is_as_published_where_depthwise_convolutions_count_twice() -> None:
    network = built("timm:mobilenetv1_100")
    depthwise = sum(isinstance(m, nn.Conv2d) and m.groups > 1 for m in network.modules())
    assert longest_path(network) == 28
    assert longest_path(network) + depthwise == 41


def test_recurrence_blur_and_circuits_make_a_path_no_longer_unless_they_have_layers() -> None:
    assert longest_path(built("cornet_s", options={"steps": [1, 9, 1]})) == 15
    assert longest_path(built("cornet_s", options={"convolutions": 2})) == 12
    assert longest_path(built("cornet_s", low_pass=2)) == 15
    # Gabors and a bottleneck for one convolution.
    assert (
        longest_path(built("torchvision:resnet50", v1={}))
        == longest_path(built("torchvision:resnet50")) + 1
    )


class Functional(nn.Module):
    """Two layers in a row, one of them twice; another beside them; a branch that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.beside, self.lost = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.weight = nn.Parameter(torch.ones(5, 3))

    def forward(self, images: Tensor) -> Tensor:
        self.lost(self.lost(images))
        x = F.conv2d(images, self.again.weight) + self.beside(images)
        x = F.conv2d(x, self.again.weight)
        return F.linear(x.mean((2, 3)), self.weight)


def test_functions_count_by_their_weights() -> None:
    assert longest_path(Functional()) == 2


def test_one_layer_is_infinitely_simple_and_none_is_refused() -> None:
    assert simplicity(nn.Linear(3, 3)) == float("inf")
    with pytest.raises(ValueError, match="ReLU has no convolution or fully connected layer"):
        simplicity(nn.ReLU())


class Deciding(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


def test_a_network_that_decides_by_values_is_refused() -> None:
    with pytest.raises(ValueError, match="Deciding, because torch.fx cannot trace"):
        longest_path(Deciding())
