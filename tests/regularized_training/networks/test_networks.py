from __future__ import annotations

import pytest
import torch
from pydantic import JsonValue, ValidationError
from scipy.ndimage import gaussian_filter
from torch import nn

from regularized_training.networks.architectures import (
    build_network,
    compared_layers,
    load_network,
)
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.networks.normalisation import Normalise
from regularized_training.networks.registry import SIMILARITY_LAYERS

SMALL = NetworkConfig(width=4)
LAYERS = compared_layers("resnet18")


@pytest.mark.parametrize("architecture", ["resnet18", "vgg19_bn", "cornet_z"])
def test_a_low_pass_network_sees_blurred_images(architecture: str) -> None:
    """By SciPy's Gaussian, up to where it ends; its layers and weights are the same."""
    sharp = NetworkConfig(architecture=architecture, width=8)
    config = sharp.model_copy(update={"low_pass": 1.3})
    networks = [build_network(one, 3, 10, seed=0).eval() for one in (sharp, config)]
    assert networks[0].state_dict().keys() == networks[1].state_dict().keys()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    blurred = torch.from_numpy(
        gaussian_filter(images.numpy(), (0, 0, 1.3, 1.3), mode="nearest", truncate=4 / 1.3)
    )
    with torch.no_grad():
        torch.testing.assert_close(networks[1](images), networks[0](blurred), rtol=1e-3, atol=1e-4)
    layer = compared_layers(architecture)[0]
    (seen,) = LayerReader(networks[1], (layer,))(images)
    (expected,) = LayerReader(networks[0], (layer,))(blurred)
    torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-4)


def test_what_does_not_normalise_cannot_be_blurred() -> None:
    config = NetworkConfig(architecture=f"{__name__}:plain_network", low_pass=1)
    with pytest.raises(ValueError, match="low_pass: 1, but .*plain_network does not begin with"):
        build_network(config, 1, 10, seed=0)


def plain_network(n_channels: int, n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_channels * 256, n_classes))


@pytest.mark.parametrize(
    ("architecture", "n_parameters"), [("resnet18", 11_173_962), ("resnet34", 21_282_122)]
)
def test_a_resnet_for_small_images_has_its_published_number_of_parameters(
    architecture: str, n_parameters: int
) -> None:
    # https://github.com/kuangliu/pytorch-cifar prints the same for colour CIFAR-10.
    config = NetworkConfig(architecture=architecture)
    with torch.device("meta"):  # without memory for them
        network = build_network(config, n_channels=3, n_classes=10, seed=0)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


@pytest.mark.parametrize(
    ("architecture", "n_classes", "n_parameters"),
    [
        # https://github.com/dicarlolab/CORnet: conv 7 x 7, three of 3 x 3, linear of 512.
        ("cornet_z", 1000, 9_472 + 73_856 + 295_168 + 1_180_160 + 513_000),
        # The same convolutions, then 2,048 to 4,096 to 4,096 units.
        (
            "cornet_z_dense",
            100,
            9_472 + 73_856 + 295_168 + 1_180_160 + 8_392_704 + 16_781_312 + 409_700,
        ),
        # torchvision's features, then 512 to 4,096 to 4,096 units.
        ("vgg16", 100, 14_714_688 + 2_101_248 + 16_781_312 + 409_700),
        # torchvision's features with batch normalisation, then 1 x 1 convolutions of as many units.
        ("vgg19_bn", 200, 20_035_392 + 2_101_248 + 16_781_312 + 819_400),
    ],
)
def test_other_networks_have_the_parameters_of_their_layers(
    architecture: str, n_classes: int, n_parameters: int
) -> None:
    config = NetworkConfig(architecture=architecture)
    with torch.device("meta"):
        network = build_network(config, n_channels=3, n_classes=n_classes, seed=0)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def test_areas_of_cornet_halve_the_image_as_published() -> None:
    network = build_network(NetworkConfig(architecture="cornet_z", width=4), 3, 10, seed=0)
    features = LayerReader(network, compared_layers("cornet_z"))(torch.rand(1, 3, 224, 224))
    assert [f.shape[2] for f in features] == [56, 28, 14, 7]


