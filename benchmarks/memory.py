"""How much memory a run needs: the peak above what its process held before, each in its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable

import psutil


def peak_memory(run: Callable[[], object]) -> int:
    """Megabytes by which a run raises this process's resident memory at most."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = run()  # kept until the last look
        peak = max(peak, process.memory_info().rss)
        del result
    finally:
        done.set()
        watcher.join()
    return (peak - before) // 2**20


def memory_in_processes(
    script: str, runs: Iterable[str], options: Iterable[str] = ()
) -> dict[str, int]:
    """Megabytes that each run needs, each measured in a process of its own.

    Parameters
    ----------
    script : str
        Of this folder. With ``--memory-of RUN`` it prints what :func:`peak_memory` says, only.
    runs : iterable of str
    options : iterable of str
        Of the script.
    """
    command = [sys.executable, "-m", f"benchmarks.{script}", *options, "--memory-of"]
    return {
        run: int(subprocess.run([*command, run], check=True, stdout=subprocess.PIPE).stdout)
        for run in runs
    }
