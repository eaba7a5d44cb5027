"""A process for each device: how they end, and what is said of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.experiments.selection import ALL
from pipeline.workers import processes as workers

# Stands in for the interpreter: ends as its device says.
ENDING = """#!/bin/sh
case $NEUROTEACH_DEVICE in
    works) echo $$ >> pids; exec sleep 60 ;;
    killed) kill -9 $$ ;;
    *) exit $NEUROTEACH_DEVICE ;;
esac
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    script = tmp_path / "ending"
    script.write_text(ENDING)
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers.sys, "executable", str(script))
    monkeypatch.setattr(workers, "POLL", 0.02)
    settings = Settings(home=tmp_path, database="postgresql://me@lab/brain", store=tmp_path)

    def start(*devices: str, forever: bool = False) -> bool:
        return workers.run(
            Database(settings, None),  # type: ignore[arg-type]
            list(devices),
            "worker",
            selection=ALL,
            quiet=True,
            console=Console(),
            forever=forever,
        )

    return start


def test_workers_that_are_done_are_told_from_those_of_whose_work_some_failed(run: Any) -> None:
    assert run("0", "0") is True
    assert run("0", str(workers.SOME_FAILED)) is False


@pytest.mark.parametrize("ending, code", [("1", 1), ("2", 2), ("killed", -signal.SIGKILL)])
def test_a_worker_that_ended_otherwise_is_an_error(run: Any, ending: str, code: int) -> None:
    with pytest.raises(RuntimeError, match=f"1 of 2 workers ended with code {code}; see .*/logs"):
        run("0", ending)


@pytest.mark.parametrize("ending", ["0", "1", "killed"])
def test_of_workers_for_ever_none_goes_on_without_the_others(
    run: Any, ending: str, tmp_path: Path
) -> None:
    """So that what looks after them, as systemd does, starts all of them again."""
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="1 of 2 workers ended"):
        run("works", ending, forever=True)
    assert time.monotonic() - started < 30
    for pid in (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else ():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
