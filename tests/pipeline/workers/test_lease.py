"""Heartbeats, and who may take whose job."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from pipeline.database import connection as connections
from pipeline.database.connection import Lost, ServerGoneError
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import set_priority
from pipeline.experiments.selection import Selection
from pipeline.workers import lease as leases
from pipeline.workers import populate, rounds
from pipeline.workers.lease import (
    GONE,
    HOLD,
    SILENT,
    Lease,
    WorkerLostError,
    living,
    put_back,
    release_lost,
)
from pipeline.workers.queues import Progress, Wanted
from predictive_model.scoring import reliability
from schemas import base, checkpoints, recording
from schemas import reliability as reliability_tables
from schemas.training import TrainedNetwork
from schemas.worker import Worker
from tests.tiny_experiment import job_states, plan

pytestmark = pytest.mark.database

NOBODY = 2**22 + 1  # a process number beyond those that Linux gives out
OTHER = 1 << 61  # in whose name the other worker reserves
SESSIONS, LISTENING = dict(leases._SESSION), leases._listening


@pytest.fixture
def job(database: Database) -> Any:
    """The queue of a table with one job, pending."""
    plan()
    jobs = reliability_tables.Reliability().jobs
    jobs.refresh(delay=-1)
    return jobs


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.05)


@contextlib.contextmanager
def another(
    settings: Settings, jobs: Any, *, silence: float, space: str = "elsewhere", pid: int = 1
) -> Iterator[Any]:
    """A worker on another machine that has reserved the job and was heard so long ago."""
    session = psycopg2.connect(settings.database)
    session.autocommit = True
    workers = Worker().full_table_name
    with contextlib.closing(session), session.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        past = "CURRENT_TIMESTAMP(3) - INTERVAL '1 hour'"
        cursor.execute(
            f"INSERT INTO {workers} VALUES ({OTHER}, 'host', %s, %s, 'cpu', 'other', %s, {past}, "
            f"CURRENT_TIMESTAMP(3) - INTERVAL '{silence} seconds')",
            (pid, space, session.info.backend_pid),
        )
        cursor.execute(
            f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = {OTHER}, "
            "reserved_time = CURRENT_TIMESTAMP(3)"
        )
        yield session


@pytest.fixture(autouse=True)
def _old_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """As though server and sessions had been there for long: young ones give workers time."""
    monkeypatch.setattr(leases, "_listening", lambda connection: 1e6)
    began = "a.backend_start::timestamp"
    old = SESSIONS["postgresql"].replace(began, f"{began} - INTERVAL '1 day'")
    monkeypatch.setitem(leases._SESSION, "postgresql", old)


def gone(database: Database, session: Any) -> None:
    """Close a session, and wait until the server has noticed."""
    pid = session.info.backend_pid
    session.close()
    deadline = time.monotonic() + 10
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    while database.connection.query(query, (pid,)).fetchone()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_is_listed_for_as_long_as_it_lives(
    database: Database, quick: None, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    with Lease(database.connection, device="cpu", on_beat=alive.touch):
        (one,) = living(database.connection)
        assert (one["host"], one["device"]) == (platform.node(), "cpu")
        first = Worker.fetch1("beat")
        deadline = time.monotonic() + 10
        while Worker.fetch1("beat") == first or not alive.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert len(Worker()) == 0
    assert living(database.connection) == []


def test_workers_that_nobody_gave_up_are_forgotten_after_a_day(
    database: Database, settings: Settings, job: Any
) -> None:
    with another(settings, job, silence=25 * 3600), Lease(database.connection):
        assert Worker.fetch1("host") == platform.node()


def test_a_worker_goes_on_beating_where_its_file_cannot_be_touched(
    database: Database, quick: None
) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    with Lease(database.connection, on_beat=full):
        for _ in range(2):
            before = Worker.fetch1("beat")
            deadline = time.monotonic() + 10
            while Worker.fetch1("beat") == before:
                assert time.monotonic() < deadline
                time.sleep(0.02)


@pytest.mark.parametrize("silence", [0.0, SILENT - 5])
def test_a_worker_that_was_heard_keeps_its_job(
    database: Database, settings: Settings, job: Any, silence: float
) -> None:
    with another(settings, job, silence=silence):
        assert release_lost(job) == 0
        assert job_states(reliability_tables.Reliability) == ["reserved"]


def test_a_worker_that_lost_its_session_is_given_time_to_come_back(
    database: Database, settings: Settings, job: Any
) -> None:
    with another(settings, job, silence=GONE - 5) as session:
        gone(database, session)
        assert release_lost(job) == 0


def test_a_worker_without_a_session_and_silent_loses_its_job(
    database: Database, settings: Settings, job: Any
) -> None:
    with another(settings, job, silence=GONE + 1) as session:
        gone(database, session)
        assert release_lost(job) == 1
    assert job_states(reliability_tables.Reliability) == ["pending"]
    assert len(Worker()) == 0


def test_a_dead_process_on_this_machine_loses_its_job_at_once(
    database: Database, settings: Settings, job: Any
) -> None:
    with another(settings, job, silence=0, space=leases._pid_space(), pid=NOBODY) as session:
        gone(database, session)
        assert release_lost(job) == 1


def test_a_process_of_another_container_is_not_looked_for_in_this_one(
    database: Database, settings: Settings, job: Any
) -> None:
    """Containers may have one host name, and each its own process 1."""
    with another(settings, job, silence=0, space="boot-of-this-machine 1", pid=NOBODY) as session:
        gone(database, session)
        assert release_lost(job) == 0


def test_a_later_session_of_the_same_number_is_not_the_dead_workers(
    database: Database, settings: Settings, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(leases._SESSION, "postgresql", SESSIONS["postgresql"])
    with another(settings, job, silence=GONE + 1) as session:
        assert release_lost(job) == 1
        with session.cursor() as cursor:
            cursor.execute("SELECT 1")  # nor was it ended in its place


def test_a_machine_that_hangs_loses_job_and_session(
    database: Database, settings: Settings, job: Any
) -> None:
    with another(settings, job, silence=SILENT + 1) as session:
        assert release_lost(job) == 1
        assert job_states(reliability_tables.Reliability) == ["pending"]
        with pytest.raises(psycopg2.Error), session.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_a_server_that_was_down_blames_nobody_for_silence(
    database: Database, settings: Settings, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_listening", LISTENING)
    uptime = "SELECT EXTRACT(EPOCH FROM CURRENT_TIMESTAMP - pg_postmaster_start_time())"
    up = float(database.connection.query(uptime).fetchone()[0])
    monkeypatch.setattr(database.connection, "connected_at", time.monotonic() - 1e6)
    assert leases._listening(database.connection) == pytest.approx(up, abs=5)
    monkeypatch.setattr(leases, "_listening", lambda connection: GONE - 5)
    with another(settings, job, silence=600) as session:
        gone(database, session)
        assert release_lost(job) == 0


def test_a_worker_that_was_cut_off_with_others_gives_them_time_to_come_back(
    database: Database, settings: Settings, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were silent for as long as nobody could be heard."""
    monkeypatch.setattr(leases, "_listening", LISTENING)
    with another(settings, job, silence=600) as session:
        gone(database, session)
        database.connection._conn.close()
        assert len(recording.Scan()) == 1  # reconnects
        assert release_lost(job) == 0


