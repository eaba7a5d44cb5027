"""Compute what is planned and missing, alone or beside other workers, and survive their deaths."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.database.connection import Lost, ServerGoneError
from pipeline.experiments.planned import named
from pipeline.workers.lease import Lease, WorkerLostError, put_back, release_lost
from schemas import (
    analysis,
    base,
    encoding,
    prediction,
    recording,
    representation,
    robustness,
    stability,
    teaching,
    training,
)
from schemas import experiment as experiments

log = logging.getLogger("neuroteach")

WAIT = 1.0  # seconds between looks at what others are computing
LOOK = 5.0  # seconds between looks for new work, and for more urgent work
PROGRESS_AGE = 1.0  # seconds for which what others compute is left out of the progress

# What says which rows of a table are wanted.
PLANS = {
    recording.Reliability: encoding.FitPlan,
    encoding.SharedCore: encoding.FitPlan,
    encoding.FittedEncoder: encoding.FitPlan,
    prediction.EncoderScore: encoding.FitPlan,
    prediction.PredictedResponses: encoding.FitPlan,
    teaching.SimilarityQuality: encoding.FitPlan,
    stability.SimilarityStructure: encoding.FitPlan,
    stability.SimilarityStability: experiments.Experiment,
    teaching.Teacher: teaching.TeacherPlan,
    training.TrainedNetwork: training.TrainingPlan,
    analysis.SuperclassErrors: training.TrainingPlan,
    analysis.LayerActivations: analysis.ActivationPlan,
    robustness.NoiseAccuracy: robustness.NoisePlan,
    representation.LayerSimilarity: representation.RepresentationPlan,
    robustness.AdversarialDistance: robustness.AttackPlan,
    robustness.AttackChecks: robustness.AttackCheckPlan,
}

# Errors that say nothing of the computation: a worker was told to stop, or the database server was
# gone when the row was to be inserted.
_SERVER_LOST = (Lost.__name__, ServerGoneError.__name__)
_STOPPED = ("SystemExit%SIGTERM%", "KeyboardInterrupt%", *(f"{name}%" for name in _SERVER_LOST))


@dataclass(frozen=True)
class Failure:
    """A computation that failed."""

    table: str
    key: dict[str, Any]
    message: str


@dataclass(frozen=True)
class Progress:
    """How far a table is: `done` of `total` planned rows."""

    table: str
    done: int
    total: int


@dataclass
class PopulateResult:
    """What a call of :func:`populate` did."""

    computed: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def populate(
    *,
    experiment: str | None = None,
    scale: str | None = None,
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
    experiment, scale : str, optional
        Only what this experiment needs.
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
    result = PopulateResult()
    rounds = _Rounds(experiment, scale)
    with working() as lease:
        while keep_going():
            computed = 0
            for place, tables in enumerate(rounds.tables()):
                turn = _Turn(result, keep_going, rounds, ends=place > 0)
                for table, restriction in tables:
                    if not turn.is_over():
                        populate_table(table, restriction, result, on_progress, turn.goes_on, lease)
                computed = turn.computed
                if computed or rounds.have_changed():
                    break  # the most urgent may go on now
            _remove_finished_checkpoints()
            if not computed and not rounds.have_changed():
                if forever:
                    _wait(LOOK, keep_going)
                elif not others_at_work(rounds.all_tables):
                    break
                else:
                    time.sleep(WAIT)
    return result


def _remove_finished_checkpoints() -> None:
    """As far as the store lets us: what cannot be listed now is removed another time."""
    try:
        base.remove_finished_checkpoints()
    except Lost:
        raise
    except Exception as error:  # each store has its own
        _warn(f"checkpoints of what is finished were left in the store: {error}")


@functools.cache
def _warn(line: str) -> None:
    """Once for each line, however often it comes."""
    log.warning("%s", " ".join(line.split()))


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


class _Turn:
    """One pass over the tables; of all but the most urgent it ends soon after something was done.

    More urgent work may have become ready, as when another worker finished what it builds on.
    """

    def __init__(
        self, result: PopulateResult, keep_going: Callable[[], bool], rounds: _Rounds, *, ends: bool
    ) -> None:
        self._result, self._keep_going, self._rounds = result, keep_going, rounds
        self._ends = ends
        self._started, self._before = time.monotonic(), sum(result.computed.values())

    @property
    def computed(self) -> int:
        return sum(self._result.computed.values()) - self._before

    def is_over(self) -> bool:
        late = time.monotonic() - self._started > LOOK
        return (self._ends and late and self.computed > 0) or self._rounds.have_changed()

    def goes_on(self) -> bool:
        return self._keep_going() and not self.is_over()


class _Rounds:
    """Tables to fill, for the most urgent experiments first."""

    def __init__(self, experiment: str | None, scale: str | None) -> None:
        self._named = named(experiment, scale)
        self.all_tables = list(_tables(self._named))
        self._looked, self._known, self._changed = 0.0, _priorities(), False
        self._urgent: list[list[tuple[Any, list[Any]]]] | None = None

    def tables(self) -> list[list[tuple[Any, list[Any]]]]:
        """A list of tables with their restrictions for each priority; the last is of all."""
        if self._urgent is None or self.have_changed():
            self._known, self._changed = _priorities(), False
            levels = sorted({row["priority"] for row in self._known})[:-1]
            urgent = [] if self._named else levels
            of_level = [experiments.Experiment & f"priority <= {level}" for level in urgent]
            instances = [table for table, _ in self.all_tables]
            self._urgent = [
                [(table, [plan_of(type(table), asked.proj())]) for table in instances]
                for asked in of_level
            ]
        return [*self._urgent, self.all_tables]

    def have_changed(self) -> bool:
        """Whether there are other experiments or priorities since; looks now and then."""
        if self._named:
            return False
        if time.monotonic() - self._looked > LOOK:
            self._looked, now = time.monotonic(), _priorities()
            self._changed = now != self._known
        return self._changed


def _priorities() -> list[dict[str, Any]]:
    query = experiments.Experiment.proj("priority")
    return query.to_dicts(order_by=("experiment", "scale"))


def populate_table(
    table: Any,
    restriction: list[Any],
    result: PopulateResult,
    on_progress: Callable[[Progress], None],
    keep_going: Callable[[], bool],
    lease: Lease,
) -> int:
    """Compute all that is pending of one table, and say how much that was.

    Parameters
    ----------
    table : datajoint.Computed
    restriction : list
        Only the keys in this.
    result : PopulateResult
        To which counts and failures are added.
    on_progress, keep_going : callable
        As :func:`populate` takes them.
    lease : Lease
        On the jobs that are reserved.
    """
    release_lost_jobs(table)
    name, computed = type(table).__name__, 0
    far: Progress | None = None
    looked = 0.0
    _queue_missing(table, restriction)
    table.jobs.refresh(*restriction, delay=-1)
    while keep_going():
        # One key at a time, so that progress shows and a request to stop is heard.
        try:
            with lease.computing(table.jobs):
                outcome = table.populate(
                    *restriction,
                    reserve_jobs=True,
                    suppress_errors=True,
                    max_calls=1,
                    refresh=False,
                )
            if any(
                str(error).startswith("KeyboardInterrupt") for _, error in outcome["error_list"]
            ):
                raise KeyboardInterrupt  # which DataJoint takes for an error of this key alone
        except (SystemExit, KeyboardInterrupt):
            _abandon(table)
            release_lost_jobs(table)
            raise
        except ServerGoneError:
            raise
        except Lost:  # while the row was being committed, which it may have been or not
            _abandon(table)
            continue
        except WorkerLostError:
            _abandon(table)
            lease.renew()
            continue
        lost = [key for key, error in outcome["error_list"] if _server_was_lost(str(error))]
        if lost:
            release_lost_jobs(table)
        computed += outcome["success_count"]
        result.computed[name] = result.computed.get(name, 0) + outcome["success_count"]
        result.failures += [
            Failure(name, dict(key), str(message))
            for key, message in outcome["error_list"]
            if key not in lost
        ]
        if outcome["success_count"]:
            # Counting takes as long as all else that is asked of the database for a key.
            if far is None or time.monotonic() - looked > PROGRESS_AGE:
                far, looked = table_progress(table, restriction), time.monotonic()
            else:
                far = replace(far, done=min(far.done + 1, far.total))
            on_progress(far)
        elif not outcome["error_list"]:
            put_back(table.jobs)  # the answer may have been lost, so that nobody would compute it
            if not _any_job(table, restriction, "'pending'"):
                break  # nothing was pending; had another worker been quicker, we would look again
    return computed


def _abandon(table: Any) -> None:
    if table.connection.in_transaction:
        table.connection.cancel_transaction()
    put_back(table.jobs)


def _server_was_lost(message: str) -> bool:
    return message.startswith(_SERVER_LOST)


def _queue_missing(table: Any, restriction: list[Any]) -> None:
    """Add jobs for missing keys in one statement; ``jobs.refresh`` takes one for each key."""
    jobs, connection = table.jobs, table.connection
    missing = (table.key_source & base.dj.AndList(restriction)) - table.proj()
    keys = missing.restrict(base.dj.Not(jobs), semantic_check=False).proj().keys()
    if keys:
        # A second ago, so that no rounding puts it into the future.
        interval = connection.adapter.interval_expr(-1, "second")
        (due,) = connection.query(f"SELECT CURRENT_TIMESTAMP(3) + {interval}").fetchone()
        priority = connection._config.jobs.default_priority
        job = {"status": "pending", "priority": priority, "scheduled_time": due}
        jobs.insert([{**k, **job} for k in keys], skip_duplicates=True, ignore_extra_fields=True)


def _tables(restriction: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Computed tables in order, each with what restricts it to an experiment, if one is named.

    They are instances to keep: each new one reads its job queue's definition from the database,
    which takes longer than all queries of a key together.
    """
    for table in base.computed_tables():
        yield table(), [plan_of(table, restriction)] if restriction else []


