"""Which layers of a network are compared with a teacher; of our own, known without torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.registry import (
    CORNET_S_STEPS,
    SIMILARITY_LAYERS,
    find_network,
)

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
    others : tuple of str
        All layers that may be chosen, from the image on, where these are known without reading
        operations and are more than those by default.
    """

    default: tuple[str, ...]
    readable: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


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
    known = layers.others or layers.default
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise ValueError(
            f"layers: {', '.join(unknown)} are not among those of {config.architecture} that can "
            f"be compared with a teacher: {', '.join(known)}"
        )
    return tuple(layer for layer in known if layer in chosen)


def _layers(config: NetworkConfig, built: nn.Module | None) -> Layers:
    if config.architecture in SIMILARITY_LAYERS:
        return _of_ours(config)
    declared = _declared(find_network(config.architecture).value)
    if declared:
        return Layers(declared)
    return _of_configuration(config.model_dump_json()) if built is None else _of_network(built)


def _of_ours(config: NetworkConfig) -> Layers:
    areas = SIMILARITY_LAYERS[config.architecture]
    if config.replaced:
        kept = (layer for layer in areas if layer not in config.replaced)
        areas = (f"{config.replaced[0]}.cells", *kept)
    if config.architecture != "cornet_s":
        return Layers(areas)
    first, *recurrent = areas
    steps: Any = config.options.get("steps", CORNET_S_STEPS)
    try:
        within = [
            (*(f"{area}.{step}" for step in range(n)), area)
            for area, n in zip(recurrent, steps, strict=True)
        ]
    except (TypeError, ValueError):  # no three numbers, which its builder refuses
        return Layers(areas)
    return Layers(areas, others=(first, *chain.from_iterable(within)))


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
