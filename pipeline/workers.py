"""Run populate with progress bars, in this process or in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pipeline import populate as population
from schemas import base

if TYPE_CHECKING:
    from pipeline.database import Database

POLL = 2.0  # seconds between looks at the workers
STOP_TIMEOUT = 30.0  # seconds a worker gets to put its job back


class _Display:
    """One bar for each table, and a line that says what is going on inside a computation.

    In a log, where there are no bars, a line for each number of rows that was reached.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, population.Progress] = {}
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

    def show(self, progress: population.Progress) -> None:
        if not self._console.is_terminal:
            if progress.total and self._shown.get(progress.table) != progress:
                now = datetime.now().strftime("%H:%M:%S")
                of = f"{progress.table} {progress.done} of {progress.total}"
                self._console.print(f"{now} {of}", highlight=False)
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
            open_tables = [
                i
                for i in self.ids.values()
                if not self.bars.tasks[self.bars.task_ids.index(i)].finished
            ]
            self.bars.update(open_tables[0] if open_tables else self.ids[self.last], line=text)


def work(
    *,
    experiment: str | None,
    scale: str | None,
    quiet: bool,
    as_worker: bool,
    console: Console,
) -> None:
    """Populate in this process."""
    if as_worker:
        base.configure(progress=lambda text: print(text, file=sys.stderr, flush=True))
        keep_going = population.until_orphaned()
        population.populate(experiment=experiment, scale=scale, keep_going=keep_going)
        return
    display = _Display(console)
    with nullcontext() if quiet else display:
        if not quiet:
            for progress in population.progress(experiment, scale):
                display.show(progress)
            base.configure(progress=display.line)
        population.populate(
            experiment=experiment,
            scale=scale,
            on_progress=(lambda p: None) if quiet else display.show,
        )


def run(
    database: Database,
    n: int,
    *,
    experiment: str | None,
    scale: str | None,
    quiet: bool,
    console: Console,
) -> None:
    """Populate in `n` processes of their own.

    Processes are started afresh rather than forked: a fork would share database session and GPU.
    Each logs to a file of its own in the home folder.
    """
    logs = database.settings.logs
    logs.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    # -P: nothing in the current folder stands in for our packages.
    command = [sys.executable, "-P", "-m", "pipeline.cli", "populate", "--as-worker"]
    for option, value in (("--experiment", experiment), ("--scale", scale)):
        command += [option, value] if value is not None else []
    # Processes that each use all cores get in each other's way.
    threads = str(max(1, torch.get_num_threads() // n))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    processes: list[subprocess.Popen[bytes]] = []
    display = _Display(console)
    try:
        for i in range(n):
            with (logs / f"populate-{stamp}-{os.getpid()}-{i}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        start_new_session=True,  # an interrupt reaches them through us alone
                    )
                )
        with nullcontext() if quiet else display:
            while any(p.poll() is None for p in processes):
                if not quiet:
                    for progress in population.progress(experiment, scale):
                        display.show(progress)
                time.sleep(POLL)
            if not quiet:
                for progress in population.progress(experiment, scale):
                    display.show(progress)
    finally:
        _stop(processes)
    crashed = [p.returncode for p in processes if p.returncode not in (0, 1)]
    if crashed:
        raise RuntimeError(
            f"{len(crashed)} of {n} workers ended with code {crashed[0]}; see {logs}, then run "
            "`neuroteach populate` again"
        )
    if any(p.returncode for p in processes) and not population.failures(experiment, scale):
        raise RuntimeError(f"a worker failed; see {logs}")


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
