from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn

from predictive_model.parts import PartError
from regularized_training.networks.architectures import build_network, load_network
from regularized_training.networks.calls import require_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig, file_digest
from regularized_training.networks.layer_reader import LayerError, LayerReader, readable_layers
from regularized_training.networks.registry import find_network
from tests.installed_package import installed_package

CODE = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, n_channels, n_classes, *, width=64, depth=2):
        super().__init__()
        self.first = nn.Conv2d(n_channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)))
        self.classes = nn.Linear(width, n_classes)

    def forward(self, images):
        x = self.blocks(F.relu(self.first(images - 0.5)))
        return self.classes(x.mean((2, 3)))


class Named(Net):
    similarity_layers = ("first", "relu", "blocks")


class OneWidth(nn.Sequential):
    def __init__(self, n_channels, n_classes):
        super().__init__(nn.Flatten(), nn.LazyLinear(n_classes))


class Branching(Net):
    def forward(self, images):
        return super().forward(images if images.mean() > 0 else -images)


def declared(n_channels, n_classes, width):
    return Net(n_channels, n_classes, width=width)


declared.similarity_layers = ["blocks.0", "blocks.1"]


def nothing(n_channels, n_classes):
    return "a network"


def measured(n_channels, n_classes, *, depth=2):
    network = Net(n_channels, n_classes, width=4, depth=depth)
    network.scale = network.first.weight.detach().numpy().std()
    return network


def passes_on(n_channels, n_classes, **options):
    return measured(n_channels, n_classes, **options)
