"""Objects of a remote store, fetched once to this machine for those that read them in parts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from predictive_model.files import whole_path

LIMIT = 2**36  # bytes of all copies on a machine, 64 GiB
BEING_WRITTEN = 3600  # seconds that a file without its name yet is left alone


def local_copy(folder: Path, name: str, fetch: Callable[[Path], None]) -> Path:
    """File of an object on this machine, fetched unless it is there.

    Copies that were not used for longest are removed where all come to more than :data:`LIMIT`;
    who has one open keeps it. The folder may be emptied at any time.

    Parameters
    ----------
    folder : Path
        Of all copies; made if it is missing.
    name : str
        What the content is known by, such as its checksum.
    fetch : callable
        Called with the file to write.
    """
    path = folder / name
    try:
        # When it was used last; when it was written tells who has checked it that it is the same.
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        with whole_path(path) as temporary:
            fetch(temporary)
        _remove_oldest(folder, but=path)
    return path


def _remove_oldest(folder: Path, *, but: Path) -> None:
    found: dict[Path, os.stat_result] = {}
    recent = time.time() - BEING_WRITTEN
    for path in folder.iterdir():
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process removed it
            continue
        if path.suffix != ".part" or stat.st_mtime < recent:
            found[path] = stat
    total = sum(stat.st_size for stat in found.values())
    for path in sorted(found.keys() - {but}, key=lambda path: found[path].st_atime):
        if total <= LIMIT:
            break
        path.unlink(missing_ok=True)
        total -= found[path].st_size
