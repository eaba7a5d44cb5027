"""Networks that others trained: from wherever they are, checked, for the classes that are asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.imported import ImportedNetwork
from regularized_training.networks.reading import read_classes, read_imported, sources_in
from regularized_training.networks.saved import network_to_bytes
from regularized_training.trained_network import on_cpu
from tests.stored_graphs import tiny_graph, write_graph

CLASSES = tuple(f"class {n}" for n in range(10))
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
MOBILENET = "torchvision:mobilenet_v3_small"


def plain_net(n_channels: int, n_classes: int, *, size: int = 8) -> nn.Module:
    """Somebody's network, which normalises nothing."""
    return nn.Sequential(nn.Flatten(), nn.Linear(n_channels * size**2, n_classes))


def answers(network: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.inference_mode():
        return network(images)


def imported(source: Path | str, **settings: Any) -> ImportedNetwork:
    return read_imported(str(source), **{"classes": CLASSES, **settings})


def saved(network: nn.Module, file: Path) -> Path:
    safetensors.torch.save_file(on_cpu(network.state_dict()), file)
    return file


def test_classes_are_found_by_name_and_other_outputs_passed_over(tmp_path: Path) -> None:
    network = imported(write_graph(tmp_path))
    whole = answers(network.for_task(CLASSES, (3, 32, 32), "all"))
    chosen = ("class 7", "class 2", "class 5")
    some = network.for_task(chosen, (3, 32, 32), "some")
    torch.testing.assert_close(answers(some), whole[:, [7, 2, 5]])
    with pytest.raises(ValueError, match="'x': 1 of its 2 classes, such as 'cat', are none of"):
        network.for_task(("class 1", "cat"), (3, 32, 32), "x")
    twice = imported(write_graph(tmp_path), classes=("class 1", *CLASSES[1:]))
    with pytest.raises(ValueError, match="its class 'class 1' is 2 of the network's outputs"):
        twice.for_task(CLASSES[1:], (3, 32, 32), "x")


@pytest.mark.parametrize("architecture", ["resnet18", "vgg19_bn", "cornet_z"])
def test_weights_of_an_architecture_answer_as_they_did(tmp_path: Path, architecture: str) -> None:
    given: dict[str, Any] = {"architecture": architecture, "width": 8}
    if architecture == "resnet18":  # as somebody else has normalised
        given |= {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    trained = build_network(NetworkConfig(**given), 3, 10, seed=3).eval()
    network = imported(saved(trained, tmp_path / "w.safetensors"), **given)
    assert network.n_channels == 3
    torch.testing.assert_close(
        answers(network.for_task(CLASSES[::-1], (3, 32, 32), "x")), answers(trained).flip(1)
    )


def test_grey_weights_and_networks_of_modules_are_known_by_their_shapes(tmp_path: Path) -> None:
    grey = build_network(NetworkConfig(width=4), 1, 10, seed=3)
    network = imported(saved(grey, tmp_path / "w.pt.safetensors"), architecture="resnet18", width=4)
    assert network.n_channels == 1
    torch.save({"state_dict": plain_net(3, 10, size=28).state_dict()}, tmp_path / "plain.pth")
    plain = imported(
        tmp_path / "plain.pth", architecture=f"{__name__}:plain_net", options={"size": 28}
    )
    assert plain.image_size == 28  # the first usual size that it can take


def test_what_was_exported_comes_back_with_its_settings(tmp_path: Path) -> None:
    config = NetworkConfig(width=4, low_pass=0.5)
    trained = build_network(config, 3, 10, seed=3).eval()
    file = tmp_path / "mine.safetensors"
    file.write_bytes(network_to_bytes(on_cpu(trained.state_dict()), config, 3, 10))
    network = imported(file)
    assert network.config == config
    torch.testing.assert_close(
        answers(network.for_task(CLASSES, (3, 32, 32), "x")), answers(trained)
    )


def test_published_weights_bring_their_preprocessing_and_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = build_network(NetworkConfig(architecture=MOBILENET), 3, 1000, seed=5)
    inner = given.get_submodule("network")
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: inner.state_dict()
    )
    network = read_imported(MOBILENET)
    assert network.classes[:2] == ("tench", "goldfish")
    assert network.config.mean == (0.485, 0.456, 0.406)
    assert network.config.weights == ""  # nothing is downloaded once more
    assert network.image_size == 224
    found = answers(network.for_task(("goldfish", "tench"), (3, 64, 64), "fish"))
    torch.testing.assert_close(found, answers(given.eval())[:, [1, 0]])
    grey = network.for_task(("goldfish", "tench"), (1, 64, 64), "grey fish")
    assert answers(grey, IMAGES[:, :1]).shape == (3, 2)


def test_a_library_network_takes_weights_of_a_file(tmp_path: Path) -> None:
    given = build_network(NetworkConfig(architecture=MOBILENET), 3, 10, seed=5).eval()
    file = saved(given.get_submodule("network"), tmp_path / "w.safetensors")
    network = imported(MOBILENET, weights=str(file))
    torch.testing.assert_close(answers(network.for_task(CLASSES, (3, 32, 32), "x")), answers(given))
    with pytest.raises(ValueError, match="what the outputs of .*small mean is not known"):
        read_imported(MOBILENET, weights=str(file))


def test_the_digest_is_of_what_it_answers(tmp_path: Path) -> None:
    network = imported(write_graph(tmp_path))
    graph, tensors = tiny_graph()
    assert imported(write_graph(tmp_path, "again")).digest == network.digest
    assert imported(write_graph(tmp_path), classes=CLASSES[::-1]).digest != network.digest
    tensors["last.b"] = tensors["last.b"] + 1
    assert imported(write_graph(tmp_path, "b", graph, tensors)).digest != network.digest


def without(name: str) -> Callable[[dict[str, Any], dict[str, Tensor]], None]:
    def change(graph: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    return change


def with_tensor(name: str, value: Tensor) -> Callable[[dict[str, Any], dict[str, Tensor]], None]:
    return lambda graph, tensors: tensors.update({name: value})


def with_node(number: int, **change: Any) -> Callable[[dict[str, Any], dict[str, Tensor]], None]:
    return lambda graph, tensors: graph["nodes"][number].update(change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("two.w"), "tensor 'two.w' of the operation conv 'd': not in tiny.safetensors"),
        (with_node(2, op="gelu"), "operation 'gelu' of 'c', expected relu, sigmoid"),
        (with_node(2, **{"in": ["z"]}), "no node before it has the input 'z'"),
        (with_node(0, pad=None), "tiny.json: "),
        (lambda g, t: g.pop("nodes"), "expected an object with preprocess and nodes"),
        (lambda g, t: g["nodes"][1].pop("eps"), "lacks 'eps'"),
        (with_tensor("two.b", torch.zeros(5)), r"conv2.bias is \(5,\), expected \(4,\)"),
        (with_tensor("bn.m", torch.zeros(3)), r"bn1.running_mean is \(3,\), expected \(4,\)"),
        (with_tensor("last.w", torch.zeros(10, 6)), "cannot take images of 3 x 32 x 32"),
        (with_tensor("last.w", torch.zeros(9, 4)), r"linear1.bias is \(10,\), expected \(9,\)"),
        (with_tensor("one.b", torch.full((4,), torch.nan)), "conv1.bias are not all finite"),
        (with_tensor("two.w", torch.zeros(4, 2, 3)), "'two.w' .*: 3 dimensions, expected 4"),
        (with_tensor("two.w", torch.zeros(4, 2, 3, 3).int()), "'two.wzp' is missing"),
    ],
)
def test_a_damaged_graph_is_refused_by_what_is_wrong(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], Any], message: str
) -> None:
    graph, tensors = tiny_graph()
    change(graph, tensors)
    with pytest.raises(ValueError, match=message):
        imported(write_graph(tmp_path, graph=graph, tensors=tensors))


