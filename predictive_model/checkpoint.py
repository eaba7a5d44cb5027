"""Checkpoints that survive a kill: written whole or not at all, and tied to what they belong to."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch


class CheckpointError(RuntimeError):
    """A checkpoint that belongs to something else or cannot be read."""


def fingerprint(**parts: Any) -> str:
    """Hash of everything a computation depends on, as hexadecimal digits.

    Parts may be anything JSON can hold; describe arrays by :func:`array_digest`.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def array_digest(*arrays: Any) -> str:
    """Hash of arrays' shapes, types and contents; ``None`` counts as a value of its own."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, state: dict[str, Any], *, belongs_to: str) -> None:
    """Write ``state`` to ``path`` so that a reader finds the old file or the new one, whole.

    Parameters
    ----------
    path : Path
        Parent folders are made.
    state : dict
        Tensors, numbers, strings and containers of them, readable with ``weights_only=True``.
    belongs_to : str
        The computation's :func:`fingerprint`.

    Raises
    ------
    OSError
        If it could not be written, for instance since the disk is full. The old file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"belongs_to": belongs_to, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, RuntimeError):  # which torch makes of any trouble with the disk
            raise OSError(
                f"{path}: the checkpoint could not be written ({error}); is the disk full?"
            ) from error
        raise


def load_checkpoint(path: Path, *, belongs_to: str) -> dict[str, Any] | None:
    """State saved at ``path``, or None where nothing was saved.

    Raises
    ------
    CheckpointError
        If the file is damaged, or was written by another computation.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
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