def test_a_worker_heard_while_others_were_about_to_give_it_up_keeps_its_job(
    database: Database, settings: Settings, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another(settings, job, silence=SILENT + 1) as session:
        real = leases._listening

        def beats_meanwhile(connection: Any) -> float:
            with session.cursor() as cursor:
                cursor.execute(f"UPDATE {Worker().full_table_name} SET beat = now()")
            return real(connection)

        monkeypatch.setattr(leases, "_listening", beats_meanwhile)
        assert release_lost(job) == 0
        assert job_states(reliability_tables.Reliability) == ["reserved"]


def test_one_who_was_given_up_writes_nothing_and_computes_no_longer(
    database: Database, job: Any, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job goes to another in the middle of the computation; then this one goes on waiting."""
    given_away = threading.Event()
    real = reliability.reliability

    def slow(*args: Any, **kwargs: Any) -> Any:
        if not given_away.is_set():
            given_away.set()
            with contextlib.closing(psycopg2.connect(database.settings.database)) as other:
                other.autocommit = True
                with other.cursor() as cursor:
                    cursor.execute(f"DELETE FROM {Worker().full_table_name}")
                    cursor.execute(
                        f"UPDATE {job.full_table_name} SET connection_id = 999999999, "
                        "status = 'reserved', reserved_time = CURRENT_TIMESTAMP(3)"
                    )
        return real(*args, **kwargs)

    monkeypatch.setattr(reliability, "reliability", slow)
    looks = iter(range(3))
    with populate.working() as lease:
        result = populate.PopulateResult()
        wanted = Wanted(reliability_tables.Reliability())
        populate.populate_table(
            wanted, result, lambda p: None, lambda: next(looks, None) is not None, lease
        )
    assert given_away.is_set()
    assert result.failures == []
    assert job_states(reliability_tables.Reliability) != ["error"], (
        "it is no longer this worker's to say"
    )


def test_a_lost_session_keeps_its_reserved_job(database: Database, job: Any) -> None:
    """Or another worker would take the computation of a live one for lost."""
    connection = database.connection
    with Lease(connection):
        worker = connection.connection_id
        key = recording.Scan.fetch1("KEY")
        assert job.reserve(key)
        old = connection.session
        connection._conn.close()
        assert len(recording.Scan()) == 1  # reconnects
        assert connection.session != old
        assert Worker.fetch1("worker", "session") == (worker, connection.session)
        assert job.reserved.to_dicts()[0]["connection_id"] == worker
        put_back(job)
        assert job_states(reliability_tables.Reliability) == ["pending"]
    assert connection.connection_id == connection.session


def test_a_session_of_the_number_of_another_does_not_touch_its_job(
    database: Database, settings: Settings, job: Any
) -> None:
    """Numbers of sessions come again when a server was restarted."""
    with (
        another(settings, job, silence=0) as session,
        Lease(database.connection),
        populate.working() as lease,
    ):
        database.connection.session = session.info.backend_pid
        put_back(job)
        database.connection._conn.close()
        assert len(recording.Scan()) == 1  # reconnects
        assert job.reserved.to_dicts()[0]["connection_id"] == OTHER
        with lease.computing(job), pytest.raises(WorkerLostError), database.connection.transaction:
            pass  # the job that is reserved is not this worker's


def lose_session_at(
    database: Database, monkeypatch: pytest.MonkeyPatch, statement: str, *, after: bool
) -> list[str]:
    """The first such statement loses its session, before the server has heard it or after."""
    real, lost = database.connection._execute_query, []

    def cut(cursor: Any, query: str, *args: Any) -> Any:
        hit = not lost and query.lstrip().startswith(statement)
        if hit:
            lost.append(query)
            if after:
                real(cursor, query, *args)
            with (
                contextlib.closing(psycopg2.connect(database.settings.database)) as other,
                other.cursor() as ending,
            ):
                ending.execute(
                    "SELECT pg_terminate_backend(%s, 5000)", (database.connection.session,)
                )
            if after:
                cursor.execute("SELECT 1")  # fails: the answer was lost
        return real(cursor, query, *args)

    monkeypatch.setattr(database.connection, "_execute_query", cut)
    return lost


# What the worker says to the queue, its name in place of the braces, and to the server.
MOMENTS = {
    "it reserves": 'UPDATE {} SET "status"=%s',
    "it makes sure of the reservation": "SELECT 1 FROM {}",
    "it commits": "COMMIT",
    "the job is done": "DELETE FROM {}",
}


@pytest.mark.parametrize("after", [False, True], ids=["unheard", "answer lost"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_session_lost_at_the_worst_moment_costs_no_key_and_ends_no_worker(
    database: Database, job: Any, monkeypatch: pytest.MonkeyPatch, moment: str, after: bool
) -> None:
    table, result = reliability_tables.Reliability(), populate.PopulateResult()
    statement = MOMENTS[moment].format(job.full_table_name)
    with populate.working() as lease:
        lost = lose_session_at(database, monkeypatch, statement, after=after)
        populate.populate_table(Wanted(table), result, lambda p: None, lambda: True, lease)
    assert lost
    assert result.failures == []
    assert len(table) == 1
    assert len(job) == 0


def test_a_query_that_loses_its_session_again_and_again_is_an_error_at_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = 0

    def cut(*args: Any) -> None:
        nonlocal losses
        losses += 1
        database.connection._conn.close()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(database.connection, "_execute_query", cut)
    monkeypatch.setattr(connections, "_FIRST_WAIT", 0.0)
    with pytest.raises(Lost, match="10 times"):
        database.connection.query("SELECT 1")
    assert losses == 10
    monkeypatch.undo()
    assert database.connection.query("SELECT 1").fetchone() == (1,)


def test_a_worker_waits_until_it_is_heard_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HOLD", 0.2)
    with Lease(database.connection) as lease:
        lease.check()
        lease._heard = time.monotonic() - 1
        waited = threading.Thread(target=lease.check, daemon=True)
        waited.start()
        waited.join(0.5)
        assert waited.is_alive(), "nobody has heard it"
        lease._heard = time.monotonic() + 10
        waited.join(5)
        assert not waited.is_alive()
        lease._given_up.set()
        with pytest.raises(WorkerLostError):
            lease.check()
        lease.renew()
        lease.check()


def test_a_worker_that_nobody_hears_waits_as_long_as_for_any_lost_server(
    database: Database,
) -> None:
    now = 1000.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    lease = Lease(database.connection, clock=lambda: now, sleep=sleep)
    now += HOLD
    lease.check()
    assert now == 1000 + HOLD, "it was heard within that time"
    now += 1
    with pytest.raises(ServerGoneError, match="not there for 180 s .* resume from their checkpo"):
        lease.check()
    assert now == pytest.approx(1000 + HOLD + 1 + connections.PATIENCE, abs=0.2)
    # Nobody waits another three minutes to write down that it was in vain.
    database.connection._conn.close()
    database.connection.address = database.connection.address.model_copy(update={"port": 1})
    began = time.monotonic()
    with pytest.raises(ServerGoneError):
        put_back(reliability_tables.Reliability().jobs)
    assert time.monotonic() - began < 60
    database.connection.address = database.settings.server_address


def test_a_row_whose_session_is_lost_each_time_is_a_failure_in_the_end(
    database: Database, job: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As by a server that ends sessions too soon: it would be computed for ever."""
    real, computed = reliability_tables.Reliability.make_insert, []

    def cut(self: Any, *args: Any) -> None:
        computed.append(args[0])
        database.connection._conn.close()
        real(self, *args)

    monkeypatch.setattr(reliability_tables.Reliability, "make_insert", cut)
    result = populate.PopulateResult()
    with populate.working() as lease:
        wanted = Wanted(reliability_tables.Reliability())
        populate.populate_table(wanted, result, lambda p: None, lambda: True, lease)
    assert len(computed) == populate.LOSSES
    (failure,) = result.failures
    assert "was lost 5 times while the row was inserted" in failure.message
    assert populate.failures() == [failure]
    assert [r.message for r in caplog.records if "time 2 of 5" in r.message]
    populate.populate()
    assert populate.failures() == [failure], "nor does another worker take it up unasked"


def test_urgent_experiments_are_computed_first(database: Database) -> None:
    plan("usual", seeds=(0,), epochs=1)
    plan("urgent", seeds=(1,), epochs=2)
    set_priority("urgent", "smoke", 1)
    order: list[tuple[str, list[int]]] = []

    def note(progress: Progress) -> None:
        order.append((progress.table, sorted(TrainedNetwork.to_arrays("seed"))))

    populate.populate(on_progress=note)
    # All of the urgent one, up to its scores, before the first network of the other.
    assert order.index(("NoiseAccuracy", [1])) < order.index(("TrainedNetwork", [0, 1]))


def test_work_that_becomes_urgent_goes_before_what_is_under_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOOK", 0.0)
    plan("usual", seeds=(0, 1, 2))
    plan("late", seeds=(7,))
    after_two: list[int] = []

    def hurry(progress: Progress) -> None:
        if progress.table == "TrainedNetwork":
            seeds = TrainedNetwork.to_arrays("seed").tolist()
            if len(seeds) == 1:
                set_priority("late", "smoke", 0)
            if len(seeds) == 2:
                after_two.extend(seeds)

    populate.populate(on_progress=hurry)
    assert 7 in after_two


def test_work_that_became_ready_goes_before_less_urgent_that_is_under_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fit that the urgent networks wait for is with another worker for a while."""
    monkeypatch.setattr(rounds, "LOOK", 0.0)
    plan("usual", seeds=(0, 1, 2), teachers=("none",))
    plan("urgent", seeds=(7,), teachers=("none",))
    set_priority("urgent", "smoke", 1)
    populate.populate(Selection("urgent"))
    (TrainedNetwork & {"seed": 7}).delete(prompt=False, part_integrity="cascade")
    jobs = TrainedNetwork().jobs
    jobs.refresh(delay=-1)
    mine = f"UPDATE {jobs.full_table_name} SET status = %s WHERE seed = 7"
    database.connection.query(mine, ("ignore",))
    order: list[int] = []

    def note(progress: Progress) -> None:
        if progress.table == "TrainedNetwork":
            order.extend(set(TrainedNetwork.to_arrays("seed").tolist()) - set(order))
            database.connection.query(mine, ("pending",))  # its inputs are there now

    populate.populate(on_progress=note)
    assert order[1] == 7


def test_a_store_that_cannot_be_listed_ends_no_worker(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError("the bucket is busy")

    plan()
    monkeypatch.setattr(checkpoints, "remove_finished_checkpoints", refuse)
    assert populate.populate().computed["Reliability"] == 1
    assert [r.message for r in caplog.records if "the bucket is busy" in r.message] == [
        "checkpoints of what is finished were left in the store: the bucket is busy"
    ]


def test_forever_waits_for_more_work(database: Database, settings: Settings) -> None:
    looks = iter(range(60))
    added = False

    def keep_going() -> bool:
        nonlocal added
        n = next(looks, None)
        if n is not None and n > 5 and not added:
            added = True
            plan()
        return n is not None

    computed = populate.populate(forever=True, keep_going=keep_going).computed
    assert computed["Reliability"] == 1
    with open_database(settings):
        assert len(base.schema.connection.query("SELECT 1").fetchall()) == 1