def test_other_files_and_settings_are_refused(tmp_path: Path) -> None:
    graph = write_graph(tmp_path)
    with pytest.raises(ValueError, match="9 names, but the network has 10 .*name the background"):
        imported(graph, classes=CLASSES[1:])
    with pytest.raises(ValueError, match="width: given, but .* is a graph, which says it all"):
        imported(graph, width=4)
    graph.with_suffix(".safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(ValueError, match="tiny.safetensors: cannot be read as torch's weights"):
        imported(graph)
    graph.with_suffix(".safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected the tensors \(.safetensors\) of tiny"):
        imported(graph)
    weights = saved(
        build_network(NetworkConfig(width=4), 3, 10, seed=3), tmp_path / "w.safetensors"
    )
    with pytest.raises(ValueError, match="weights alone; say of which architecture"):
        imported(weights)
    with pytest.raises(ValueError, match="do not fit resnet18 with 10 outputs: .*width"):
        imported(weights, architecture="resnet18", width=8)
    with pytest.raises(ValueError, match=r"of cornet_z missing, which give the classes"):
        imported(weights, architecture="cornet_z")
    with pytest.raises(ValueError, match="network 'resnet19': no part of this name"):
        imported(weights, architecture="resnet19")
    with pytest.raises(ValueError, match="mean, std: 3 and 0 numbers"):
        imported(weights, architecture="resnet18", width=4, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="notes.txt: expected torchvision:NAME, timm:NAME"):
        imported(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="no network; expected graphs"):
        sources_in(str(tmp_path))


def test_images_that_it_cannot_take_are_refused(tmp_path: Path) -> None:
    network = imported(write_graph(tmp_path))
    with pytest.raises(ValueError, match="'x': grey images, but the network takes colour ones"):
        network.for_task(CLASSES, (1, 32, 32), "x")
    torch.save(plain_net(3, 10).state_dict(), tmp_path / "plain.pth")
    plain = imported(tmp_path / "plain.pth", architecture=f"{__name__}:plain_net", image_size=8)
    with pytest.raises(ValueError, match="cannot take images of 3 x 32 x 32.*with --size 8"):
        plain.for_task(CLASSES, (3, 32, 32), "x")


def test_classes_are_lines_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("background\ntench, Tinca tinca\n")
    assert read_classes(tmp_path / "c.txt") == ("background", "tench, Tinca tinca")
    (tmp_path / "c.json").write_text(json.dumps(["a", "b"]))
    assert read_classes(tmp_path / "c.json") == ("a", "b")
    (tmp_path / "c.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match="expected a list of names"):
        read_classes(tmp_path / "c.json")
    with pytest.raises(FileNotFoundError, match="expected names of classes"):
        read_classes(tmp_path / "gone.txt")
