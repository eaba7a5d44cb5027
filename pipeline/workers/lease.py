"""Who computes what: heartbeats, and the jobs of workers that died.

A worker reserves jobs in the name of a number that it drew, and holds one for as long as it beats.
One that falls silent loses it to another: after ``GONE`` if its database session has ended too,
else after ``SILENT``. Before that, after ``HOLD``, it stops at the next line of progress until it
is heard again, for as long as any lost server is waited for. It cannot write any more once it was
given up: a worker makes sure of its reservation in the transaction that inserts its row. So a job
is never inserted twice, and computed by two at once at most from one line of progress of a worker
that nobody hears to the next.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from pipeline.database.connection import Connection, open_session
from schemas import base
from schemas.worker import Worker

log = logging.getLogger("neuroteach")

BEAT = 8.0  # seconds between heartbeats
GONE = 20.0  # seconds of silence after which a worker without a session is given up
SILENT = 40.0  # the same for one whose session is there, as of a machine that hangs
HOLD = 15.0  # seconds without an answer after which a worker stops until it is heard again


class WorkerLostError(BaseException):
    """This worker was taken for dead and its job given to another.

    Not an `Exception`, so that DataJoint does not report it as a failure of a job that is no
    longer this worker's.
    """


class Lease:
    """Keeps this process's reservations for as long as it is in use; see the module.

    Parameters
    ----------
    connection : Connection
        In whose session jobs are reserved.
    device : str
        For people who look at the workers.
    on_beat : callable
        Called after each heartbeat that was heard.
    clock, sleep : callable
        By which the worker waits until it is heard again.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        device: str = "cpu",
        on_beat: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._device = device
        self._on_beat = on_beat
        self._jobs: str | None = None  # queue whose job is being computed
        self._given_up = threading.Event()
        self._ended = threading.Event()
        self._clock, self._sleep = clock, sleep
        self._heard = clock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        self._register()
        self._connection.on_reconnect = self._say_which_session
        self._connection.before_commit = self._require_reservation
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._connection.on_reconnect = lambda connection: None
        self._connection.before_commit = lambda connection: None
        with contextlib.suppress(Exception):  # others will see that we are gone
            (Worker & {"worker": self._connection.worker}).delete_quick()
        self._connection.worker = None

    def check(self) -> None:
        """Wait if the database has not answered for long; raise if this worker was given up.

        Raises
        ------
        WorkerLostError
        ServerGoneError
            If it was waited for in vain, for as long as the connection waits for a lost server.
        """
        asked = self._clock()
        while self._clock() - self._heard > HOLD and not self._given_up.is_set():
            if self._clock() - asked > self._connection.patience:
                raise self._connection.give_up("no heartbeat of this worker was heard")
            self._sleep(0.1)
        if self._given_up.is_set():
            raise WorkerLostError("this worker was silent for so long that its job was given away")

    def renew(self) -> None:
        """Begin anew after having been given up."""
        self._register()
        self._given_up.clear()

    @contextlib.contextmanager
    def computing(self, jobs: Any) -> Iterator[None]:
        """While in use, transactions commit only if a job of this queue is still reserved."""
        if self._given_up.is_set():
            self.renew()
        self._jobs = jobs.full_table_name
        try:
            yield
        finally:
            self._jobs = None

    def _register(self) -> None:
        connection, table = self._connection, Worker().full_table_name
        now = "CURRENT_TIMESTAMP(3)"
        # Killed without a job, so that nobody had a reason to give them up.
        yesterday = f"{now} + {connection.adapter.interval_expr(-1, 'day')}"
        connection.query(f"DELETE FROM {table} WHERE beat < {yesterday}")
        names = ("worker", "host", "pid", "pid_space", "device", "user", "session")
        columns = ", ".join(
            connection.adapter.quote_identifier(name) for name in (*names, "started", "beat")
        )
        values = (
            platform.node()[:255],
            os.getpid(),
            _pid_space(),
            base.describe_device(self._device),
            connection.get_user()[:128],
        )
        # Above what a server gives its sessions, and below what a job has room for.
        worker = secrets.randbits(62) | 1 << 61
        statement = (
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(names))}, {now}, "
            f"{now})"
        )
        self._heard = self._clock()
        # It is there already if only the answer was lost, and the query was executed again.
        with contextlib.suppress(base.dj.errors.DuplicateError):
            connection.query(statement, (worker, *values, connection.session))
        connection.worker = worker
        self._say_which_session(connection)

    # ------------------------------------------------------------------------- in the other thread

    def _beat(self) -> None:
        wait = BEAT
        while not self._ended.wait(wait):
            asked = self._clock()
            try:
                heard = self._touch()
            except Exception as error:
                log.debug("heartbeat: %s", error)
                wait = 1.0
                continue
            wait = BEAT
            if heard:
                self._heard = asked
                try:
                    self._on_beat()
                except OSError as error:  # a full disk here must not cost the job
                    log.warning("heartbeat: %s", error)
            else:
                self._given_up.set()

    def _touch(self) -> bool:
        """Beat once, in a session of its own: the other may be in a transaction or lost."""
        connection = self._connection
        session = open_session(connection.address, connection.adapter)
        with contextlib.closing(session), session.cursor() as cursor:
            cursor.execute(
                f"UPDATE {Worker().full_table_name} SET beat = CURRENT_TIMESTAMP(3) "
                "WHERE worker = %s",
                (connection.worker,),
            )
            return bool(cursor.rowcount)

    # ------------------------------------------------------------------------------- reservations

    def _say_which_session(self, connection: Connection) -> None:
        """Others look whether the session is there; unless they have given this worker up."""
        kept = connection.query(
            f"UPDATE {Worker().full_table_name} SET session = %s, beat = CURRENT_TIMESTAMP(3) "
            "WHERE worker = %s",
            (connection.session, connection.worker),
        )
        if kept.rowcount:
            return
        if self._jobs is None:  # nothing was reserved
            self.renew()
        else:
            self._given_up.set()
            raise WorkerLostError("this worker was away for so long that its job was given away")

    def _require_reservation(self, connection: Connection) -> None:
        """Hold the reservation until the row is there, or find that it was given away."""
        if self._jobs is None:
            return
        held = connection.query(
            f"SELECT 1 FROM {self._jobs} WHERE status = 'reserved' AND connection_id = %s "
            "FOR UPDATE",
            (connection.connection_id,),
        ).fetchall()
        if not held:
            raise WorkerLostError("this job was given to another worker")


