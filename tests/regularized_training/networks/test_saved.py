"""Trained networks in files: what is refused, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from regularized_training.networks.saved import read_network


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n.onnx", r"n\.onnx: ONNX, which other runtimes read .*expected .safetensors or .pt"),
        ("n.safetensors", r"n\.safetensors: not a safetensors file; expected one that neuroteach"),
    ],
)
def test_what_holds_no_network_is_named_with_the_remedy(
    tmp_path: Path, name: str, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(b"\x08\x07\x12\x07pytorch")
    with pytest.raises(ValueError, match=message):
        read_network(file)
