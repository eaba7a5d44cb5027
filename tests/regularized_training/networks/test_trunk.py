"""A network up to one of its layers."""

from __future__ import annotations

import pytest
import torch

from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerError
from regularized_training.networks.registry import SIMILARITY_LAYERS
from regularized_training.networks.trunk import Trunk


@pytest.mark.parametrize("architecture", [*SIMILARITY_LAYERS, "torchvision:mobilenet_v3_small"])
def test_the_shape_of_features_is_known_for_images_of_any_size(architecture: str) -> None:
    width = {} if ":" in architecture else {"width": 2}
    network = build_network(NetworkConfig(architecture=architecture, **width), 1, 10, seed=0)
    layer = SIMILARITY_LAYERS.get(architecture, ("features.1", "features.3"))[1]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trunk = Trunk(network, layer)
    for size in ((1, 32, 32), (1, 36, 64)):
        assert trunk(torch.rand(2, *size)).shape[1:] == trunk.shape(size)
    network.load_state_dict(before)
    trunk.shape((1, 32, 32))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert network.training


def test_a_part_that_rests_in_evaluation_mode_still_does_afterwards() -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    network.get_submodule("stem").eval()
    Trunk(network, "stage1").shape((1, 16, 16))
    assert not network.get_submodule("stem.1").training
    assert network.get_submodule("stage1").training


def test_what_comes_after_the_trunk_does_not_run_and_learns_nothing() -> None:
    network = build_network(NetworkConfig(architecture="vgg19_bn", width=2), 1, 10, seed=0)
    Trunk(network, "features.16")(torch.rand(2, 1, 64, 64)).sum().backward()
    learning = {name for name, p in network.named_parameters() if p.grad is not None}
    convolutions = [f"features.{i}" for i in (0, 1, 3, 4, 7, 8, 10, 11, 14, 15)]
    assert learning == {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}


def test_a_layer_that_is_not_there_is_refused_with_those_there_are() -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    with pytest.raises(LayerError, match=r"layers: layer3 are not among .*stem\.0.*stage4"):
        Trunk(network, "layer3")


def test_features_without_places_are_no_trunk() -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    with pytest.raises(LayerError, match=r"'classifier' has features of shape \(10,\), expected"):
        Trunk(network, "classifier").shape((1, 16, 16))
