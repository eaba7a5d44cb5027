"""Files that are written whole or not at all, in folders and in object stores."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Path of a file to write, that a reader finds at ``path`` once all of it is written.

    Whatever happens before leaves what was there. Parent folders are made.

    Raises
    ------
    OSError
        If it could not be written, for instance since the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: others may be writing the same at this moment.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    with whole_path(path) as temporary, temporary.open("xb") as file:
        file.write(content)
