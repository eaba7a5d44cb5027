"""Run populate with progress bars, in this process or in several."""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pipeline.database.settings import VARIABLES
from pipeline.experiments.selection import Selection
from pipeline.workers import populate as population
from pipeline.workers.queues import Progress
from predictive_model.threads import n_cores
from schemas import base

if TYPE_CHECKING:
    from pipeline.database.opening import Database

POLL = 2.0  # seconds between looks at the workers
STOP_TIMEOUT = 30.0  # seconds a worker gets to put its job back
# Exit code of a worker that did its work, of which some failed; that is in the database.
SOME_FAILED = 3


class _Display:
    """One bar for each table, and a line that says what is going on inside a computation.

    In a log, where there are no bars, a line for each number of rows that was reached.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, Progress] = {}
        self.bars = Bars(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}"),
            console=console,
        )
        self.ids: dict[str, Any] = {}
        self.last: str | None = None

    def __enter__(self) -> _Display:
        if self._console.is_terminal:
            self.bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bars.stop()

    def show(self, progress: Progress) -> None:
        if not self._console.is_terminal:
            if progress.total and self._shown.get(progress.table) != progress:
                self._console.print(_log_line(progress), highlight=False)
            self._shown[progress.table] = progress
            return
        if progress.table not in self.ids:
            self.ids[progress.table] = self.bars.add_task(progress.table, line="")
        self.last = progress.table
        self.bars.update(
            self.ids[progress.table], completed=progress.done, total=progress.total, line=""
        )

    def line(self, text: str) -> None:
        if self.last is not None:
            # What is being computed belongs to the first table that is not finished.
            open_tables = [task.id for task in self.bars.tasks if not task.finished]
            self.bars.update(open_tables[0] if open_tables else self.ids[self.last], line=text)


def devices(device: str, processes: int | None = None) -> list[str]:
    """A device for each process: every GPU one, or those that are asked for, in turn.

    Parameters
    ----------
    device : str
        As in the settings: ``auto`` is every GPU there is, else the CPU.
    processes : int, optional
        By default one for each device.
    """
    there = [device]
    if device == "auto":
        import torch

        there = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    return [there[i % len(there)] for i in range(processes or len(there))]


class Shown(enum.Enum):
    """How the progress of a populate is shown."""

    bars = enum.auto()
    lines = enum.auto()  # of a log
    nothing = enum.auto()


def work(
    selection: Selection,
    *,
    shown: Shown,
    console: Console,
    forever: bool = False,
    child: bool = False,
) -> population.PopulateResult:
    """Populate in this process.

    Parameters
    ----------
    selection, forever
        As :func:`~pipeline.workers.populate.populate` takes them.
    shown : Shown
    console : rich.console.Console
    child : bool
        End when the process that started this one does.
    """
    display = _Display(console)
    on_progress: Callable[[Progress], None] = lambda progress: None  # noqa: E731
    if shown is Shown.lines:
        base.configure(progress=_log)
        on_progress = lambda progress: _log(_log_line(progress))  # noqa: E731
    elif shown is Shown.bars:
        for progress in population.progress(selection):
            display.show(progress)
        base.configure(progress=display.line)
        on_progress = display.show
    with display if shown is Shown.bars else nullcontext():
        return population.populate(
            selection,
            forever=forever,
            on_progress=on_progress,
            keep_going=population.until_orphaned() if child else lambda: True,
        )


def _log_line(progress: Progress) -> str:
    now = datetime.now().strftime("%H:%M:%S")
    return f"{now} {progress.table} {progress.done} of {progress.total}"


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(
    database: Database,
    devices: list[str],
    command: str,
    *,
    selection: Selection,
    quiet: bool,
    console: Console,
    forever: bool = False,
) -> bool:
    """Populate in a process of its own on each of some devices.

    Processes are started afresh rather than forked: a fork would share database session and GPU.
    Each logs to a file of its own in the home folder.

    Parameters
    ----------
    database : Database
    devices : list of str
    command : str
        Of ``neuroteach``: ``populate`` or ``worker``.
    selection, forever
        As :func:`~pipeline.workers.populate.populate` takes them.
    quiet : bool
        Show no progress.
    console : rich.console.Console

    Returns
    -------
    bool
        Whether all succeeded; what failed is in the database.

    Raises
    ------
    RuntimeError
        If a worker ended otherwise than with failed computations, which are in the database, or
        ended at all although it was to work forever. In the latter case the others are stopped.
    """
    n = len(devices)
    logs = database.settings.logs
    logs.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    # -P: nothing in the current folder stands in for our packages.
    words = [sys.executable, "-P", "-m", "pipeline.cli.main", command, "--as-worker"]
    for option, value in (("--experiment", selection.experiment), ("--scale", selection.scale)):
        words += [option, value] if value is not None else []
    words += ["--forever"] if forever else []
    # Processes that each use all cores get in each other's way. What a person has set stays.
    environment = {"OMP_NUM_THREADS": str(max(1, n_cores() // n)), **os.environ}
    processes: list[subprocess.Popen[bytes]] = []
    display = _Display(console)

    def show() -> None:
        if not quiet:
            for progress in population.progress(selection):
                display.show(progress)

    try:
        for i, device in enumerate(devices):
            with (logs / f"{command}-{stamp}-{os.getpid()}-{i}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        words,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env={**environment, VARIABLES["device"]: device},
                        start_new_session=True,  # an interrupt reaches them through us alone
                    )
                )
        with nullcontext() if quiet else display:
            while any(p.poll() is None for p in processes):
                if forever and any(p.poll() is not None for p in processes):
                    break  # a service manager starts all of them again
                show()
                time.sleep(POLL)
            show()
            ended = [p.returncode for p in processes if p.returncode is not None]
    finally:
        _stop(processes)
    crashed = ended if forever else [code for code in ended if code not in (0, SOME_FAILED)]
    if crashed:
        raise RuntimeError(
            f"{len(crashed)} of {n} workers ended with code {crashed[0]}; see {logs}, then run "
            f"`neuroteach {command}` again"
        )
    return not any(ended)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    running = [p for p in processes if p.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
