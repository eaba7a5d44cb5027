"""Checkpoints that survive a kill: written whole or not at all, and tied to what they belong to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from predictive_model.files import write_whole


class CheckpointError(RuntimeError):
    """A checkpoint that belongs to something else or cannot be read."""


def save_checkpoint(path: Path, state: dict[str, Any], *, belongs_to: str) -> None:
    """Write ``state`` to ``path`` so that a reader finds the old file or the new one, whole.

    Parameters
    ----------
    path : Path
        In a folder, or in an object store by ``universal_pathlib``; parent folders are made.
    state : dict
        Tensors, numbers, strings and containers of them, readable with ``weights_only=True``.
    belongs_to : str
        The computation's :func:`fingerprint`.

    Raises
    ------
    OSError
        If it could not be written, for instance since the disk is full. The old file is left.
    """
    buffer = io.BytesIO()
    torch.save({"belongs_to": belongs_to, "state": state}, buffer)
    try:
        write_whole(path, buffer.getbuffer())
    except OSError as error:
        raise OSError(f"{path}: the checkpoint could not be written ({error})") from error


def load_checkpoint(path: Path, *, belongs_to: str) -> dict[str, Any] | None:
    """State saved at ``path``, or None where nothing was saved.

    Raises
    ------
    CheckpointError
        If the file is damaged, or was written by another computation.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        owner, state = saved["belongs_to"], saved["state"]
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint, it is damaged or another file; delete it to "
            "start afresh"
        ) from error
    if owner != belongs_to:
        raise CheckpointError(
            f"{path} was written with other data, settings or seed; delete it to start afresh, or "
            "name another checkpoint file"
        )
    return state