def plan_of(table: type[Any], restriction: Any) -> Any:
    """Rows that say which of a table are wanted, by some experiments or by any."""
    plan = PLANS[table] & restriction
    if table is encoding.SharedCore:
        return plan & (encoding.FitConfig & "n_scans > 0")
    if table is analysis.SuperclassErrors:
        return plan & training.Superclasses.proj()  # not of all images there are any
    if table is stability.SimilarityStability:
        return plan & encoding.FitPlan.proj()  # of experiments that fit an encoder
    if table is prediction.PredictedResponses:
        # Encoders that were imported are in no plan of fits, but may be asked for by a teacher.
        members = (teaching.TeacherPlan & restriction) * teaching.ScanGroup.Member
        scans, seeds = recording.Scan.proj(), experiments.Seed.proj()
        encoders = scans * encoding.EncoderConfig.proj() * encoding.FitConfig.proj() * seeds
        return encoders & [plan, members]
    return plan


def progress(experiment: str | None = None, scale: str | None = None) -> list[Progress]:
    """How far each computed table is."""
    base.require_active()
    return [table_progress(table, r) for table, r in _tables(named(experiment, scale))]


def table_progress(table: Any, restriction: list[Any]) -> Progress:
    """How far one table is. Rows count as planned also where their inputs are not there yet."""
    source = table.key_source & base.dj.AndList(restriction)
    todo = len(source - table.proj())
    ready = len(source)
    plan: Any = restriction[0] if restriction else plan_of(type(table), {})
    names = [name for name in table.primary_key if name in plan.heading.names]
    # An encoder that was imported is ready, and no experiment planned it.
    waiting = len((base.dj.U(*names) & plan) - source.proj())
    return Progress(type(table).__name__, ready - todo, ready + waiting)


