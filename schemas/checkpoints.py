"""Where computations keep their checkpoints, and which are not needed any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datajoint as dj

from schemas.base import computing
from schemas.configurations import config_hash


def checkpoint_path(table: type[dj.Computed], key: Mapping[str, Any]) -> Path | None:
    """Where the computation of a key keeps its checkpoint."""
    folder = computing().checkpoints
    if folder is None:
        return None
    names = sorted(table().primary_key)
    return folder / f"{table.__name__}_{config_hash({n: key[n] for n in names})}.pt"


def remove_finished_checkpoints(tables: Sequence[type[dj.Computed]]) -> None:
    """Delete the checkpoints of keys that have their row. Until the row is there, they stay."""
    folder = computing().checkpoints
    if folder is None:
        return
    try:
        files = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return  # none was written yet
    for table in tables:
        of_table = [file for file in files if file.name.startswith(f"{table.__name__}_")]
        if not of_table:
            continue
        paths = (checkpoint_path(table, key) for key in table.keys())  # noqa: SIM118 - a query
        done = tuple(path.name for path in paths if path is not None)
        for file in of_table:  # half written ones of killed workers too
            if file.name.startswith(done):
                file.unlink(missing_ok=True)
