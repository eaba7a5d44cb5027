"""What workers ask of the database: little, however many tables and workers there are."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from pipeline.database.connection import Connection
from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.experiments.selection import ALL, Selection
from pipeline.workers import populate, queues
from pipeline.workers.queues import Progress
from schemas import reliability, tables
from tests.tiny_experiment import job_states, plan

pytestmark = pytest.mark.database

WAITED = 8.0  # seconds, more than between looks for dead workers


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments of all statements, of any session of this process."""
    moments: list[float] = []
    real = Connection.query

    def query(self: Any, *args: Any, **options: Any) -> Any:
        moments.append(time.monotonic())
        return real(self, *args, **options)

    monkeypatch.setattr(Connection, "query", query)
    return moments


def test_progress_of_all_tables_takes_one_statement(database: Database, asked: list[float]) -> None:
    plan(seeds=(0, 1))
    plan("other", seeds=(2,))
    for selection, networks in ((ALL, 3), (Selection("tiny"), 2), (Selection("other"), 1)):
        wanted = queues.wanted(selection)
        queues.progress(wanted)  # reads headings
        asked.clear()
        found = {p.table: p for p in queues.progress(wanted)}
        assert len(asked) == 1
        assert list(found) == [table.__name__ for table in tables.computed_tables()]
        assert found["TrainedNetwork"] == Progress("TrainedNetwork", 0, networks)
        assert found["FittedEncoder"] == Progress("FittedEncoder", 0, 1)


@pytest.mark.parametrize("selection", [ALL, Selection("tiny")])
def test_no_keys_are_searched_among_all_combinations(
    database: Database, selection: Selection
) -> None:
    """As a server plans that knows nothing of its tables yet, and takes each to have many rows."""
    plan()
    wanted = queues.wanted(selection)
    queues.progress(wanted)  # reads headings
    costs: list[float] = []
    real = Connection.query

    def query(self: Any, sql: str, *args: Any, **options: Any) -> Any:
        (described,) = real(self, f"EXPLAIN (FORMAT JSON) {sql}").fetchone()
        costs.append(described[0]["Plan"]["Total Cost"])
        return real(self, sql, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", query)
        queues.progress(wanted)
    assert 0 < max(costs) < 1e6


def test_counts_are_of_distinct_rows_and_nothing_is_asked_of_no_queries(
    database: Database, asked: list[float]
) -> None:
    plan()
    asked.clear()
    assert queues.count_all(database.connection, []) == []
    assert queues.progress([]) == [] and not queues.any_job([], "'pending'")
    assert asked == []


def test_a_signature_changes_with_jobs_and_plans_and_with_nothing_else(
    database: Database, asked: list[float]
) -> None:
    before = queues.signature(database.connection)
    asked.clear()
    assert queues.signature(database.connection) == before
    assert len(asked) == 1
    plan()
    planned = queues.signature(database.connection)
    assert planned != before
    reliability.Reliability().jobs.refresh(delay=-1)
    assert queues.signature(database.connection) != planned


def test_a_worker_that_waits_for_another_asks_little(
    database: Database, settings: Settings, asked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()
    jobs = reliability.Reliability().jobs
    jobs.refresh(delay=-1)
    begun: list[float] = []
    real = populate._wait_for_change

    def wait(*args: Any) -> None:
        begun.append(time.monotonic())
        real(*args)

    monkeypatch.setattr(populate, "_wait_for_change", wait)
    with closing(psycopg2.connect(settings.database)) as other:
        database.connection.query(
            f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = %s, "
            "reserved_time = CURRENT_TIMESTAMP",
            (other.info.backend_pid,),
        )
        computed = populate.populate(
            keep_going=lambda: not begun or time.monotonic() - begun[0] < WAITED
        ).computed
    assert computed["TrainedNetwork"] == 1 and computed["Reliability"] == 0
    assert job_states(reliability.Reliability) == ["reserved"]
    moments = [moment for moment in asked if begun[0] <= moment < begun[0] + WAITED]
    assert moments, "it looks now and then"
    # Looking for dead workers, every few seconds, counts too.
    assert max(sum(a <= b < a + 3 for b in moments) for a in moments) <= 3 * 5