def _any_job(table: Any, restriction: list[Any], states: str) -> bool:
    return bool(len(_restricted(table.jobs & f"status IN ({states})", table, restriction)))


def _restricted(jobs: Any, table: Any, restriction: list[Any]) -> Any:
    if not restriction:
        return jobs
    source = (table.key_source & base.dj.AndList(restriction)).proj()
    return jobs.restrict(source, semantic_check=False)


def others_at_work(tables: Iterable[tuple[Any, list[Any]]]) -> bool:
    """Whether anything is reserved or pending in tables, each with what restricts it."""
    for table, restriction in tables:
        release_lost_jobs(table)
        if _any_job(table, restriction, "'reserved', 'pending'"):
            return True
    return False


def release_lost_jobs(table: Any) -> None:
    """Make the jobs pending again whose worker is gone or was told to stop."""
    release_lost(table.jobs)
    for pattern in _STOPPED:
        table.connection.query(
            f"UPDATE {table.jobs.full_table_name} SET status = 'pending' "
            "WHERE status = 'error' AND error_message LIKE %s",
            (pattern,),
        )


def failures(experiment: str | None = None, scale: str | None = None) -> list[Failure]:
    """Computations that failed and wait to be tried again."""
    base.require_active()
    found = []
    for table, restriction in _tables(named(experiment, scale)):
        jobs = _restricted(table.jobs.errors, table, restriction)
        for job in jobs.to_dicts():
            key = {name: job[name] for name in table.primary_key}
            found.append(Failure(type(table).__name__, key, job["error_message"]))
    return found


def retry_failures(experiment: str | None = None, scale: str | None = None) -> int:
    """Make failed computations pending again; returns how many."""
    base.require_active()
    n = 0
    for table, restriction in _tables(named(experiment, scale)):
        failed = _restricted(table.jobs.errors, table, restriction)
        n += table.connection.query(
            f"UPDATE {table.jobs.full_table_name} SET status = 'pending'{failed.where_clause()}"
        ).rowcount
    return n


def until_orphaned() -> Callable[[], bool]:
    """True for as long as the process that started this one lives."""
    parent = os.getppid()
    return lambda: os.getppid() == parent
