"""kill -9 at any moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from pipeline.workers.populate import populate
from schemas import tables as registry
from schemas import training
from schemas.encoding import FittedEncoder
from schemas.worker import Worker
from tests.faults.conftest import contents, damaged, wait_until
from tests.tiny_experiment import job_states, plan

KILLS = 20


def plan_some() -> None:
    plan(
        teachers=("none", "neural_model", "neural_data", "shuffle"),
        seeds=(0, 1, 2),
        epochs=3,
        fit={"max_epochs": 6, "patience": 6},
    )


def masters_without_parts() -> int:
    networks = training.TrainedNetwork()
    return len(networks - training.TrainedNetwork.Epoch.proj())


def test_a_worker_killed_at_twenty_moments_leaves_what_an_undisturbed_one_would(
    new_settings: Callable[[Path], Settings],
    workers: Callable[..., Any],
    report: Callable[..., None],
    tmp_path: Path,
) -> None:
    undisturbed, disturbed = new_settings(tmp_path / "a"), new_settings(tmp_path / "b")
    with open_database(undisturbed):
        plan_some()
        started = time.monotonic()
        assert populate().failures == []
        duration = time.monotonic() - started
    with open_database(disturbed):
        plan_some()

    moments = random.Random(0)
    killed_at_work, rows = 0, []
    for _ in range(KILLS):
        worker = workers(disturbed)
        # Long enough to get somewhere in the first place, short enough not to be done too soon.
        ended = worker.wait(0.3 + moments.uniform(0, 1.6 * duration / KILLS + 0.5))
        killed_at_work += ended is None
        worker.kill()
        with open_database(disturbed):
            assert masters_without_parts() == 0
            rows.append(sum(len(table()) for table in registry.computed_tables()))
    assert rows == sorted(rows), "no row was lost"
    last = workers(disturbed)
    assert last.wait(120) == 0, last.said()

    expected, found = contents(undisturbed), contents(disturbed)
    for table in expected:
        assert found[table] == expected[table], table
    with open_database(disturbed) as database:
        assert all(len(table().jobs) == 0 for table in registry.computed_tables())
        assert damaged(database) == []
    report(
        f"kill -9 of a worker at {KILLS} random moments of a populate",
        "no half rows, no lost or double keys, tables as of an undisturbed run",
        f"{killed_at_work} of {KILLS} kills came at work; {sum(map(len, expected.values()))} rows "
        "in all tables, arrays and weights equal to the bit",
    )


def test_a_dead_workers_job_is_taken_up_from_its_checkpoint_within_a_minute(
    settings: Settings, workers: Callable[..., Any], report: Callable[..., None]
) -> None:
    n = 2000
    with open_database(settings) as database:
        plan(fit={"max_epochs": n, "patience": n})
        first = workers(settings)
        wait_until(lambda: any(settings.checkpoints.glob("FittedEncoder_*.pt")))
        first.kill()
        # So that nobody can see that the process is gone.
        name = Worker().full_table_name
        database.connection.query(f"UPDATE {name} SET pid_space = 'elsewhere'")
        started = time.monotonic()
        second = workers(settings)
        jobs = FittedEncoder().jobs
        wait_until(lambda: second.process.pid in jobs.reserved.to_arrays("pid"), 90)
        waited = time.monotonic() - started
        assert job_states(FittedEncoder) == ["reserved"]
        second.kill()
        database.connection.query(f'DROP SCHEMA "{settings.schema_name}" CASCADE')
    assert waited < 60
    report(
        "a worker dies on another machine",
        "its job is taken up within a minute, from its last checkpoint in the store",
        f"after {waited:.0f} s",
    )
