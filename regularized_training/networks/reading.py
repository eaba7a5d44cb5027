"""Networks of others read from wherever they are: libraries, state dicts, graphs in files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from predictive_model.config import what_is_wrong
from predictive_model.tensor_file import metadata_of
from predictive_model.text import read_text
from regularized_training.networks.architectures import outline
from regularized_training.networks.config import WEIGHTS_FILES, NetworkConfig, is_file_name
from regularized_training.networks.graph_files import graphs_in, read_graph
from regularized_training.networks.imported import ImportedNetwork
from regularized_training.networks.libraries import (
    Prepared,
    published_preprocessing,
    published_weights,
)
from regularized_training.networks.registry import library_of
from regularized_training.networks.saved import FORMAT
from regularized_training.networks.weights import state_of

COUNTED = "num_batches_tracked"  # which old files lack, and no answer depends on


def sources_in(source: str) -> list[str]:
    """The networks of a folder of graphs in files; of anything else, itself.

    Raises
    ------
    FileNotFoundError
        If a folder has none.
    """
    folder = Path(source)
    if not folder.is_dir():
        return [source]
    found = [str(file) for file in graphs_in(folder)]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no network; expected graphs NAME.json beside NAME.safetensors"
        )
    return found


def name_of(source: str) -> str:
    """What a network is called if nobody says it: as the file, or as in the library."""
    return source.partition(":")[2] if library_of(source) else Path(source).stem


def read_classes(file: Path) -> tuple[str, ...]:
    """Names of a network's outputs in their order: a JSON list, or a line for each.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected names of classes, one a line")
    text = read_text(file)
    if file.suffix.lower() != ".json":
        return tuple(line.strip() for line in text.splitlines())
    try:
        names = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{file}: not JSON ({error})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{file}: expected a list of names")
    return tuple(names)


def read_imported(
    source: str,
    *,
    classes: Sequence[str] = (),
    weights: str = "",
    image_size: int | None = None,
    **network: Any,
) -> ImportedNetwork:
    """A network that others trained.

    Parameters
    ----------
    source : str
        ``torchvision:NAME`` or ``timm:NAME``; a file of a graph, ``.json`` or ``.safetensors`` with
        the other beside it; a file that ``neuroteach export network`` wrote; or weights alone,
        ``.safetensors``, ``.pth`` or ``.pt``, of an ``architecture``.
    classes : sequence of str
        What the outputs mean, in their order; those that torchvision names by default.
    weights : str
        Of a library's network: the name of published weights, by default ``default``, or a file.
    image_size : int, optional
        Of a side of its images, in pixels.
    **network
        Settings of :class:`~regularized_training.networks.config.NetworkConfig`, as
        ``architecture``, ``width``, ``options``, ``mean`` and ``std``.

    Raises
    ------
    FileNotFoundError, OSError
        If a file is missing, or weights cannot be downloaded.
    ValueError
        If it cannot be read, is not what it was said to be, or nothing says what its outputs mean.
    """
    if library_of(source):
        config = _config(network | {"architecture": source})
        config, state, known, size = _of_library(config, weights)
    else:
        if weights:
            raise ValueError(f"weights: {weights!r}, but {source} is a file of weights itself")
        config, state, size = _of_file(Path(source), network)
        known = ()
    names = tuple(classes) or known
    if not names:
        raise ValueError(
            f"classes: what the outputs of {source} mean is not known; give a file with their "
            "names, or the image set whose classes they are"
        )
    try:
        return ImportedNetwork(config, _complete(config, state), names, image_size or size)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _config(settings: Mapping[str, Any]) -> NetworkConfig:
    try:
        return NetworkConfig.model_validate(dict(settings))
    except ValidationError as error:
        raise ValueError(what_is_wrong(error)) from error


Read = tuple[NetworkConfig, Mapping[str, Any], int | None]


def _of_library(
    config: NetworkConfig, weights: str
) -> tuple[NetworkConfig, Mapping[str, Any], tuple[str, ...], int | None]:
    """A library's network with published weights, or with those of a file."""
    if is_file_name(weights):
        return config, state_of(Path(weights)), (), None
    named = _config(config.model_dump() | {"weights": weights or "default"})
    about = published_preprocessing(named)
    given = {} if config.mean else {"mean": about.mean, "std": about.std}
    options = {"options": about.options | config.options}
    state = published_weights(named, 3)
    # What decides its answers stands in the settings, and nothing in what the library says later.
    return config.model_copy(update=given | options), state, about.classes, about.image_size


def _of_file(file: Path, network: Mapping[str, Any]) -> Read:
    architecture = network.get("architecture")
    if not architecture and (file.suffix == ".json" or file.with_suffix(".json").is_file()):
        if given := [name for name, value in network.items() if value]:
            raise ValueError(f"{', '.join(given)}: given, but {file} is a graph, which says it all")
        graph = read_graph(file)
        return graph.config, graph.state, graph.image_size
    if not is_file_name(str(file)):
        raise ValueError(
            f"{file}: expected torchvision:NAME, timm:NAME, a graph (.json), or weights "
            f"({', '.join(WEIGHTS_FILES)})"
        )
    state = state_of(file)
    if architecture:
        return _config(network), state, None
    about = metadata_of(file.read_bytes(), str(file)) if file.suffix == ".safetensors" else {}
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{file}: weights alone; say of which architecture they are, as resnet18, "
            "torchvision:NAME, timm:NAME or module:function"
        )
    trained = NetworkConfig.model_validate_json(about["network"])
    if trained.weights:  # by which a library's network says how its images are normalised
        raise ValueError(
            f"{file}: trained from the weights {trained.weights!r}; import it with its "
            "architecture, mean and std"
        )
    return trained, state, None


def _complete(config: NetworkConfig, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights by the names of our own network, as float32, with counts that nothing depends on."""
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"weights: {odd[0]!r} is a {type(state[odd[0]]).__name__}, no tensor")
    own = outline(config, len(config.mean) or 3)
    prefix = "network." if isinstance(own, Prepared) else ""
    found = {
        (name if name.startswith(prefix) else prefix + name): (
            value.float() if value.is_floating_point() else value
        ).clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    counts = {n: torch.tensor(0) for n in own.state_dict() if n.endswith(COUNTED)}
    return counts | found
