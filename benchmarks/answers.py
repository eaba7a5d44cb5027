"""How fast questions are answered, beside what starting their libraries takes.

python -m benchmarks.answers [--networks 10000] [--epochs 10] [--runs 5] [--json]

Whole commands as processes of their own, on an embedded database that is running, in turn with
their peer: ``import datajoint`` for what opens the database, ``import typer, rich`` for ``--help``.
Networks are rows without weights: nothing was trained.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.database.connection import Connection
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings, load_settings

SEEDS, TEACHERS, LEVELS = 5, 20, 9
DATAJOINT = [sys.executable, "-c", "import datajoint"]
TYPER = [sys.executable, "-c", "import typer, rich"]
NEUROTEACH = [sys.executable, "-P", "-m", "pipeline.cli.main"]


# Starts a command and says its seconds and peak memory. A process begins with the memory of the one
# that starts it, so that a small one has to.
MEASURE = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
said = process.stderr.read()
_, status, usage = os.wait4(process.pid, 0)
if status:
    sys.exit(said.decode())
print(time.perf_counter() - started, usage.ru_maxrss / 1024)
"""


def run(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *command],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    seconds, mebibytes = map(float, done.stdout.split())
    return seconds, mebibytes


def beside(
    command: list[str], peer: list[str], environment: dict[str, str], runs: int
) -> dict[str, float]:
    """Medians of a command and its peer, in turn, and of the ratio of each pair."""
    for each in (command, peer):
        run(each, environment)
    pairs = [(run(command, environment), run(peer, environment)) for _ in range(runs)]
    return {
        "seconds": statistics.median(ours[0] for ours, _ in pairs),
        "peer": statistics.median(theirs[0] for _, theirs in pairs),
        "ratio": statistics.median(ours[0] / theirs[0] for ours, theirs in pairs),
        "MiB": max(ours[1] for ours, _ in pairs),
    }


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """Statements that are sent meanwhile."""
    sent: list[str] = []
    query = Connection.query

    def counting(self: Connection, *args: Any, **kwargs: Any) -> Any:
        sent.append(str(args[0]))
        return query(self, *args, **kwargs)

    Connection.query = counting  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        Connection.query = query  # type: ignore[method-assign]


