"""Eight workers and two hundred keys; six processes and a clean start."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.database.embedded import EmbeddedPostgres
from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from pipeline.workers import populate, queues
from schemas import tables as registry
from schemas.base import dj
from tests.tiny_experiment import REPOSITORY

WORK = 0.1  # seconds of computing for each key
FORK = multiprocessing.get_context("fork")


def declare(connection: Any, name: str) -> tuple[Any, Any]:
    """A table of numbers, and one that takes a while to compute from it and counts who did."""
    schema = dj.Schema(name, connection=connection)

    class Number(dj.Manual):
        definition = """
            number : int32
        """

    class Computation(dj.Manual):
        definition = """
            number  : int32
            pid     : int32
            at      : float64
        """

    class Slow(dj.Computed):
        definition = """
            -> Number
            ---
            pid : int32
        """

        def make(self, key: dict[str, Any]) -> None:
            ends = time.process_time() + WORK
            while time.process_time() < ends:
                pass
            Computation.insert1({**key, "pid": os.getpid(), "at": time.time()})
            self.insert1({**key, "pid": os.getpid()})

    for table in (Number, Computation):
        schema(table)
    schema(Slow, context={"Number": Number})
    return Number, Slow, Computation


def fill(settings: Settings, name: str, barrier: Any, answers: Any) -> None:
    try:
        registry.deactivate()
        with open_database(settings) as database:
            number, slow, _ = declare(database.connection, name)
            wanted = queues.Wanted(slow(), (number.proj(),))
            with populate.working() as lease:
                barrier.wait()
                started = time.monotonic()
                result = populate.PopulateResult()
                populate.populate_table(wanted, result, lambda p: None, lambda: True, lease)
                answers.put((sum(result.computed.values()), time.monotonic() - started))
    except BaseException:
        answers.put(traceback.format_exc())
    os._exit(0)


def run(settings: Settings, n_workers: int, n_keys: int, name: str) -> tuple[float, list[int]]:
    """Seconds that some workers take for some keys, and how many each computed."""
    with open_database(settings) as database:
        number, slow, computation = declare(database.connection, name)
        number.insert({"number": i} for i in range(n_keys))
        slow().jobs.refresh(delay=-1)
    barrier, answers = FORK.Barrier(n_workers), FORK.SimpleQueue()
    processes = [
        FORK.Process(target=fill, args=(settings, name, barrier, answers)) for _ in range(n_workers)
    ]
    for process in processes:
        process.start()
    found = [answers.get() for _ in processes]
    failed = [answer for answer in found if isinstance(answer, str)]
    assert not failed, failed[0]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    with open_database(settings) as database:
        _, slow, computation = declare(database.connection, name)
        assert len(slow()) == len(computation()) == n_keys
        assert sorted(computation.to_arrays("number")) == list(range(n_keys))
        assert len(slow().jobs) == 0
        database.connection.query(f'DROP SCHEMA "{name}" CASCADE')
    return max(seconds for _, seconds in found), [n for n, _ in found]


def test_eight_workers_compute_two_hundred_keys_once_each(
    settings: Settings, report: Callable[..., None]
) -> None:
    cores = min(psutil.cpu_count(logical=True) or 1, 8)
    alone, _ = run(settings, 1, 40, f"{settings.schema_name}_one")
    together, shares = run(settings, 8, 200, f"{settings.schema_name}_many")
    linear = (200 / together) / (cores * 40 / alone)
    overhead = 1e3 * (together * cores / 200 - WORK)
    assert all(shares), "everyone had some"
    report(
        "8 workers, 200 keys",
        "each computed once; at least 0.8 of linear up to the cores at hand; at most 15 ms a key",
        f"each once; {linear:.2f} of linear on {cores} cores; {overhead:.1f} ms a key, one worker "
        f"alone {1e3 * (alone / 40 - WORK):.1f} ms",
    )


def test_six_processes_race_a_clean_start(tmp_path: Path, report: Callable[..., None]) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("NEUROTEACH_")},
        "NEUROTEACH_HOME": str(tmp_path / "home"),
        "NEUROTEACH_DEVICE": "cpu",
    }
    command = [sys.executable, "-m", "pipeline.cli.main", "status", "--format", "json"]
    racers = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    said = [racer.communicate(timeout=300) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 6, said
    rows = [json.loads(out) for out, _ in said]
    assert all(row == rows[0] for row in rows)
    assert not any("Traceback" in err for _, err in said)
    server = EmbeddedPostgres(tmp_path / "home" / "database")
    data = [folder.name for folder in server.root.glob("pg*") if folder.is_dir()]
    assert len(data) == 1, "one server was made"
    assert not server.running(), "whoever was last has stopped it"
    report(
        "clean start raced by 6 processes", "one server, no crash", "6 of 6 ended well; 1 server"
    )


def test_a_clean_start_killed_at_any_moment_can_be_made_again(
    tmp_path: Path, report: Callable[..., None]
) -> None:
    settings = Settings(
        home=tmp_path,
        database=f"embedded:{tmp_path / 'database'}",
        store=tmp_path / "store",
        device="cpu",
    )

    def start() -> None:
        registry.deactivate()
        with open_database(settings):
            os._exit(0)

    for i in range(8):
        starter = FORK.Process(target=start)
        starter.start()
        starter.join(0.25 + 0.3 * i)
        starter.kill()
        starter.join()
    try:
        with open_database(settings, any_version=True) as database:
            tables = registry.all_tables()
            assert all(len(table()) >= 0 for table in tables)
            assert database.connection.query("SELECT 1").fetchone() == (1,)
    except Exception as error:
        pytest.fail(f"not to be mended: {error}")
    finally:
        EmbeddedPostgres(tmp_path / "database").stop(force=True)
    report("kill -9 in the middle of a first start, 8 times", "the next one succeeds", "it does")