def test_the_third_convolution_of_vgg_is_features_6() -> None:
    network = build_network(NetworkConfig(architecture="vgg16", width=4), 3, 10, seed=0)
    convolutions = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    assert convolutions[2] == "features.5"
    assert isinstance(network.get_submodule("features.6"), nn.ReLU)


def test_every_nonlinearity_of_vgg19_is_compared_and_the_shared_trunk_ends_after_conv3_1() -> None:
    network = build_network(NetworkConfig(architecture="vgg19_bn", width=4), 1, 10, seed=0)
    features = network.get_submodule("features")
    rectified = [f"features.{n}" for n, m in features.named_children() if isinstance(m, nn.ReLU)]
    assert compared_layers("vgg19_bn") == tuple(rectified)
    trunk = list(features.children())[:17]
    kinds = [type(m) for m in trunk]
    assert kinds[-3:] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    # conv3-1: the first after the second of five halvings.
    assert kinds.count(nn.MaxPool2d) == 2 and kinds.count(nn.Conv2d) == 5
    [shared] = LayerReader(network, ("features.16",))(torch.rand(2, 1, 64, 64))
    assert shared.shape == (2, 16, 16, 16)


def test_a_class_of_vgg19_has_the_logit_of_the_place_that_speaks_most_for_it() -> None:
    config = NetworkConfig(architecture="vgg19_bn", width=4)
    network = build_network(config, 1, 10, seed=0).eval()
    places: list[torch.Tensor] = []
    network.get_submodule("classifier").register_forward_hook(lambda _, __, out: places.append(out))
    logits = network(torch.rand(2, 1, 64, 64))
    assert places[0].shape == (2, 10, 2, 2)
    assert torch.equal(logits, places[0].flatten(2).max(2).values)


@pytest.mark.parametrize("architecture", SIMILARITY_LAYERS)
def test_elu_and_glorot_replace_nonlinearities_and_weights(architecture: str) -> None:
    config = NetworkConfig(
        architecture=architecture, width=4, activation="elu", initialisation="glorot"
    )
    network = build_network(config, 3, 10, seed=0)
    kinds = {type(m) for m in network.modules()}
    assert nn.ELU in kinds
    assert nn.ReLU not in kinds
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.8 * bound < module.weight.abs().max() <= bound
            assert module.bias is None or not module.bias.any()
    assert torch.isfinite(network(torch.rand(2, 3, 32, 32))).all()


@pytest.mark.parametrize(
    ("architecture", "convolutions"),
    [("resnet18", [1, 5, 9, 13, 17]), ("resnet34", [1, 7, 15, 27, 33])],
)
def test_similarity_layers_are_the_stem_and_the_ends_of_stages(
    architecture: str, convolutions: list[int]
) -> None:
    network = build_network(NetworkConfig(architecture=architecture, width=4), 1, 10, seed=0)
    counts, n = [], 0
    for layer in compared_layers(architecture):
        part = network.get_submodule(layer)
        n += sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in part.modules())
        counts.append(n)
    assert counts == convolutions


def test_some_layers_are_compared_from_the_image_on_whatever_their_order() -> None:
    assert compared_layers("resnet34") == ("stem", "stage1", "stage2", "stage3", "stage4")
    assert compared_layers("resnet34", ("stage3", "stem")) == ("stem", "stage3")
    message = "layers: fc, stage5 are not among .*resnet18.*: stem, stage1, stage2, stage3, stage4"
    with pytest.raises(ValueError, match=message):
        compared_layers("resnet18", ("stage5", "stem", "fc"))


@pytest.mark.parametrize("architecture", SIMILARITY_LAYERS)
def test_features_are_those_of_the_whole_network(architecture: str) -> None:
    network = build_network(NetworkConfig(architecture=architecture, width=4), 1, 10, seed=0).eval()
    layers = SIMILARITY_LAYERS[architecture]
    read = LayerReader(network, layers)
    seen: dict[str, torch.Tensor] = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda _, __, out, layer=layer: seen.__setitem__(layer, out.clone())
        )
    images = torch.rand(2, 1, 32, 32)
    network(images)
    for layer, feature in zip(layers, read(images), strict=True):
        torch.testing.assert_close(feature, seen[layer])
        assert (feature >= 0).all()  # after the nonlinearity


