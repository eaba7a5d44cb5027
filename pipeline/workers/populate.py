"""Compute what is planned and missing, alone or beside other workers, and survive their deaths."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.database.connection import Lost, ServerGoneError, one_line
from pipeline.experiments.selection import ALL, Selection
from pipeline.workers import queues
from pipeline.workers.lease import Lease, WorkerLostError, put_back, release_lost
from pipeline.workers.queues import SERVER_LOST, STOPPED, Failure, Progress, Wanted
from pipeline.workers.rounds import LOOK, Rounds, Turn
from schemas import base, checkpoints, tables

log = logging.getLogger("neuroteach")

WAIT = 1.0  # seconds between looks at what others are computing
PROGRESS_AGE = 1.0  # seconds for which what others compute is left out of the progress
LOSSES = 5  # times that a worker computes a key whose row it could not insert for want of a session


@dataclass
class PopulateResult:
    """What a call of :func:`populate` did."""

    computed: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)  # of sessions, by table and key


def populate(
    selection: Selection = ALL,
    *,
    forever: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    keep_going: Callable[[], bool] = lambda: True,
) -> PopulateResult:
    """Compute all that is planned and missing, in the order in which results build on each other.

    Each key is reserved in the database first, so any number of processes may do this at once.
    Keys that a dead worker had reserved are taken up again. Experiments of a lower priority
    number come first. Returns when nothing is left to do, waiting for what others compute as long
    as more may come of it.

    Parameters
    ----------
    selection : Selection
        Only what these experiments need.
    forever : bool
        Do not return, but wait for more to be planned.
    on_progress : callable
        Called after each computed key.
    keep_going : callable
        Asked before each key; False ends the work early.

    Returns
    -------
    PopulateResult
        Failed keys are not tried again until :func:`retry_failures`.

    Raises
    ------
    LookupError
        If there is no such experiment.
    """
    base.require_active()
    base.code_version()  # now, before the files can change under a long computation
    result = PopulateResult()
    rounds = Rounds(selection)
    connection = base.schema.connection
    for one in rounds.all_tables:
        tables.forget_vanished(one.table)
    with working() as lease:
        while keep_going():
            before = queues.signature(connection)
            computed = 0
            for place, asked in enumerate(rounds.tables()):
                turn = Turn(result.computed, keep_going, rounds, ends=place > 0)
                for one in asked:
                    if not turn.is_over():
                        populate_table(one, result, on_progress, turn.goes_on, lease)
                computed = turn.computed
                if computed or rounds.have_changed():
                    break  # the most urgent may go on now
            if computed:
                _remove_finished_checkpoints()
            elif not rounds.have_changed() and queues.signature(connection) == before:
                # Nothing is ready, and nothing has become so meanwhile.
                if not forever and not others_at_work(rounds.all_tables):
                    break
                _wait_for_change(connection, before, rounds, keep_going)
    return result


def _wait_for_change(
    connection: Any, before: Any, rounds: Rounds, keep_going: Callable[[], bool]
) -> None:
    """Until something was computed, planned or given up by others; asks little meanwhile."""
    looked = time.monotonic()
    while keep_going() and not rounds.have_changed():
        _wait(WAIT, keep_going)
        if queues.signature(connection) != before:
            return
        if time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            at_work = queues.in_state(rounds.all_tables, "reserved")
            if any(release_lost(one.table.jobs) for one, _ in at_work):
                return


def _remove_finished_checkpoints() -> None:
    """As far as the store lets us: what cannot be listed now is removed another time."""
    try:
        checkpoints.remove_finished_checkpoints(tables.queued_tables())
    except Lost:
        raise
    except Exception as error:  # each store has its own
        _warn(f"checkpoints of what is finished were left in the store: {one_line(error)}")


@functools.cache
def _warn(line: str) -> None:
    """Once for each line, however often it comes."""
    log.warning("%s", line)


@contextlib.contextmanager
def working() -> Iterator[Lease]:
    """A lease on the jobs that this process reserves."""
    computing = base.computing()
    report = computing.progress

    def beat() -> None:
        if computing.alive is not None:
            computing.alive.parent.mkdir(parents=True, exist_ok=True)
            computing.alive.touch()

    with Lease(base.schema.connection, device=computing.device, on_beat=beat) as lease:

        def still_ours(line: str) -> None:
            lease.check()
            report(line)

        base.configure(progress=still_ours)
        try:
            yield lease
        finally:
            base.configure(progress=report)


def _wait(seconds: float, keep_going: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while keep_going() and time.monotonic() < deadline:
        time.sleep(0.2)


def populate_table(
    wanted: Wanted,
    result: PopulateResult,
    on_progress: Callable[[Progress], None],
    keep_going: Callable[[], bool],
    lease: Lease,
) -> int:
    """Compute all that is pending of one table, and say how much that was.

    Parameters
    ----------
    wanted : Wanted
    result : PopulateResult
        To which counts and failures are added.
    on_progress, keep_going : callable
        As :func:`populate` takes them.
    lease : Lease
        On the jobs that are reserved.
    """
    table, computed = wanted.table, 0
    shown = _Shown(wanted, on_progress)
    release_lost_jobs(table)
    _queue_missing(wanted)
    while keep_going():
        outcome = _one_key(wanted, lease)
        lost = [key for key, error in outcome["error_list"] if error.startswith(SERVER_LOST)]
        if lost:
            _try_again(wanted, lost, result)
        done = outcome["success_count"]
        computed += done
        result.computed[wanted.name] = result.computed.get(wanted.name, 0) + done
        result.failures += [
            Failure(wanted.name, dict(key), str(message))
            for key, message in outcome["error_list"]
            if key not in lost
        ]
        if done:
            shown.one_more()
        elif not outcome["error_list"]:
            put_back(table.jobs)  # the answer may have been lost, so that nobody would compute it
            if not queues.any_job([wanted], "'pending'"):
                break  # nothing was pending; had another worker been quicker, we would look again
    return computed


def _try_again(wanted: Wanted, keys: Sequence[Mapping[str, Any]], result: PopulateResult) -> None:
    """Make keys pending whose session was lost at the end; a failure of those that it meets often.

    Else a server that ends each session too soon would have them computed for ever.
    """
    release_lost_jobs(wanted.table)
    for key in keys:
        name = f"{wanted.name} {dict(key)}"
        result.losses[name] += 1
        n = result.losses[name]
        log.warning("%s: the connection was lost, time %d of %d", name, n, LOSSES)
        if n >= LOSSES and key not in wanted.table:
            message = (
                f"DatabaseError: the connection was lost {n} times while the row was inserted; see "
                "in the server's log why it ends sessions, then `neuroteach populate --retry`"
            )
            wanted.table.jobs.error(key, message)
            result.failures.append(Failure(wanted.name, dict(key), message))


def _one_key(wanted: Wanted, lease: Lease) -> dict[str, Any]:
    """What DataJoint's populate came to with one key, if there was any.

    One key at a time, so that progress shows and a request to stop is heard.
    """
    table = wanted.table
    nothing: dict[str, Any] = {"success_count": 0, "error_list": []}
    try:
        with lease.computing(table.jobs):
            outcome: dict[str, Any] = table.populate(
                *wanted.restriction,
                reserve_jobs=True,
                suppress_errors=True,
                max_calls=1,
                refresh=False,
            )
        if any(str(error).startswith("KeyboardInterrupt") for _, error in outcome["error_list"]):
            raise KeyboardInterrupt  # which DataJoint takes for an error of this key alone
        for _, error in outcome["error_list"]:
            if str(error).startswith("ServerGoneError: "):
                release_lost_jobs(table)
                raise ServerGoneError(str(error).removeprefix("ServerGoneError: "))
    except (SystemExit, KeyboardInterrupt):
        _abandon(table)
        release_lost_jobs(table)
        raise
    except ServerGoneError:
        raise
    except Lost as error:  # while the row was being committed, which it may have been or not
        keys = _abandon(table)
        return nothing | {"error_list": [(key, f"LostConnectionError: {error}") for key in keys]}
    except WorkerLostError:
        _abandon(table)
        lease.renew()
        return nothing
    outcome["error_list"] = [(key, str(error)) for key, error in outcome["error_list"]]
    return outcome


class _Shown:
    """Reports progress; counting takes as long as all else that is asked of the database."""

    def __init__(self, wanted: Wanted, on_progress: Callable[[Progress], None]) -> None:
        self._wanted, self._report = wanted, on_progress
        self._far: Progress | None = None
        self._looked = 0.0

    def one_more(self) -> None:
        if self._far is None or time.monotonic() - self._looked > PROGRESS_AGE:
            (self._far,), self._looked = queues.progress([self._wanted]), time.monotonic()
        else:
            self._far = replace(self._far, done=min(self._far.done + 1, self._far.total))
        self._report(self._far)


def _abandon(table: Any) -> list[dict[str, Any]]:
    """Undo and put back what this process was about to write; returns the keys."""
    connection = table.connection
    if connection.in_transaction:
        connection.cancel_transaction()
    mine = {"status": "reserved", "connection_id": connection.connection_id}
    keys: list[dict[str, Any]] = (table.jobs & mine).keys()
    put_back(table.jobs)
    return keys


def _queue_missing(wanted: Wanted) -> None:
    """Add jobs for missing keys in one statement; ``jobs.refresh`` takes one for each key."""
    table, jobs = wanted.table, wanted.table.jobs
    missing = wanted.source - table.proj()
    keys = missing.restrict(base.dj.Not(jobs), semantic_check=False).proj().keys()
    if keys:
        connection = table.connection
        # A second ago, so that no rounding puts it into the future.
        interval = connection.adapter.interval_expr(-1, "second")
        (due,) = connection.query(f"SELECT CURRENT_TIMESTAMP(3) + {interval}").fetchone()
        priority = connection._config.jobs.default_priority
        job = {"status": "pending", "priority": priority, "scheduled_time": due}
        jobs.insert([{**k, **job} for k in keys], skip_duplicates=True, ignore_extra_fields=True)


def compute(key: dict[str, Any], table: type[base.Computed]) -> None:
    """Compute one key now, reserved like any other; nothing, if its row is there.

    What another worker computes is waited for, and what failed before is tried again.

    Raises
    ------
    LookupError
        If what it is computed from is not there.
    RuntimeError
        If it failed.
    """
    result = PopulateResult()
    wanted = Wanted(table(), ((table().key_source & key).proj(),))
    _retry(wanted)
    told = False
    with working() as lease:
        while True:
            populate_table(wanted, result, lambda progress: None, lambda: True, lease)
            failed = result.failures or queues.failures([wanted])
            if failed:
                raise RuntimeError(f"{table.__name__}: {failed[0].message.splitlines()[0]}")
            if wanted.table & key:
                return
            if not queues.any_job([wanted], "'reserved', 'pending'"):
                raise LookupError(f"{table.__name__}: {key} cannot be computed from what is there")
            if not told:
                log.warning("%s is being computed by another worker; waiting", table.__name__)
                told = True
            time.sleep(WAIT)


def progress(selection: Selection = ALL) -> list[Progress]:
    """How far each computed table is."""
    base.require_active()
    return queues.progress(queues.wanted(selection))


def failures(selection: Selection = ALL) -> list[Failure]:
    """Computations that failed and wait to be tried again."""
    base.require_active()
    return queues.failures(queues.wanted(selection))


def others_at_work(asked: Sequence[Wanted]) -> bool:
    """Whether anything is reserved or pending in tables."""
    for one, _ in queues.in_state(asked, "reserved"):
        release_lost_jobs(one.table)
    return queues.any_job(asked, "'reserved', 'pending'")


def release_lost_jobs(table: Any) -> None:
    """Make the jobs pending again whose worker is gone or was told to stop."""
    release_lost(table.jobs)
    like = " OR ".join(["error_message LIKE %s"] * len(STOPPED))
    table.connection.query(
        f"UPDATE {table.jobs.full_table_name} SET status = 'pending' "
        f"WHERE status = 'error' AND ({like})",
        STOPPED,
    )


def retry_failures(selection: Selection = ALL) -> int:
    """Make failed computations pending again; returns how many."""
    base.require_active()
    return sum(_retry(one) for one in queues.wanted(selection))


def _retry(wanted: Wanted) -> int:
    failed = wanted.jobs & "status = 'error'"
    done = wanted.table.connection.query(
        f"UPDATE {wanted.table.jobs.full_table_name} SET status = 'pending'{failed.where_clause()}"
    )
    return int(done.rowcount)


def until_orphaned() -> Callable[[], bool]:
    """True for as long as the process that started this one lives."""
    parent = os.getppid()
    return lambda: os.getppid() == parent
