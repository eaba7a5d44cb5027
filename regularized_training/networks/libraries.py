"""Networks of torchvision and timm, for images in [0, 1] of one channel or three."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from predictive_model.parts import Part, PartError, origin_of, source_file
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.normalisation import CHANNEL_STATISTICS, Normalise

COLOURS = 3


class Prepared(nn.Module):
    """A library's network, with what its images need in front of it.

    Parameters
    ----------
    network : nn.Module
    normalise : Normalise
    repeat : bool
        Whether grey images are repeated for the three channels that the network takes.
    """

    def __init__(self, network: nn.Module, normalise: Normalise, *, repeat: bool) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network
        self.repeat = repeat

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, class), of images (batch, channels, height, width) in [0, 1]."""
        if self.repeat:
            images = images.expand(-1, COLOURS, -1, -1)
        return self.network(self.normalise(images))


def find(architecture: str) -> Part:
    """The builder of a library's network, and the library's version.

    Raises
    ------
    PartError
        If the library is not installed or has no such network.
    """
    library, _, name = architecture.partition(":")
    builder = (_torchvision if library == "torchvision" else _timm)(architecture, name)
    build = _build_torchvision if library == "torchvision" else _build_timm
    return Part(architecture, partial(build, name), origin_of(source_file(builder), library))


def published_weights(config: NetworkConfig, n_channels: int) -> dict[str, Tensor]:
    """Weights that a library's network was published with, downloaded if need be.

    Raises
    ------
    PartError
        If the network was not published with these weights.
    OSError
        If they cannot be downloaded.
    """
    library, _, name = config.architecture.partition(":")
    if library == "torchvision":
        weights = _torchvision_weights(name, config.weights)
        build = partial(torchvision.models.get_model, name, weights=weights, **config.options)
        cached = f"{torch.hub.get_dir()}/checkpoints; the file is {weights.url}"
    else:
        build = partial(
            _import_timm(config.architecture).create_model,
            _timm_name(name, config.weights),
            pretrained=True,
            in_chans=n_channels,
            **config.options,
        )
        cached = "the Hugging Face hub's cache"
    try:
        return build().state_dict()
    except Exception as error:  # each library and each way of downloading has its own
        raise OSError(
            f"weights: {config.weights!r} of {config.architecture} cannot be had "
            f"({type(error).__name__}: {error}); put them into {cached}, or name a file of weights"
        ) from error


