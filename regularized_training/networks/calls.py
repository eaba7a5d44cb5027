"""How a network's builder is called, checked before anything is built; imports no torch itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from regularized_training.networks.config import NetworkConfig, is_file_name
from regularized_training.networks.registry import NETWORKS, find_network, library_of


def builder_call(config: NetworkConfig, n_channels: int, n_classes: int) -> Callable[[], Any]:
    """The builder of a network with all its arguments, which its signature takes.

    Raises
    ------
    PartError
        If there is no such network here.
    ValueError
        If its builder takes no such width or options.
    """
    name = config.architecture
    build = find_network(name).value
    arguments: dict[str, Any] = {"n_channels": n_channels, "n_classes": n_classes}
    signature = inspect.signature(build)
    if "width" in signature.parameters:
        arguments["width"] = config.width
    elif config.width != NetworkConfig.model_fields["width"].default:
        raise ValueError(f"width: {config.width}, but {name} has one width only; leave it out")
    if library_of(name) and not is_file_name(config.weights):
        arguments["weights"] = config.weights
    try:
        signature.bind(**arguments, **config.options)
    except TypeError as error:
        raise ValueError(f"options: {error}, for network {name!r}{signature}") from error
    return partial(build, **arguments, **config.options)


def require_network(config: NetworkConfig) -> None:
    """Raise a ValueError if a network cannot be built, as far as is known without its images.

    Of other people's networks, the signature is looked at; those of a library, whose builders take
    any keyword, are built without memory for weights. Ours take every width.

    Raises
    ------
    PartError, ValueError
        As :func:`~regularized_training.networks.architectures.build_network` does.
    """
    if config.architecture in NETWORKS.built_in and not config.options:
        return  # without importing torch
    if library_of(config.architecture):
        from regularized_training.networks.architectures import outline

        outline(config)
    else:
        builder_call(config, n_channels=3, n_classes=10)
