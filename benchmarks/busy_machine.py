"""Images per second of the demo's network, alone and beside processes that keep cores busy.

python -m benchmarks.busy_machine [--rounds 7] [--seconds 3] [--json]

The peer is the same training with OpenMP as it comes, whose threads spin while they wait for one
another: on cores that others want too, one spins while the other is not let in. Each side is a
process of its own, since OpenMP reads its settings once; both take turns of a few seconds in each
of the situations, and each round compares a side with itself when nothing else ran.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.table import Table

from predictive_model.threads import WAITING

EXPERIMENT = Path(__file__).resolve().parents[1] / "experiments" / "demo.toml"
BARS = {1: 0.45, 2: 0.3}  # of its own quiet speed, by the number of busy processes
QUIET_BAR = 0.97  # of the peer's quiet speed: nothing is lost
OURS, PEER = "neuroteach", "as OpenMP comes"
# OpenMP's own behaviour, as far as a variable can ask for it: what a person has set stays.
DEFAULTS: dict[str, dict[str, str]] = {OURS: {}, PEER: {"GOMP_SPINCOUNT": "300000"}}

Speeds = dict[int, list[float]]  # of each round, by the number of busy processes


class Side:
    """A process that trains for some seconds whenever it is asked to."""

    def __init__(self, variables: dict[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in WAITING}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.busy_machine", "--side"],
            env=inherited | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def images_per_second(self, seconds: float) -> float:
        """Train for so long."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(seconds, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def train_when_asked() -> None:
    """Answer each number of seconds on standard input with the images per second of a training."""
    from pipeline.experiments.file import read_experiment
    from regularized_training.tasks.image_files import digits
    from regularized_training.training import Training

    settings, task = read_experiment(EXPERIMENT, "small"), digits()
    alone = settings.training.model_copy(update={"regularizer": None})
    training = Training(task, settings.network, alone, seed=0)
    epochs = count()
    for line in sys.stdin:
        n, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < float(line):
            for images, labels in training.task_batches(next(epochs)):
                training.step(images, labels, 0.01)
                n += len(labels)
                if time.perf_counter() - began > float(line):
                    break
        print(n / spent, flush=True)


@contextmanager
def busy(n: int) -> Iterator[None]:
    """Processes that each want a core, while in use."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(
    sides: dict[str, Side], rounds: int, seconds: float
) -> dict[str, dict[int, list[float]]]:
    """Images per second of each side and number of busy processes, in each round."""
    found: dict[str, Speeds] = {s: {n: [] for n in (0, *BARS)} for s in sides}
    for side in sides.values():
        side.images_per_second(seconds)  # the first is slower
    for _ in range(rounds):
        for n in (0, *BARS):
            with busy(n):
                for name, side in sides.items():
                    found[name][n].append(side.images_per_second(seconds))
    return found


def kept(speeds: Speeds, n: int) -> float:
    """Fraction of its own quiet speed, median over rounds."""
    return statistics.median(a / b for a, b in zip(speeds[n], speeds[0], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument(
        "--spin", type=int, action="append", default=[], help="another GOMP_SPINCOUNT to compare"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        train_when_asked()
        return
    variables = DEFAULTS | {f"spin {n}": {"GOMP_SPINCOUNT": str(n)} for n in args.spin}
    load = os.getloadavg()[0]
    sides = {name: Side(given) for name, given in variables.items()}
    try:
        found = measure(sides, args.rounds, args.seconds)
    finally:
        for side in sides.values():
            side.end()
    report(found, load, args)


def report(found: dict[str, Speeds], load: float, args: argparse.Namespace) -> None:
    quiet = {
        name: statistics.median(a / b for a, b in zip(s[0], found[PEER][0], strict=True))
        for name, s in found.items()
    }
    table = Table(
        "run", "quiet, images/s", "/ peer", *(f"beside {n} busy" for n in BARS), title="Training"
    )
    for name, speeds in found.items():
        table.add_row(
            name,
            f"{statistics.median(speeds[0]):.0f}",
            f"{quiet[name]:.2f}",
            *(f"{statistics.median(speeds[n]):.0f} ({kept(speeds, n):.2f})" for n in BARS),
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    bars = ", ".join(f"{bar} beside {n}" for n, bar in BARS.items())
    console.print(f"expected: {bars}; {QUIET_BAR} of the peer when quiet; load before: {load:.1f}")
    if args.json:
        result = {
            "title": "the demo's network on a busy machine",
            "compared": OURS,
            "baseline": PEER,
            "images_per_second": {
                name: {str(n): statistics.median(v) for n, v in s.items()}
                for name, s in found.items()
            },
            "kept": {n: {str(b): kept(s, b) for b in BARS} for n, s in found.items()},
            "quiet_ratio": quiet[OURS],
            "bars": {str(n): bar for n, bar in BARS.items()} | {"quiet": QUIET_BAR},
            "load_before": load,
            "cores": os.cpu_count(),
            "rounds": args.rounds,
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
