"""Tensor files are safetensors files, and the same for the same content."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from predictive_model.tensor_file import metadata_of, tensors_to_bytes

TENSORS = {
    "a.weight": torch.arange(7, dtype=torch.float32),
    "b": torch.tensor(3),
    "half": torch.ones(2, 3, dtype=torch.float16),
}
METADATA = {"format": "test 1", "config": '{"ß": "\\u2028 視覚"}', "about": "\"'\n", "z": ""}


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    content = tensors_to_bytes(TENSORS, METADATA)
    read = safetensors.torch.load(content)
    assert set(read) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)
    assert metadata_of(content) == METADATA
    file = tmp_path / "file.safetensors"
    file.write_bytes(content)
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata() == METADATA


def test_the_same_content_makes_the_same_bytes() -> None:
    """safetensors alone writes the metadata in any order."""
    backwards = dict(reversed(METADATA.items()))
    made = {tensors_to_bytes(TENSORS, m) for m in (METADATA, backwards) for _ in range(20)}
    assert len(made) == 1


@pytest.mark.parametrize("n", range(8))
def test_tensors_begin_where_they_can_be_mapped(n: int) -> None:
    content = tensors_to_bytes(TENSORS, {"text": "x" * n})
    assert int.from_bytes(content[:8], "little") % 8 == 0
    torch.testing.assert_close(safetensors.torch.load(content)["b"], TENSORS["b"])