def fill(database: Database, networks: int, epochs: int) -> None:
    """Rows of networks, epochs and noise, as if they had been computed."""
    from regularized_training.networks.config import NetworkConfig as NetworkSettings
    from regularized_training.teachers.config import TeacherConfig as TeacherSettings
    from regularized_training.training_config import TrainingConfig as TrainingSettings
    from schemas import teacher_plan, training
    from schemas.base import Stopwatch
    from schemas.evaluations.noise import NoiseAccuracy
    from schemas.experiment import Seed
    from schemas.teaching import Teacher

    connection, empty = database.connection, json.dumps({"shape": [0], "dtype": "uint8"})
    made = Stopwatch().provenance()
    Seed.insert([{"seed": seed} for seed in range(SEEDS)])
    connection.query(
        f"INSERT INTO {training.ImageSet.full_table_name} VALUES "
        f"('images', 1, 1, 1, 1, 1, '[\"a\", \"b\"]', '', '', %s, %s, %s, %s)",
        (empty,) * 4,
    )
    group = teacher_plan.ScanGroup.add([])
    assert NoiseAccuracy.settings is not None
    noise = NoiseAccuracy.settings.row(NoiseAccuracy.settings.load()())
    NoiseAccuracy.Config.insert1(noise)
    network = training.NetworkConfig.row(NetworkSettings())
    training.NetworkConfig.insert1(network)
    teachers = [
        teacher_plan.TeacherConfig.row(TeacherSettings(kind="shuffle", seed=seed))
        for seed in range(TEACHERS)
    ]
    teacher_plan.TeacherConfig.insert(teachers)
    Teacher.insert(
        [{"teacher_hash": t["teacher_hash"], "scan_group": group, **made} for t in teachers],
        allow_direct_insert=True,
    )
    n_trainings = -(-networks // (TEACHERS * SEEDS))
    training.TrainingConfig.insert(
        [
            training.TrainingConfig.row(
                TrainingSettings(epochs=epochs, regularizer={"alpha": 1 + place})  # type: ignore[arg-type]
            )
            for place in range(n_trainings)
        ]
    )
    names = ", ".join(made)
    values = ", ".join(["%s"] * len(made))
    trained = training.TrainedNetwork.full_table_name
    connection.query(
        f"INSERT INTO {trained} (image_set, network_hash, teacher_hash, scan_group, "
        f"training_hash, seed, test_accuracy, layers, weights, {names}) "
        f"SELECT 'images', %s, teacher_hash, scan_group, training_hash, seed, 0.5, '[]', %s, "
        f"{values} FROM {Teacher.full_table_name} CROSS JOIN "
        f"{training.TrainingConfig.full_table_name} CROSS JOIN {Seed.full_table_name}",
        (network["network_hash"], empty, *made.values()),
    )
    key = "image_set, network_hash, teacher_hash, scan_group, training_hash, seed"
    connection.query(
        f"INSERT INTO {training.TrainedNetwork.Epoch.full_table_name} ({key}, epoch, task_loss, "
        f"train_accuracy, test_loss, test_accuracy, learning_rate, layer_weights, seconds) "
        f"SELECT {key}, e, 1, random(), 1, random(), 0.1, '[]', 1 "
        f"FROM {trained} CROSS JOIN generate_series(0, {epochs - 1}) AS e"
    )
    few = f"(SELECT * FROM {trained} ORDER BY {key} LIMIT {networks // 2}) AS few"
    connection.query(
        f"INSERT INTO {NoiseAccuracy.full_table_name} ({key}, noise_hash, n_images, {names}) "
        f"SELECT {key}, %s, 1000, {values} FROM {few}",
        (noise["noise_hash"], *made.values()),
    )
    connection.query(
        f"INSERT INTO {NoiseAccuracy.Level.full_table_name} ({key}, noise_hash, level_index, "
        f"level, accuracy, confidence, calibration_error) SELECT {key}, noise_hash, i, i * 0.1, "
        f"random(), random(), random() FROM {NoiseAccuracy.full_table_name} "
        f"CROSS JOIN generate_series(0, {LEVELS - 1}) AS i"
    )
    connection.query("ANALYZE")


def statements(settings: Settings) -> dict[str, int]:
    """Statements to open the database, and for ``status`` altogether."""
    from pipeline.experiments.selection import ALL
    from pipeline.workers.status import status

    with counted() as sent, open_database(settings):
        n_open = len(sent)
        status(ALL)
        return {"open": n_open, "status": len(sent)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="nt-"))
    repository = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "NEUROTEACH_HOME": str(home), "PYTHONPATH": repository}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every second start has what was compiled
    settings = load_settings({"NEUROTEACH_HOME": str(home), "NEUROTEACH_DEVICE": "cpu"})
    found: dict[str, Any] = {}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run([*NEUROTEACH, "database", "start"], environment)
            with open_database(settings):
                pass
            found["statements"] = statements(settings)
        for name in ("status", "results noise", "query Scan", "experiment list"):
            command = [*NEUROTEACH, *name.split()]
            found[f"{name}, empty"] = beside(command, DATAJOINT, environment, options.runs)
        found["--help"] = beside([*NEUROTEACH, "--help"], TYPER, environment, options.runs)
        with open_database(settings) as database:
            fill(database, options.networks, options.epochs)
        for name in ("status", "results accuracy", "results noise"):
            command = [*NEUROTEACH, *name.split(), *(["--format", "csv"] if " " in name else [])]
            found[f"{name}, {options.networks} networks"] = beside(
                command, DATAJOINT, environment, options.runs
            )
    finally:
        run([*NEUROTEACH, "database", "stop", "--force"], environment)
        shutil.rmtree(home, ignore_errors=True)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"statements: {found.pop('statements')}")
    for name, row in found.items():
        print(
            f"{name:<34}{row['seconds']:>7.2f} s, peer {row['peer']:.2f} s, ratio "
            f"{row['ratio']:.2f}, {row['MiB']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
