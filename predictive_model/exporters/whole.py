"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(
    path: Path, *, overwrite: bool, ours: Callable[[Path], bool] = Path.is_file
) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes its place when all went well.

    Parameters
    ----------
    path : Path
        A file or folder to be.
    overwrite : bool
        Replace what is there, if ``ours`` says that it is of the kind that is being written.
    ours : callable
        Whether a path may be replaced; files by default, so that no folder is lost.

    Raises
    ------
    FileExistsError
        If there is something at ``path`` that must stay.
    FileNotFoundError
        If the folder that it shall lie in is missing.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; make it first")

    def refuse_what_must_stay() -> None:
        if not os.path.lexists(path):
            return
        if not overwrite:
            raise FileExistsError(
                f"{path}: is there already; choose another name, or replace it with --overwrite "
                "(in Python overwrite=True)"
            )
        if not ours(path):
            raise FileExistsError(
                f"{path}: is there already and of another kind; move it away first"
            )

    refuse_what_must_stay()
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        temporary = folder / path.name
        yield temporary
        refuse_what_must_stay()  # it may have come meanwhile
        if path.is_dir() and not path.is_symlink():
            # A folder is not replaced in one step: the old one steps aside, for a moment.
            os.replace(path, folder / "old")
        try:
            os.replace(temporary, path)
        except BaseException:
            if (folder / "old").exists():
                os.replace(folder / "old", path)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
