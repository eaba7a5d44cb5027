"""What is planned, done, waiting, being computed and failed, asked of all tables at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.experiments.selection import Selection
from schemas import base, tables
from schemas.base import Computed

# What DataJoint reports of a worker that was told to stop, or whose server was gone when the row
# was to be inserted: it says nothing of the computation.
SERVER_LOST = ("LostConnectionError", "ServerGoneError")
STOPPED = ("SystemExit%SIGTERM%", "KeyboardInterrupt%", *(f"{name}%" for name in SERVER_LOST))


@dataclass(frozen=True)
class Wanted:
    """A computed table, with what restricts it to some experiments; nothing if to none.

    Keep the instance: each one has a job queue of its own.
    """

    table: Computed
    restriction: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """Of the table."""
        return type(self.table).__name__

    @property
    def source(self) -> Any:
        """Keys that can be computed, or are."""
        return self.table.key_source & base.dj.AndList(self.restriction)

    @property
    def plan(self) -> Any:
        """Rows that say what experiments ask for."""
        return self.restriction[0] if self.restriction else type(self.table).planned({})

    @property
    def jobs(self) -> Any:
        """Its queue, as far as it is wanted."""
        if not self.restriction:
            return self.table.jobs
        return self.table.jobs.restrict(self.source.proj(), semantic_check=False)


@dataclass(frozen=True)
class Progress:
    """How far a table is.

    Attributes
    ----------
    table : str
    done, total : int
        Rows there are, and rows that are planned, also where their inputs are not there yet.
    reserved, failed : int
        Being computed, and failed.
    """

    table: str
    done: int
    total: int
    reserved: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Failure:
    """A computation that failed."""

    table: str
    key: dict[str, Any]
    message: str


@dataclass(frozen=True)
class Reserved:
    """A key that a worker is computing."""

    table: str
    key: dict[str, Any]
    worker: int
    since: datetime


def wanted(selection: Selection) -> list[Wanted]:
    """Computed tables in their order, restricted to what some experiments ask for."""
    everything = selection.everything
    return [
        Wanted(table(), () if everything else (table.planned(selection.experiments),))
        for table in tables.computed_tables()
    ]


def progress(asked: Sequence[Wanted]) -> list[Progress]:
    """How far tables are, by one statement."""
    counts: list[Any] = []
    for one in asked:
        # An encoder that was imported is ready, and no experiment planned it.
        plan, source = one.plan, one.source
        names = [name for name in one.table.primary_key if name in plan.heading.names]
        waiting = (base.dj.U(*names) & plan) - source.proj()
        counts += [source & one.table.proj(), source, waiting]
        counts += [one.jobs & f"status = '{state}'" for state in ("reserved", "error")]
    numbers = iter(count_all(asked[0].table.connection, counts)) if asked else iter(())
    found = []
    for one in asked:
        done, ready, waits, reserved, failed = (next(numbers) for _ in range(5))
        found.append(Progress(one.name, done, ready + waits, reserved, failed))
    return found


def count_all(connection: Any, queries: Sequence[Any]) -> list[int]:
    """Numbers of rows of several queries, in one statement."""
    if not queries:
        return []
    counted = ", ".join(
        f"(SELECT COUNT(*) FROM (SELECT DISTINCT * FROM ({query.proj().make_sql()}) AS a) AS b)"
        for query in queries
    )
    return [int(n) for n in connection.query(f"SELECT {counted}").fetchone()]


def signature(connection: Any) -> tuple[Any, ...]:
    """What changes whenever a job, or what jobs are made of, does."""
    quote = connection.adapter.quote_identifier
    states = [
        f"SELECT '{table.__name__}' AS name, CAST({quote('status')} AS CHAR(16)) AS state, "
        f"COUNT(*) AS n FROM {table().jobs.full_table_name} GROUP BY {quote('status')}"
        for table in tables.queued_tables()
    ]
    given = [
        f"SELECT '{table.__name__}' AS name, '' AS state, COUNT(*) AS n "
        f"FROM {table().full_table_name}"
        for table in tables.all_tables()
        if issubclass(table, base.dj.Manual) and not issubclass(table, base.RunningState)
    ]
    rows = connection.query(" UNION ALL ".join([*states, *given])).fetchall()
    return tuple(sorted(tuple(row) for row in rows))


def any_job(asked: Sequence[Wanted], states: str) -> bool:
    """Whether there is a job in some states, by one statement."""
    counts = [one.jobs & f"status IN ({states})" for one in asked]
    return bool(asked) and any(count_all(asked[0].table.connection, counts))


def failures(asked: Sequence[Wanted]) -> list[Failure]:
    """Computations that failed and wait to be tried again."""
    return [
        Failure(one.name, {n: job[n] for n in one.table.primary_key}, job["error_message"])
        for one, jobs in in_state(asked, "error")
        for job in jobs.proj("error_message").to_dicts()
    ]


def reserved(asked: Sequence[Wanted]) -> list[Reserved]:
    """Keys that are being computed."""
    return [
        Reserved(
            one.name,
            {n: job[n] for n in one.table.primary_key},
            job["connection_id"],
            job["reserved_time"],
        )
        for one, jobs in in_state(asked, "reserved")
        for job in jobs.proj("connection_id", "reserved_time").to_dicts()
    ]


def in_state(asked: Sequence[Wanted], state: str) -> Iterator[tuple[Wanted, Any]]:
    """Tables that have jobs in a state, with these."""
    if not asked:
        return
    jobs = [one.jobs & f"status = '{state}'" for one in asked]
    numbers = count_all(asked[0].table.connection, jobs)
    yield from ((one, some) for one, some, n in zip(asked, jobs, numbers, strict=True) if n)
