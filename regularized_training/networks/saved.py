"""Trained networks in files, to be used without a database and, if need be, without this package.

A ``.safetensors`` file has weights and settings; :func:`read_network` makes the network of it. A
``.pt`` file is TorchScript and a ``.onnx`` file ONNX: the network as a graph of operations, for
images of one size in batches of any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from predictive_model.tensor_file import metadata_of, tensors_to_bytes
from regularized_training.networks.architectures import load_network
from regularized_training.networks.config import NetworkConfig

FORMAT = "neuroteach network 1"
SUFFIXES = (".safetensors", ".pt", ".onnx")


def network_to_bytes(
    state: Mapping[str, Tensor],
    config: NetworkConfig,
    n_channels: int,
    n_classes: int,
    **more: str,
) -> bytes:
    """A safetensors file with the settings in its header, which :func:`read_network` reads.

    Parameters
    ----------
    state : dict of str to Tensor
        Contiguous and on the CPU.
    config : NetworkConfig
    n_channels, n_classes : int
    **more
        Further texts for the header.
    """
    metadata = {
        "format": FORMAT,
        "network": config.model_dump_json(),
        "about": json.dumps({"n_channels": n_channels, "n_classes": n_classes}),
    }
    return tensors_to_bytes(state, metadata | more)


def network_from_bytes(content: bytes, name: str = "the file") -> nn.Module:
    """The network of a safetensors file, in evaluation mode.

    Raises
    ------
    ValueError
        If the file holds no network of this package.
    """
    metadata = metadata_of(content, name)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{name}: format {metadata.get('format', 'unknown')!r}, expected {FORMAT!r}; write it "
            "with `neuroteach export network`"
        )
    about: dict[str, Any] = json.loads(metadata["about"])
    config = NetworkConfig.model_validate_json(metadata["network"])
    state = safetensors.torch.load(content)
    return load_network(config, about["n_channels"], about["n_classes"], state)


def read_network(path: Path | str) -> nn.Module:
    """The network of a file that ``neuroteach export network`` wrote, in evaluation mode.

    Takes images (batch, channels, height, width) in [0, 1] and returns logits (batch, class).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no network, or is an ONNX file, which is for other runtimes.

    Examples
    --------
    >>> network = read_network("network.safetensors")  # doctest: +SKIP
    >>> network(images).argmax(1)  # doctest: +SKIP
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a network (.safetensors)")
    if path.suffix == ".onnx":
        raise ValueError(
            f"{path}: ONNX, which other runtimes read and PyTorch does not; expected .safetensors "
            "or .pt, which `neuroteach export network` writes, too"
        )
    if path.suffix == ".pt":
        loaded: nn.Module = torch.jit.load(path, map_location="cpu")
        return loaded.eval()
    return network_from_bytes(path.read_bytes(), str(path))


def write_graph(network: nn.Module, image_shape: tuple[int, int, int], path: Path) -> None:
    """Write a network as TorchScript or ONNX, as the file's ending says.

    Parameters
    ----------
    network : nn.Module
    image_shape : (channels, height, width)
    path : Path
        Ends in ``.pt`` or ``.onnx``.

    Raises
    ------
    ValueError
        If the file ends otherwise.
    RuntimeError
        If PyTorch cannot write the network in this format, or lacks the package ``onnx`` for it.
    """
    example = torch.zeros(2, *image_shape)
    network = network.eval()
    if path.suffix == ".pt":
        with torch.no_grad():
            torch.jit.trace(network, example).save(str(path))
    elif path.suffix == ".onnx":
        _write_onnx(network, example, path)
    else:
        raise ValueError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")


def _write_onnx(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    batch = {0: "batch"}
    try:
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": batch, "logits": batch},
            dynamo=False,
        )
    except ImportError as error:
        raise RuntimeError(
            f"{path}: PyTorch needs the package onnx to write this; install it with `pip install "
            "onnx`, or write a .pt or .safetensors file"
        ) from error
