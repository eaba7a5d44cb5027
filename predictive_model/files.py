"""Files that are written whole or not at all, in folders and in object stores."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write ``content`` so that a reader finds what was there before, or all of it.

    Parameters
    ----------
    path : Path
        Or a path of ``universal_pathlib`` in an object store, where writing is whole by itself.
        Parent folders are made.
    content : bytes

    Raises
    ------
    OSError
        If it could not be written, for instance since the disk is full. What was there stays.
    """
    if not isinstance(path, Path):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: others may be writing the same at this moment.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
