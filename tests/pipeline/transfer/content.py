"""What a database holds, to be compared; and what it is filled with."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.database.opening import Database, connect, open_database
from pipeline.database.settings import Settings
from pipeline.transfer import operations
from pipeline.transfer.objects import ObjectStore
from schemas import encoding, experiment, recording
from tests.tiny_experiment import plan

Made = Callable[[Path], Settings]  # what the fixtures new_settings and new_tables are
OWN = {"schema_version", "worker", "fit_progress", "training_progress"}  # of each database


def rows_by_table(connection: Any, settings: Settings) -> dict[str, list[str]]:
    """Every row as PostgreSQL writes it, its objects named as in a schema called X."""
    schema = settings.schema_name
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    names = {name for (name,) in connection.query(query, (schema,)) if name[0] != "~"}
    return {
        name: sorted(
            row.replace(schema, "X")
            for (row,) in connection.query(f'SELECT t::text FROM "{schema}"."{name}" AS t')
        )
        for name in names - OWN
    }


def objects_of(settings: Settings) -> dict[str, str]:
    """SHA-256 of every object, by its path in a schema called X."""
    root = settings.store_root()
    found = {}
    for path in ObjectStore(root).list_schema(settings.schema_name):
        name = path.replace(settings.schema_name, "X")
        found[name] = hashlib.sha256((root / path).read_bytes()).hexdigest()
    return found


def content_of(settings: Settings) -> tuple[dict[str, list[str]], dict[str, str]]:
    connection = connect(settings)
    try:
        return rows_by_table(connection, settings), objects_of(settings)
    finally:
        connection.close()


def n_rows(settings: Settings) -> int:
    return sum(map(len, content_of(settings)[0].values()))


def drop(settings: Settings) -> None:
    connection = connect(settings)
    try:
        connection.query(f'DROP SCHEMA IF EXISTS "{settings.schema_name}" CASCADE')
    finally:
        connection.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    with open_database(settings) as database:
        yield database


def fill() -> None:
    """A planned experiment, with values that are hard to carry."""
    plan(teachers=("none", "neural_model"))
    recording.Scan.add_without_trials(
        "ab", 3, species="Ж 'q' \\ %s \"d\" \n\t", area="\u2028 視覚 🧠"
    )
    recording.Scan.add_without_trials("Za", 3)
    settings = {"none": None, "deep": [{"ß": [1.5, -0.0, 1e-300, 2**53 + 1, True, "\\u0041"]}]}
    experiment.Experiment.insert1(
        {
            "experiment": "hard",
            "scale": "smoke",
            "title": "",
            "settings": settings,
            "added": "2026-02-28 23:59:59",
        }
    )
    encoding.FitConfig.insert1(
        {
            "fit_hash": "short",
            "batch_size": -(2**31),
            "learning_rate": 5e-324,
            "max_epochs": 2**31 - 1,
            "n_scans": 0,
            "scans": [],
            "config": {"x": 0.1 + 0.2, "y": 1.7976931348623157e308},
        }
    )


def restore(settings: Settings, file: Path) -> Any:
    with opened(settings) as database:
        return operations.restore_database(database, file)


def altered(file: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(file.read_bytes())
    change(content)
    new = file.with_name("altered.zip")
    new.write_bytes(content)
    return new


def old_orphan(settings: Settings, section: str, name: str) -> str:
    path = f"{section}/{settings.schema_name}/{name}"
    file = Path(settings.store_root() / path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"nobody's")
    os.utime(file, (time.time() - 7200,) * 2)
    return path
