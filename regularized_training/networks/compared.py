"""Which layers of a network are compared with a teacher; of our own, known without torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.registry import SIMILARITY_LAYERS, find_network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Layers:
    """Layers of a network that may be compared with a teacher.

    Attributes
    ----------
    default : tuple of str
        Those that are compared unless some are chosen.
    readable : tuple of str
        All operations that may be chosen instead; empty where only those by default may be.
    """

    default: tuple[str, ...]
    readable: tuple[str, ...] = ()


def compared_layers(
    network: str | NetworkConfig,
    chosen: tuple[str, ...] | None = None,
    *,
    built: nn.Module | None = None,
) -> tuple[str, ...]:
    """Layers of a network that are compared with a teacher, from the image on.

    Parameters
    ----------
    network : str or NetworkConfig
        An architecture, or the whole configuration where its options matter.
    chosen : tuple of str, optional
        Only these layers. Where the network declares its layers, some of those, given in any
        order; otherwise any that can be read, compared in the order given.
    built : nn.Module, optional
        The network, if there is one already; otherwise one is built where it takes that to know.

    Raises
    ------
    ValueError
        If the network has no such layer; a PartError if there is no such network.
    """
    config = NetworkConfig(architecture=network) if isinstance(network, str) else network
    layers = _layers(config, built)
    if chosen is None:
        return layers.default
    if layers.readable:
        from regularized_training.networks.layer_reader import require_layers

        require_layers(chosen, layers.readable)
        return chosen
    unknown = sorted(set(chosen) - set(layers.default))
    if unknown:
        raise ValueError(
            f"layers: {', '.join(unknown)} are not among those of {config.architecture} that can "
            f"be compared with a teacher: {', '.join(layers.default)}"
        )
    return tuple(layer for layer in layers.default if layer in chosen)


def _layers(config: NetworkConfig, built: nn.Module | None) -> Layers:
    if config.architecture in SIMILARITY_LAYERS:
        return Layers(SIMILARITY_LAYERS[config.architecture])
    declared = _declared(find_network(config.architecture).value)
    if declared:
        return Layers(declared)
    return _of_configuration(config.model_dump_json()) if built is None else _of_network(built)


@functools.lru_cache(maxsize=64)
def _of_configuration(described: str) -> Layers:
    from regularized_training.networks.architectures import outline

    return _of_network(outline(NetworkConfig.model_validate_json(described)))


def _of_network(network: nn.Module) -> Layers:
    from regularized_training.networks.layer_reader import readable_layers, stages

    declared = _declared(network)
    if declared:
        return Layers(declared)
    readable = readable_layers(network)
    return Layers(stages(network, readable), readable)


def _declared(part: object) -> tuple[str, ...]:
    layers = getattr(part, "similarity_layers", ())
    if not isinstance(layers, list | tuple) or not all(isinstance(layer, str) for layer in layers):
        raise ValueError(f"similarity_layers: {layers!r}, expected a tuple of names")
    return tuple(layers)