"""
OFFERS = {"neuroteach.networks": "mylab_net = mylab_nets:Net"}
RESNET = "torchvision:resnet18"


@pytest.fixture(autouse=True)
def mylab(tmp_path: Path) -> Iterator[None]:
    with installed_package(tmp_path, "mylab_nets", CODE, OFFERS):
        yield


def of(architecture: str, **settings: object) -> NetworkConfig:
    return NetworkConfig.model_validate({"architecture": architecture, **settings})


# -- other people's builders ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["mylab_net", "mylab_nets:Net"])
def test_a_network_of_another_package_is_built_with_its_width_and_options(name: str) -> None:
    network = build_network(of(name, width=6, options={"depth": 3}), 1, 7, seed=0)
    assert network.get_submodule("first").weight.shape == (6, 1, 3, 3)  # type: ignore[union-attr]
    assert len(network.get_submodule("blocks")) == 3  # type: ignore[arg-type]
    assert network(torch.rand(2, 1, 9, 9)).shape == (2, 7)
    assert find_network(name).origin.distribution == "mylab-nets"


def test_the_seed_decides_the_weights_of_anyones_network() -> None:
    a, b, c = (build_network(of("mylab_net", width=4), 3, 5, s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["first.weight"], c["first.weight"])


def test_a_trained_network_of_another_package_is_loaded_as_it_was() -> None:
    config = of("mylab_net", width=4)
    network = build_network(config, 3, 5, seed=1).eval()
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(load_network(config, 3, 5, network.state_dict())(images), network(images))


def test_layers_that_are_declared_are_compared_and_no_others() -> None:
    assert compared_layers("mylab_nets:declared") == ("blocks.0", "blocks.1")
    assert compared_layers("mylab_nets:Named") == ("first", "relu", "blocks")
    assert compared_layers("mylab_nets:Named", ("blocks", "first")) == ("first", "blocks")
    with pytest.raises(ValueError, match="layers: classes are not among those of mylab_nets:Named"):
        compared_layers("mylab_nets:Named", ("classes",))


def test_without_a_declaration_stages_are_compared_and_any_layer_may_be() -> None:
    config = of("mylab_net", width=4, options={"depth": 3})
    assert compared_layers(config) == ("blocks",)
    assert compared_layers(config, ("blocks.2", "relu")) == ("blocks.2", "relu")
    built = build_network(config, 1, 10, seed=0)
    assert readable_layers(built) == (
        "sub", "first", "relu", "blocks.0", "blocks.1", "blocks.2", "mean", "classes",
    )  # fmt: skip
    with pytest.raises(LayerError, match="layers: blocks.3 are not among .*: .*first, relu, bloc"):
        compared_layers(config, ("blocks.3",), built=built)


def test_features_come_in_the_order_in_which_layers_are_named() -> None:
    network = build_network(of("mylab_net", width=4), 1, 10, seed=0).eval()
    images = torch.rand(2, 1, 8, 8)
    forth, back = (
        LayerReader(network, names) for names in (("first", "blocks"), ("blocks", "first"))
    )
    for a, b in zip(forth(images), reversed(back(images)), strict=True):
        assert torch.equal(a, b)


def test_a_network_that_cannot_be_traced_says_so_where_its_layers_are_read() -> None:
    network = build_network(of("mylab_nets:Branching", width=4), 1, 10, seed=0)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    for read in (
        lambda: LayerReader(network, ("blocks",)),
        lambda: compared_layers("mylab_nets:Branching"),
    ):
        with pytest.raises(LayerError, match="of Branching, because torch.fx cannot trace"):
            read()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"architecture": "mylab_nte"}, PartError, "no part of this name is installed"),
        ({"architecture": "mylab_nets:Net", "options": {"deep": 3}}, ValueError, "options: .*deep"),
        ({"architecture": "mylab_nets:OneWidth", "width": 8}, ValueError, "one width only"),
        ({"architecture": "mylab_nets:nothing"}, PartError, "built a str, expected a torch.nn.Mod"),
        ({"architecture": "mylab_nets:OFF"}, PartError, "module mylab_nets has no OFF"),
        ({"architecture": "mylab_nets:__name__"}, PartError, "is a str, expected a function that"),
        ({"architecture": "resnet18", "options": {"blocks": 3}}, ValueError, "options: .*blocks"),
        ({"architecture": "torchvision:resnet19"}, PartError, "expected .*resnet18"),
        ({"architecture": RESNET, "options": {"deep": 3}}, ValueError, "options: .*deep.*resnet18"),
        ({"architecture": "mylab_net", "activation": "elu"}, ValueError, "no torch.nn.ReLU to rep"),
        (
            {"architecture": "torchvision.models:resnet18"},
            PartError,
            r"^network 'torchvision.models:resnet18': building failed \(TypeError: .*n_channels'\)"
            "; expected a function of n_channels and n_classes",
        ),
        (
            {"architecture": "mylab_nets:passes_on", "options": {"deep": 3}},
            PartError,
            "^network 'mylab_nets:passes_on': building failed .*TypeError.* 'deep'",
        ),
    ],
)
def test_networks_that_cannot_be_built_say_why(
    settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_network(NetworkConfig.model_validate(settings), 3, 10, seed=0)


def test_layers_are_known_of_a_builder_that_looks_at_values_in_any_way() -> None:
    """Without memory for them, there are none to look at."""
    assert compared_layers("mylab_nets:measured") == ("blocks",)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_options_of_a_library_cannot_contradict_the_task(library: str) -> None:
    pytest.importorskip(library, reason="timm is in the extra `networks`")
    message = f"options: num_classes of network '{library}:resnet18' follow from .*leave them out"
    with pytest.raises(ValueError, match=message):
        build_network(of(f"{library}:resnet18", options={"num_classes": 7}), 3, 10, seed=0)


CANNOT_BE_BUILT = [
    ({"architecture": "resnet81"}, "no part of this name is installed"),
    ({"architecture": "resnet18", "options": {"depth": 3}}, "options: .*depth"),
    ({"architecture": "mylab_net", "options": {"deep": 3}}, "options: .*deep"),
    ({"architecture": "mylab_nets:OneWidth", "width": 8}, "one width only"),
    ({"architecture": "torchvision:resnet81"}, "expected .*resnet18"),
    ({"architecture": RESNET, "options": {"deep": 3}}, "options: .*deep.*resnet18"),
    ({"architecture": RESNET, "weights": "V3"}, "no weights 'V3', expected default, IMAGENET1K_V1"),
]


@pytest.mark.parametrize(("settings", "message"), CANNOT_BE_BUILT)
def test_what_cannot_be_built_is_known_without_its_images(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        require_network(NetworkConfig.model_validate(settings))


@pytest.mark.parametrize("settings", [
    {}, {"architecture": "vgg16", "width": 8}, {"architecture": "mylab_net", "width": 8},
    {"architecture": "mylab_nets:Branching", "options": {"depth": 3}}, {"architecture": RESNET},
])  # fmt: skip
def test_what_can_be_built_is_not_refused(settings: dict[str, object]) -> None:
    require_network(NetworkConfig.model_validate(settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "torchvision:"}, "expected one of resnet18"),
        ({"architecture": "timm:a b"}, "expected one of resnet18"),
        ({"weights": "default"}, r"expected a file that ends in .safetensors, .pth, .pt for"),
        ({"weights": "gone.pth"}, "gone.pth: cannot be read"),
        ({"architecture": RESNET, "weights": "a b"}, "or a name for the architecture"),
        ({"architecture": RESNET, "weights": "default", "initialisation": "glorot"}, "leave one"),
        ({"weights_digest": "0" * 16}, "weights names no file"),
        ({"options": {"width": 3}}, "options: width are not among"),
    ],
)
def test_settings_that_no_network_can_have_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        NetworkConfig.model_validate(settings)


# -- torchvision and timm ------------------------------------------------------------------


def test_a_network_of_torchvision_normalises_and_repeats_grey_images() -> None:
    network = build_network(of(RESNET), 1, 10, seed=0).eval()
    images = torch.rand(2, 1, 32, 32)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    expected = network.get_submodule("network")((images.repeat(1, 3, 1, 1) - mean) / std)
    torch.testing.assert_close(network(images), expected)
    assert expected.shape == (2, 10)
    assert find_network(RESNET).origin.distribution == "torchvision"


def test_layers_of_torchvision_have_the_names_they_have_there() -> None:
    config = of(RESNET)
    layers = ("layer1", "layer2", "layer3", "layer4")
    assert compared_layers(config) == layers
    network = build_network(config, 1, 10, seed=0).eval()
    read = LayerReader(network, layers)
    images = torch.rand(2, 1, 32, 32)
    seen: dict[str, torch.Tensor] = {}
    for layer in layers:
        network.get_submodule(f"network.{layer}").register_forward_hook(
            lambda _, __, out, layer=layer: seen.__setitem__(layer, out.clone())
        )
    network(images)
    for layer, feature in zip(layers, read(images), strict=True):
        torch.testing.assert_close(feature, seen[layer])


@pytest.mark.parametrize(
    ("name", "layers"),
    [("vgg11", ("features",)), ("densenet121", tuple(
        f"features.{part}" for i in (1, 2, 3) for part in (f"denseblock{i}", f"transition{i}")
    ) + ("features.denseblock4",))],
)  # fmt: skip
def test_stages_are_found_where_all_of_them_are_in_one_module(
    name: str, layers: tuple[str, ...]
) -> None:
    assert compared_layers(f"torchvision:{name}") == layers


def test_a_network_of_timm_takes_grey_images_and_names_its_layers() -> None:
    pytest.importorskip("timm", reason="timm is in the extra `networks`")
    config = of("timm:resnet18", options={"drop_rate": 0.1})
    network = build_network(config, 1, 10, seed=0).eval()
    assert network.get_submodule("network.conv1").weight.shape[1] == 1  # type: ignore[union-attr]
    layers = compared_layers(config)
    assert layers == ("layer1", "layer2", "layer3", "layer4")
    images = torch.rand(2, 1, 32, 32)
    assert [f.shape[1] for f in LayerReader(network, layers)(images)] == [64, 128, 256, 512]
    assert network(images).shape == (2, 10)
    assert find_network("timm:resnet18").origin.distribution == "timm"
    with pytest.raises(PartError, match="'timm:resnet118': .*expected .*resnet18"):
        find_network("timm:resnet118")
    with pytest.raises(
        PartError, match="'timm:resnet18': has no weights 'foo', expected .*tv_in1k"
    ):
        build_network(of("timm:resnet18", weights="foo"), 3, 10, seed=0)
    with pytest.raises(PartError, match="names its weights already"):
        build_network(of("timm:resnet18.a1_in1k", weights="tv_in1k"), 3, 10, seed=0)


def test_without_timm_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(PartError, match=r"timm cannot be imported .*'neuroteach\[networks\]'"):
        build_network(of("timm:resnet18"), 3, 10, seed=0)


# -- weights -------------------------------------------------------------------------------


def saved(network: nn.Module, file: Path) -> Path:
    if file.suffix == ".safetensors":
        safetensors.torch.save_file(
            {name: value.contiguous() for name, value in network.state_dict().items()}, file
        )
    else:
        torch.save(network.state_dict(), file)
    return file


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_training_starts_from_the_weights_of_a_file(tmp_path: Path, ending: str) -> None:
    given = build_network(NetworkConfig(width=4), 3, 10, seed=5)
    file = saved(given, tmp_path / f"weights{ending}")
    config = NetworkConfig(width=4, weights=str(file))
    assert config.weights_digest == file_digest(file)
    assert config.described()["weights_digest"] == file_digest(file)
    assert config.needs() == "0.2.0"
    started = build_network(config, 3, 10, seed=0).state_dict()
    assert all(torch.equal(value, started[name]) for name, value in given.state_dict().items())


def test_weights_for_other_classes_leave_the_last_layer_random(tmp_path: Path) -> None:
    given = build_network(NetworkConfig(width=4), 3, 10, seed=5).state_dict()
    file = saved(build_network(NetworkConfig(width=4), 3, 10, seed=5), tmp_path / "w.pth")
    config = NetworkConfig(width=4, weights=str(file))
    started = build_network(config, 3, 7, seed=3).state_dict()
    random = build_network(NetworkConfig(width=4), 3, 7, seed=3).state_dict()
    assert torch.equal(started["stage4.1.conv2.weight"], given["stage4.1.conv2.weight"])
    assert torch.equal(started["classifier.weight"], random["classifier.weight"])


def test_weights_for_colour_see_grey_as_three_equal_channels(tmp_path: Path) -> None:
    colour = build_network(of("mylab_net", width=4), 3, 10, seed=5).eval()
    file = saved(colour, tmp_path / "w.pth")
    grey = build_network(of("mylab_net", width=4, weights=str(file)), 1, 10, seed=0).eval()
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(grey(images), colour(images.repeat(1, 3, 1, 1)))


def test_checkpoints_of_others_hold_weights_in_them(tmp_path: Path) -> None:
    given = build_network(of("mylab_net", width=4), 3, 10, seed=5).state_dict()
    within = {"epoch": 3, "state_dict": {f"module.{name}": v for name, v in given.items()}}
    torch.save(within, tmp_path / "w.pth")
    config = of("mylab_net", width=4, weights=str(tmp_path / "w.pth"))
    assert torch.equal(
        build_network(config, 3, 10, seed=0).state_dict()["first.weight"], given["first.weight"]
    )


def test_weights_that_are_missing_replaced_or_anothers_are_refused(tmp_path: Path) -> None:
    file = saved(build_network(NetworkConfig(width=4), 3, 10, seed=5), tmp_path / "w.pth")
    config = NetworkConfig(width=4, weights=str(file))
    with pytest.raises(ValueError, match=r"w\.pth: do not fit the network"):
        build_network(of("mylab_net", weights=str(file)), 3, 10, seed=0)
    saved(build_network(NetworkConfig(width=4), 3, 10, seed=6), file)
    with pytest.raises(ValueError, match="it was replaced since the network was described"):
        build_network(config, 3, 10, seed=0)
    file.unlink()
    again = NetworkConfig.model_validate(config.model_dump())  # of a row, on another machine
    with pytest.raises(FileNotFoundError, match=f"digest {config.weights_digest} there"):
        build_network(again, 3, 10, seed=0)
    trained = build_network(NetworkConfig(width=4), 3, 10, seed=1).state_dict()
    load_network(again, 3, 10, trained)  # what was trained needs them no more


def test_published_weights_are_downloaded_once_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given = build_network(of(RESNET), 3, 1000, seed=5).get_submodule("network").state_dict()
    asked = []

    def download(url: str, **_: object) -> dict[str, torch.Tensor]:
        asked.append(url.rpartition("/")[2])
        return given

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    config = of(RESNET, weights="default")
    started = build_network(config, 1, 10, seed=0)
    assert asked == ["resnet18-f37072fd.pth"]
    assert torch.equal(started.state_dict()["network.conv1.weight"], given["conv1.weight"])
    assert started.state_dict()["network.fc.weight"].shape == (10, 512)
    load_network(config, 1, 10, started.state_dict())
    assert len(asked) == 1
    with pytest.raises(PartError, match="no weights 'V3', expected default, IMAGENET1K_V1"):
        build_network(of(RESNET, weights="V3"), 1, 10, seed=0)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_published_weights_see_images_on_the_scale_that_they_were_trained_with(name: str) -> None:
    """Of these two networks it is [-1, 1], whatever their published mean and deviation say."""
    options = {"aux_logits": False, "init_weights": False}
    config = of(f"torchvision:{name}", weights="default", options=options)
    network = load_network(config, 3, 10, build_network_without_weights(config))
    seen: list[torch.Tensor] = []
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(1, 3, 96, 96)
    network(images)
    torch.testing.assert_close(seen[0], 2 * images - 1)
    as_given = of(
        f"torchvision:{name}", weights="default", options=options | {"transform_input": False}
    )
    assert not load_network(as_given, 3, 10, network.state_dict()).network.transform_input  # type: ignore[union-attr]


def build_network_without_weights(config: NetworkConfig) -> dict[str, torch.Tensor]:
    plain = config.model_copy(update={"weights": ""})
    return dict(build_network(plain, 3, 10, seed=0).state_dict())


def test_where_weights_cannot_be_downloaded_it_is_said_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(OSError, match="no route to host.*checkpoints; the file is .*resnet18-f"):
        build_network(of(RESNET, weights="IMAGENET1K_V1"), 3, 10, seed=0)