@pytest.mark.parametrize("size", [(36, 64), (64, 64), (18, 32)])
def test_stimuli_of_any_size_pass_the_trunk_and_never_the_classifier(size: tuple[int, int]) -> None:
    network = build_network(SMALL, 1, 10, seed=0)

    def refuse(*_: object) -> None:
        raise AssertionError("the classifier saw a stimulus")

    network.get_submodule("classifier").register_forward_hook(refuse)
    features = LayerReader(network, LAYERS)(torch.rand(2, 1, *size))
    height, width = size
    assert features[0].shape == (2, 4, height, width)
    assert features[-1].shape == (2, 32, -(-height // 8), -(-width // 8))


def test_reader_shares_weights_mode_and_type_with_the_network() -> None:
    network = build_network(SMALL, 1, 10, seed=0)
    read = LayerReader(network, LAYERS)
    images = torch.rand(2, 1, 16, 16)
    network.eval().double()
    evaluated = read(images.double())
    assert evaluated[0].dtype == torch.float64
    with torch.no_grad():
        network.get_submodule("stem.0").weight.zero_()  # type: ignore[operator]
    assert not read(images.double())[0].equal(evaluated[0])
    before = network.state_dict()["stem.1.running_mean"].clone()
    read(images.double())
    assert network.state_dict()["stem.1.running_mean"].equal(before)  # evaluation mode


def test_reading_keeps_the_mode() -> None:
    for training in (True, False):
        network = build_network(SMALL, 1, 10, seed=0).train(training)
        LayerReader(network, LAYERS)
        assert all(module.training is training for module in network.modules())


def test_weights_are_decided_by_the_seed_and_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build_network(SMALL, 1, 10, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["stem.0.weight"], c["stem.0.weight"])


def test_grey_of_one_half_is_normalised_to_zero() -> None:
    normalise = build_network(SMALL, 1, 10, seed=0).get_submodule("normalise")
    torch.testing.assert_close(normalise(torch.full((1, 1, 2, 2), 0.5)), torch.zeros(1, 1, 2, 2))
    torch.testing.assert_close(normalise(torch.full((1, 1, 2, 2), 0.7)), torch.ones(1, 1, 2, 2))


def test_pixels_are_standardised_by_the_mean_and_deviation_of_their_set() -> None:
    options = {"mean": 0.4519, "std": 0.2221}  # of grey Tiny ImageNet
    config = NetworkConfig(architecture="vgg19_bn", width=4, options=options)
    normalise = build_network(config, 1, 10, seed=0).get_submodule("normalise")
    pixels = torch.tensor([0.4519, 0.4519 + 0.2221]).view(1, 1, 1, 2)
    torch.testing.assert_close(normalise(pixels), torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))
    three = Normalise(3, mean=[0.1, 0.2, 0.3], std=0.5)(torch.full((1, 3, 1, 1), 0.6))
    torch.testing.assert_close(three.flatten(), torch.tensor([1.0, 0.8, 0.6]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mean": [0.4, 0.5]},
            r"mean: \[0.4, 0.5\], expected one number or 1, one for each",
        ),
        ({"std": 0}, "std: 0, expected more than 0"),
        ({"mean": 115.2}, "mean: 115.2, expected 0 to 1, as pixels are"),
    ],
)
def test_impossible_standardisation_is_refused(options: dict[str, JsonValue], message: str) -> None:
    config = NetworkConfig(architecture="vgg19_bn", width=4, options=options)
    with pytest.raises(ValueError, match=message):
        build_network(config, 1, 10, seed=0)


def test_a_loaded_network_answers_as_the_saved_one() -> None:
    network = build_network(SMALL, 3, 7, seed=1).eval()
    images = torch.rand(2, 3, 32, 32)
    again = load_network(SMALL, 3, 7, network.state_dict())
    assert not again.training
    assert torch.equal(again(images), network(images))
    with pytest.raises(ValueError, match="does not fit resnet18 of width 5"):
        load_network(NetworkConfig(width=5), 3, 7, network.state_dict())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"width": 0}, "width"),
        ({"architecture": "resnet 18"}, "architecture"),
        ({"depth": 3}, "depth"),
    ],
)
def test_impossible_networks_are_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        NetworkConfig.model_validate(fields)


def test_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="n_channels: 2, expected 1 for grey or 3 for colour"):
        build_network(SMALL, 2, 10, seed=0)