def put_back(jobs: Any) -> None:
    """Make pending what this process has reserved and does not compute any more."""
    connection = jobs.connection
    connection.query(
        f"UPDATE {jobs.full_table_name} SET status = 'pending' "
        "WHERE status = 'reserved' AND connection_id = %s",
        (connection.connection_id,),
    )


def release_lost(jobs: Any) -> int:
    """Make the jobs pending again whose worker is dead; returns how many."""
    connection, name = jobs.connection, jobs.full_table_name
    workers, backend = Worker().full_table_name, jobs.connection.adapter.backend
    rows = connection.query(
        f"SELECT j.connection_id, j.reserved_time, w.worker, w.pid, w.pid_space, w.beat, "
        f"COALESCE(w.session, j.connection_id), {_SILENCE[backend]}, {_SESSION[backend]} "
        f"FROM {name} j LEFT JOIN {workers} w ON w.worker = j.connection_id "
        "WHERE j.status = 'reserved' AND j.connection_id <> %s",
        (connection.connection_id,),
    ).fetchall()
    if not rows:
        return 0
    listening = _listening(connection)
    released = 0
    for number, reserved, worker, pid, space, beat, session, silence, alive in rows:
        if worker is None:
            # One that was given up, or not one of ours, as of a script that calls DataJoint's
            # populate: those reserve in the name of their session.
            dead = not alive
        elif not alive and space == _pid_space() and not psutil.pid_exists(pid):
            dead = True
        else:
            dead = min(float(silence), listening) > (SILENT if alive else GONE)
        if not dead:
            continue
        if worker is not None:
            gone = connection.query(
                f"DELETE FROM {workers} WHERE worker = %s AND beat = %s", (worker, beat)
            )
            if not gone.rowcount:
                continue  # it beat meanwhile, or another has given it up
            if alive:
                _end_session(connection, session)
        released += connection.query(
            f"UPDATE {name} SET status = 'pending' "
            "WHERE status = 'reserved' AND connection_id = %s AND reserved_time = %s",
            (number, reserved),
        ).rowcount
    return released


def living(connection: Connection) -> list[dict[str, Any]]:
    """Workers that were heard of lately: their rows, and how many seconds ago that was."""
    names = ("worker", "host", "pid", "device", "user", "started")
    columns = ", ".join(f"w.{connection.adapter.quote_identifier(name)}" for name in names)
    rows = connection.query(
        f"SELECT {columns}, {_SILENCE[connection.adapter.backend]} AS silence FROM "
        f"{Worker().full_table_name} w ORDER BY w.started",
        as_dict=True,
    )
    return [row for row in rows if row["silence"] <= SILENT]


# Seconds since the last heartbeat, and whether the session is there in whose name a job is reserved
# or that its worker had at its last heartbeat. Of other people's sessions the server may not say
# when they began.
_SILENCE = {
    "postgresql": "EXTRACT(EPOCH FROM CURRENT_TIMESTAMP(3)::timestamp - w.beat)",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, w.beat, CURRENT_TIMESTAMP(3)) / 1e6",
}
_SESSION = {
    "postgresql": (
        "EXISTS (SELECT 1 FROM pg_stat_activity a WHERE "
        "a.pid = COALESCE(w.session, j.connection_id) AND (a.backend_start IS NULL "
        "OR a.backend_start::timestamp <= COALESCE(w.beat, j.reserved_time)))"
    ),
    "mysql": (
        "EXISTS (SELECT 1 FROM information_schema.processlist p "
        "WHERE p.id = COALESCE(w.session, j.connection_id))"
    ),
}


def _pid_space() -> str:
    """Where a process number means one process: this machine since it started, this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not on Linux
        return platform.node()[:64]


def _listening(connection: Connection) -> float:
    """Seconds for which a living worker would have been heard.

    A server that was down heard nobody; and whoever just came back may have been cut off from it
    together with others.
    """
    here = time.monotonic() - connection.connected_at
    if connection.adapter.backend == "postgresql":
        started = "EXTRACT(EPOCH FROM CURRENT_TIMESTAMP - pg_postmaster_start_time())"
        uptime = connection.query(f"SELECT {started}").fetchone()[0]
    else:
        uptime = connection.query("SHOW GLOBAL STATUS LIKE 'Uptime'").fetchone()[1]
    return min(float(uptime), here)


def _end_session(connection: Connection, session: int) -> None:
    """End the session of a worker that hangs, if we may: should it wake, it begins anew."""
    statement = {"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}
    with contextlib.suppress(Exception):
        connection.query(statement[connection.adapter.backend], (session,))
