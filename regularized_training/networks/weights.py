"""Weights that training starts from: read from a file, and put into a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from predictive_model.file_kinds import why_unreadable
from regularized_training.networks.config import NetworkConfig, file_digest


def read_weights(file: Path, expected: str = "torch's weights") -> dict[str, Any]:
    """What a ``.safetensors`` file or one of ``torch.save`` holds; no code in it is run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected {expected}")
    try:
        if file.suffix.lower() == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives make torch raise nearly anything
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise ValueError(
                f"{file}: holds Python objects, which can run any code when they are read, and was "
                "not read; save the weights alone, by torch.save(model.state_dict(), path)"
            ) from error
        why = why_unreadable(file, type(error).__name__, "download it again", expected="a zip")
        raise ValueError(f"{file}: cannot be read as torch's weights: {why}") from error
    return state if isinstance(state, dict) else {}


def weights_of_file(config: NetworkConfig) -> dict[str, Any]:
    """Weights of the file that a configuration names.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, is not the one that was meant, or cannot be read.
    """
    file = Path(config.weights)
    if not file.is_file():
        raise FileNotFoundError(
            f"weights: {file}: no such file; put the one with the digest {config.weights_digest} "
            "there"
        )
    if file_digest(file) != config.weights_digest:
        raise ValueError(
            f"weights: {file}: has the digest {file_digest(file)}, expected "
            f"{config.weights_digest}; it was replaced since the network was described"
        )
    return state_of(file)


def state_of(file: Path) -> dict[str, Any]:
    """Weights of a file by their names, also of a checkpoint that holds more than weights.

    Raises
    ------
    FileNotFoundError, ValueError
        As of :func:`read_weights`.
    """
    state = read_weights(file)
    inner = state.get("state_dict")
    state = inner if isinstance(inner, dict) else state
    if state and all(str(name).startswith("module.") for name in state):  # by DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def put_weights(
    network: nn.Module, state: Mapping[str, Any], n_classes: int, described: str
) -> None:
    """Give a network weights that were trained, perhaps on other classes.

    Layers that give the classes keep their own weights where the number differs. Colour kernels
    become grey ones by their sum, which sees a grey image as three equal channels.

    Parameters
    ----------
    network : nn.Module
    state : mapping of str to Tensor
    n_classes : int
        Of the network.
    described : str
        Where the weights come from, for messages.

    Raises
    ------
    ValueError
        If they are another network's.
    """
    own = network.state_dict()
    fitted = dict(state)
    for name, value in own.items():
        given = fitted.get(name)
        if not isinstance(given, Tensor) or given.shape == value.shape:
            continue
        if value.ndim and value.shape[0] == n_classes and value.shape[1:] == given.shape[1:]:
            fitted[name] = value
        elif value.ndim == 4 and value.shape[1] == 1 and given.shape[1:2] == (3,):
            fitted[name] = given.sum(1, keepdim=True)
    try:
        network.load_state_dict(fitted)
    except (RuntimeError, TypeError, AttributeError) as error:  # the latter two if not of tensors
        raise ValueError(f"weights: {described}: do not fit the network ({error})") from error
