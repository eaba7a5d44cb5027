"""Tensors and a few texts in the safetensors format, the same bytes for the same content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from torch import Tensor

_ALIGNMENT = 8  # bytes, of where the tensors begin


def tensors_to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file.

    safetensors writes the metadata in an order that differs from call to call. Here they are in
    alphabetical order, so that two files of the same content have the same checksum.

    Parameters
    ----------
    tensors : dict of str to Tensor
    metadata : dict of str to str
    """
    content = safetensors.torch.save(dict(tensors), dict(metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[start:]))


def metadata_of(content: bytes, name: str = "the bytes") -> dict[str, Any]:
    """Metadata of a safetensors file, which its Python reader does not give for bytes.

    Parameters
    ----------
    content : bytes
    name : str
        What they are called in an error.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        return header.get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{name}: not a safetensors file; expected one that neuroteach wrote"
        ) from error
