"""Faults are put in on purpose, and what was promised for each is looked at afterwards.

`make test-faults` runs them, in some minutes; they are not part of `make test`. What was found
is printed as a table at the end, as it stands in `docs/reliability.md`.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.transfer.check import Problem
from pipeline.transfer.operations import check_database
from pipeline.workers.populate import populate
from schemas import tables as registry

_FOUND: list[tuple[str, str, str]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.database)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _FOUND:
        terminalreporter.write_line("")
        terminalreporter.write_line("| fault | promise | found |")
        terminalreporter.write_line("|---|---|---|")
        for row in _FOUND:
            terminalreporter.write_line(f"| {' | '.join(row)} |")


@pytest.fixture
def report() -> Callable[[str, str, str], None]:
    """Adds a row to the table of results: a fault, what was promised, and what was found."""
    return lambda *row: _FOUND.append(row)


# Processes that need not import everything again: a worker's work begins at once.
_FORK = multiprocessing.get_context("fork")


def _work(settings: Settings, log: Path, forever: bool) -> None:
    os.setsid()
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)  # pytest has put another in its place
    registry.deactivate()  # a session that was open here before is not ours to use
    try:
        with open_database(settings):
            result = populate(forever=forever)
        print(*result.failures, sep="\n", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        os._exit(2)
    os._exit(1 if result.failures else 0)


class ForkedWorker:
    """A process that populates until nothing is left."""

    def __init__(self, settings: Settings, log: Path, *, forever: bool = False) -> None:
        self.log = log
        self.process = _FORK.Process(target=_work, args=(settings, log, forever), daemon=True)
        self.process.start()

    def kill(self) -> None:
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def wait(self, seconds: float) -> int | None:
        self.process.join(seconds)
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Callable[..., ForkedWorker]]:
    """Starts workers, which end with the test."""
    started: list[ForkedWorker] = []

    def start(settings: Settings, **options: Any) -> ForkedWorker:
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(ForkedWorker(settings, log, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


VOLATILE = {"seconds", "computed", "host", "history", "package_version", "git_commit"}


def contents(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """All computed rows, arrays and weights by their values, less what tells one run from another.

    Of histories the seconds are left out.
    """
    found = {}
    with open_database(settings) as database:
        root = settings.store_root()
        for table in registry.all_tables():
            name = table.__name__
            if name in ("Worker", "SchemaVersion", "Experiment") or name.endswith("Plan"):
                continue
            heading = table().heading
            names = [name for name in heading.names if name not in VOLATILE | {"imported"}]
            quoted = ", ".join(database.connection.adapter.quote_identifier(n) for n in names)
            rows = database.connection.query(f"SELECT {quoted} FROM {table().full_table_name}")
            found[table.__name__] = sorted(
                tuple(_value(root, value) for value in row) for row in rows.fetchall()
            )
    return found


def _value(root: Any, value: Any) -> str:
    if isinstance(value, dict) and "path" in value:
        content = (root / value["path"]).read_bytes()
        if value["path"].endswith(".npy"):
            array = np.load(io.BytesIO(content))
            return f"{array.dtype} {array.shape} {hash(array.tobytes())}"
        return str(hash(content))
    return str(value)


def damaged(database: Database) -> list[Problem]:
    """What `database check` finds, less objects without a row: of those nothing was promised."""
    problems = check_database(database).problems
    return [problem for problem in problems if problem.row]


def wait_until(done: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait for something, and say for how long; fails if it does not come."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < seconds, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - started
