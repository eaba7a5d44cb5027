"""The server processes of a data folder, as the operating system knows them.

``postmaster.pid`` alone proves nothing: after a crash its number may belong to a stranger. Here a
server counts as running when the process of that number works in its data folder, and as gone when
the file that it and its children keep locked can be locked, which also holds for children that a
killed server left behind and for servers on other machines.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from pipeline.database.binaries import EmbeddedPostgresError

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "the embedded database needs Linux or macOS. On Windows work in WSL, or set "
        "NEUROTEACH_DATABASE=postgresql://USER:PASSWORD@HOST/DATABASE"
    ) from error

PORT = 5432  # names the socket file; no network port is opened
DYING_GRACE = 2.0  # seconds for which a killed process may still be seen
POLL = 0.003  # seconds
_PROGRAMS = ("postgres", "initdb", "unshare")  # unshare: what the other two are as root, at first
_END_TIMEOUT = 5.0  # seconds


@dataclass(frozen=True)
class Postmaster:
    """A live server process and what its ``postmaster.pid`` says."""

    process: psutil.Process
    port: int
    socket_folder: Path
    state: str  # "starting", "ready" or "stopping"


def find_postmaster(data: Path) -> Postmaster | None:
    """The live server; None if the process that ``postmaster.pid`` names works elsewhere."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
    except (FileNotFoundError, IndexError, ValueError, OverflowError, psutil.Error):
        return None
    if not _works_in(process, data):
        return None
    lines += [""] * 8  # a server that has just begun has not written all lines yet
    port = int(lines[3]) if lines[3].isdigit() else PORT
    return Postmaster(process, port, Path(lines[4]), lines[7].strip() or "starting")


def processes_in(folder: Path) -> list[psutil.Process]:
    """PostgreSQL processes that work in `folder` or below it."""
    return [process for process in psutil.process_iter() if _works_in(process, folder)]


def end_processes(folder: Path, ending: signal.Signals) -> None:
    """Signal every PostgreSQL process that works in `folder`, and give it time to end."""
    for process in processes_in(folder):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(ending)
    comes_true(lambda: not processes_in(folder), _END_TIMEOUT)


def claim(file: Path, data: Path, patience: float) -> IO[bytes]:
    """Lock the file that a server holds while it lives, after waiting for one that ends.

    Seen from other containers and other machines too: a server there, on the same shared folder,
    has no process here; two would ruin the data. What a killed server left behind ends by itself,
    or is ended after `patience` seconds.

    Raises
    ------
    EmbeddedPostgresError
        If it is still held then.
    """
    alive = open_private(file)
    if not comes_true(lambda: _try_lock(alive), patience):
        end_processes(data, signal.SIGQUIT)
        if not comes_true(lambda: _try_lock(alive), DYING_GRACE):
            alive.close()
            raise EmbeddedPostgresError(
                f"{file.parent} is in use by a server that does not end, or is not visible from "
                "here: another machine or container shares this folder. Stop it there first"
            )
    return alive


def is_held(file: Path) -> bool:
    """Whether a server, or a child of one, holds the file that :func:`claim` locks."""
    with open_private(file) as alive:
        return not _try_lock(alive)


def open_private(path: Path, flags: int = 0) -> IO[bytes]:
    """A file to write that only its owner may read, made when missing."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "wb")


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` holds; False if it does not within these seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder) and process.name() in _PROGRAMS
    except psutil.Error:  # ended, a zombie, or someone else's
        return False


def _try_lock(file: IO[bytes]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