@dataclass(frozen=True)
class Preprocessing:
    """What published weights were trained with.

    Attributes
    ----------
    mean, std : tuple of float
        Of each channel, by which images in [0, 1] are normalised.
    image_size : int
        Of a side, in pixels.
    classes : tuple of str
        Of the outputs, as the library names them; empty if it does not.
    options : dict
        Arguments of the builder that the preprocessing takes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    classes: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def published_preprocessing(config: NetworkConfig) -> Preprocessing:
    """What is known of the published weights of a library's network; nothing is downloaded.

    Raises
    ------
    PartError
        If the network was not published with these weights.
    """
    library, _, name = config.architecture.partition(":")
    if library == "torchvision":
        weights = _torchvision_weights(name, config.weights)
        about = weights.transforms()
        with torch.device("meta"):
            network = torchvision.models.get_model(name, weights=None, **config.options)
        scaled = hasattr(network, "transform_input")  # as _build_torchvision says
        return Preprocessing(
            tuple(about.mean),
            tuple(about.std),
            about.crop_size[0],
            tuple(weights.meta.get("categories", ())),
            {"transform_input": True} if scaled else {},
        )
    create = _import_timm(config.architecture).create_model
    network = create(_timm_name(name, config.weights), pretrained=False)
    described: Any = network.pretrained_cfg
    return Preprocessing(
        tuple(described["mean"]),
        tuple(described["std"]),
        described["input_size"][-1],
    )


def _build_torchvision(
    name: str, *, n_channels: int, n_classes: int, weights: str = "", **options: Any
) -> Prepared:
    network = _called(
        partial(torchvision.models.get_model, name, weights=None, num_classes=n_classes),
        f"torchvision:{name}",
        options,
    )
    mean, std = CHANNEL_STATISTICS[COLOURS]
    if weights:
        preprocessing = _torchvision_weights(name, weights).transforms()
        mean, std = tuple(preprocessing.mean), tuple(preprocessing.std)
        if hasattr(network, "transform_input"):
            # GoogLeNet and Inception v3 bring normalised images to the scale of their published
            # weights, which torchvision turns on where it loads these itself.
            network.transform_input = options.get("transform_input", True)
    return Prepared(network, Normalise(COLOURS, mean, std), repeat=n_channels == 1)


def _build_timm(
    name: str, *, n_channels: int, n_classes: int, weights: str = "", **options: Any
) -> Prepared:
    tagged = _timm_name(name, weights)
    create = partial(
        _import_timm(f"timm:{name}").create_model,
        tagged,
        pretrained=False,
        in_chans=n_channels,
        num_classes=n_classes,
    )
    network = _called(create, f"timm:{tagged}", options)
    described: Any = network.pretrained_cfg
    mean, std = (_for_channels(described[key], n_channels) for key in ("mean", "std"))
    return Prepared(network, Normalise(n_channels, mean, std), repeat=False)


def _for_channels(values: Sequence[float], n_channels: int) -> tuple[float, ...]:
    """As they are for colour; their mean for grey."""
    if len(values) == n_channels:
        return tuple(values)
    return (sum(values) / len(values),) * n_channels


def _called(build: partial[nn.Module], name: str, options: dict[str, Any]) -> nn.Module:
    given = sorted(build.keywords.keys() & options.keys())
    if given:
        raise ValueError(
            f"options: {', '.join(given)} of network {name!r} follow from images, classes and "
            "weights; leave them out"
        )
    try:
        return build(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"options: {options} for network {name!r}: {error}") from error


def _torchvision(architecture: str, name: str) -> Callable[..., nn.Module]:
    names = torchvision.models.list_models(module=torchvision.models)
    _require_known(architecture, name, names, "torchvision.models.list_models()")
    return torchvision.models.get_model_builder(name)


def _torchvision_weights(name: str, weights: str) -> Any:
    known = torchvision.models.get_model_weights(name)
    try:
        return known.DEFAULT if weights.lower() == "default" else known[weights]
    except (KeyError, AttributeError) as error:
        raise _no_weights(f"torchvision:{name}", weights, [w.name for w in known]) from error


def _no_weights(architecture: str, weights: str, known: Sequence[str]) -> PartError:
    return PartError(
        f"network {architecture!r}: has no weights {weights!r}, expected default"
        f"{''.join(f', {name}' for name in known) or ' (which it has not, either)'}"
    )


def _timm(architecture: str, name: str) -> Callable[..., nn.Module]:
    timm = _import_timm(architecture)
    plain, _, tag = name.partition(".")
    _require_known(architecture, plain, timm.list_models(), "timm.list_models()")
    if tag:
        tags = timm.list_pretrained(f"{plain}.*")
        _require_known(architecture, name, tags, f"timm.list_pretrained({plain + '.*'!r})")
    return timm.models.model_entrypoint(plain)


def _timm_name(name: str, weights: str) -> str:
    """With the tag of its weights, unless they are the default; a PartError if it has none such."""
    if weights.lower() in ("", "default"):
        return name
    if "." in name:
        raise PartError(
            f"network 'timm:{name}': names its weights already; leave out weights, which are "
            f"{weights!r}, or set them to 'default'"
        )
    tagged = f"{name}.{weights}"
    known = _import_timm(f"timm:{name}").list_pretrained(f"{name}.*")
    if tagged not in known:
        tags = [one.partition(".")[2] for one in known]
        raise _no_weights(f"timm:{name}", weights, tags)
    return tagged


def _import_timm(architecture: str) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise PartError(
            f"network {architecture!r}: timm cannot be imported ({error}); "
            "pip install 'neuroteach[networks]'"
        ) from error


def _require_known(architecture: str, name: str, names: Sequence[str], listed_by: str) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3)
        raise PartError(
            f"network {architecture!r}: there is none of this name; expected "
            f"{' or '.join(close) or 'one'} of {listed_by}"
        )
