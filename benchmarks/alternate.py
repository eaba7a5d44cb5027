"""Time things side by side: alternate between them in one process and compare medians.

A machine's speed drifts within minutes. Runs that take turns meet the same drift, so each round
gives a fair ratio, and the median over rounds is untouched by a few disturbed ones.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
from rich.console import Console
from rich.table import Table

Seconds = dict[str, list[float]]


def alternate(
    runs: Mapping[str, Callable[[], object]], repeats: int = 20, warmup: int = 2
) -> Seconds:
    """Seconds of each run in each of `repeats` rounds, after `warmup` rounds that do not count."""
    seconds: Seconds = {name: [] for name in runs}
    for number in range(warmup + repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Seconds, name: str, baseline: str) -> float:
    """How many times as long as the baseline a run takes, median over rounds."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[baseline], strict=True))


def report(
    title: str,
    seconds: Seconds,
    baseline: str,
    facts: Mapping[str, object],
    *,
    columns: Mapping[str, Mapping[str, object]] | None = None,
    as_json: bool = False,
) -> None:
    """Print a table of the runs against the baseline and, if wanted, one JSON object after it.

    Parameters
    ----------
    title : str
        What is timed.
    seconds : mapping of str to list of float
        From :func:`alternate`.
    baseline : str
        The run the others are compared with.
    facts : mapping
        What else a reader needs, such as sizes and versions; ends up in the JSON object too.
    columns : mapping, optional
        What else the table and the JSON object say of each run, by the name of the column.
    as_json : bool
        With exactly one other run, the object has its ratio as ``ratio``; ``ratios`` has all.
    """
    facts = {
        **facts,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    ratios = {name: ratio(seconds, name, baseline) for name in seconds if name != baseline}
    columns = columns or {}
    header = ("run", "median ms", "fastest ms", "slowest ms", f"/ {baseline}")
    table = Table(
        *header, *(name.replace("_mb", " MB").replace("_", " ") for name in columns), title=title
    )
    for name, values in seconds.items():
        times = (statistics.median(values), min(values), max(values))
        table.add_row(
            name,
            *(f"{1e3 * t:.1f}" for t in times),
            f"{ratios.get(name, 1.0):.2f}",
            *(_short(column[name]) for column in columns.values()),
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(", ".join(f"{key}: {value}" for key, value in facts.items()), highlight=False)
    if as_json:
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        result: dict[str, object] = {
            "title": title,
            "baseline": baseline,
            "median_seconds": medians,
            "ratios": ratios,
            **columns,
            **facts,
        }
        if len(ratios) == 1:
            result["compared"], result["ratio"] = next(iter(ratios.items()))
        print(json.dumps(result))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
