"""What all tables share: the schema they belong to, how rows are computed, and by whom.

Importing a table connects to nothing and imports no torch. :func:`schemas.tables.activate` binds
all of them to a connection; until then a query says so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import inspect
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import datajoint as dj
from datajoint.jobs import Job
from datajoint.schemas import _Schema

from predictive_model.array_file import ArrayParts
from predictive_model.parts import OURS, Origin, Part
from schemas.catalogue import Catalogue, StoredHeading
from schemas.stored import Attached, Written, as_file

PROVENANCE = """
        package_version : varchar(32)
        git_commit      : varchar(48)  # ends in -dirty if files had changed; empty without git
        device          : varchar(64)
        host = ""       : varchar(64)  # name of the machine
        computed_by = "" : varchar(64) # user of the database
        seconds         : float64      # wall time of the computation
        computed        : datetime     # UTC
        origins = null  : json         # of parts of others: name, distribution, version, digest
"""


class NotActivatedError(RuntimeError):
    """A table was used before the database was opened."""

    def __init__(self) -> None:
        super().__init__(
            "the tables are not bound to a database yet; call neuroteach.open_database() first"
        )


class _NotThere:
    """In place of the connection and the heading of a table while no database was opened yet."""

    def _refuse(self, *asked: object) -> Any:
        raise NotActivatedError

    __getattr__ = __getitem__ = __contains__ = __iter__ = __repr__ = _refuse


_not_there = _NotThere()


class Schema(_Schema):  # dj.Schema refuses to be made where DJ_THREAD_SAFE is set
    """The schema that all tables register with, whatever database it is bound to later."""

    catalogue: Catalogue | None = None

    database: str | None

    def __call__(self, cls: Any, *, context: Any = None) -> Any:
        """Register a table; until a database is open, whatever is asked of it says so."""
        context = context or inspect.currentframe().f_back.f_locals  # type: ignore[union-attr]
        super().__call__(cls, context=context)
        if not self.is_activated():
            for table in (cls, *_parts(cls)):
                table._connection = table._heading = table.database = _not_there
            for part in _parts(cls):
                part._master = cls
        return cls

    def tables(self) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Each table with the names that its definition may refer to, masters before parts."""
        for master, names in self.declare_list:
            about = {**names, "self": master, master.__name__: master}
            yield master, about
            for part in _parts(master):
                yield part, {**about, "master": master, "self": part}

    def bind(self, catalogue: Catalogue) -> None:
        """Bind all tables to those of a catalogue, asking the database nothing."""
        connection = catalogue.connection
        self.connection, self.database, self.catalogue = connection, catalogue.schema, catalogue
        connection.register(self)
        for table, context in self.tables():
            table.database, table._connection = catalogue.schema, connection
            table._heading = StoredHeading(catalogue, table.table_name, context)
            table._support = [table.full_table_name]
            table.declaration_context = context

    def unbind(self) -> None:
        """Unbind all tables, so that another database can be opened in this process."""
        self.connection = self.database = self.catalogue = None


def _parts(master: type) -> list[Any]:
    found = [v for v in vars(master).values() if isinstance(v, type)]
    return [part for part in found if issubclass(part, dj.Part)]


schema = Schema()


def require_active() -> None:
    """Raise a clear error if the tables are not bound to a database."""
    if schema.database is None:
        raise NotActivatedError


# -- how rows are computed ---------------------------------------------------------------------


@dataclass(frozen=True)
class Computing:
    """Where and how ``make`` computes, set by :func:`configure` when a database is opened.

    Attributes
    ----------
    device : str
        Of torch; ``auto`` is a GPU if there is one.
    user : str
        Of the database.
    checkpoints : Path or None
        Folder for checkpoints of fits and trainings, which may be in an object store; None keeps
        none.
    images : Path or None
        Folder of the images that are referred to, and not copied into the store.
    alive : Path or None
        File that a worker touches at each heartbeat.
    progress : callable
        Called with a line of text after each epoch.
    """

    device: str = "auto"
    user: str = ""
    checkpoints: Path | None = None
    images: Path | None = None
    alive: Path | None = None
    progress: Callable[[str], None] = lambda line: None


_computing = Computing()


def computing() -> Computing:
    """The settings in force, the device being one that torch knows."""
    global _computing
    if _computing.device == "auto":
        import torch

        _computing = replace(_computing, device="cuda" if torch.cuda.is_available() else "cpu")
    return _computing


def configure(**changes: Any) -> None:
    """Change fields of :class:`Computing`."""
    global _computing
    _computing = replace(_computing, **changes)


@dataclass
class Found:
    """What a computation came to: the columns of its row and the rows of its parts, without keys.

    Attributes
    ----------
    row : dict
        A value may be :class:`~schemas.stored.Attached`.
    parts : dict of str to sequence of dict
        Rows by the name of their part.
    device : str, optional
        Where it was computed, ``cpu`` by default.
    origins : sequence of Part
        Parts that others may have brought.
    seconds : float
        Spent at least, of a computation that was resumed.
    provenance : dict, optional
        Columns of ``PROVENANCE`` of the computation that made the row, if it was another.
    """

    row: Mapping[str, Any]
    parts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    device: str = "cpu"
    origins: Sequence[Part] = ()
    seconds: float = 0.0
    provenance: Mapping[str, Any] | None = None


class RunningState(dj.Manual):
    """A table about what is running now: nothing refers to its rows, and no copy takes them."""


class Queue(Job):
    """The job queue of a computed table; DataJoint asks for its definition each time it is used."""

    def __init__(self, target: Computed) -> None:
        catalogue = schema.catalogue
        assert catalogue is not None
        self._target = target
        self._connection, self.database = target.connection, target.database
        self._table_name = f"~~{target.table_name.lstrip('_')}"
        self._heading = StoredHeading(catalogue, self._table_name, None)
        self._support = [self.full_table_name]

    @property
    def definition(self) -> str:
        """Needed only to declare it."""
        return str(self._generate_definition())


class _Jobs:
    """The queue of a bound table, kept with it."""

    def __get__(self, table: Computed | None, owner: type[Computed]) -> Job:
        table = owner() if table is None else table
        if table._jobs is None:
            # While tables are being declared, DataJoint's own, which declares itself.
            table._jobs = Queue(table) if schema.catalogue is not None else Job(table)
        return table._jobs


class MadeByAnotherError(BaseException):
    """Somebody else has inserted the row of a key while it was computed here.

    Not an `Exception`, so that DataJoint does not report it as a failure.
    """


class Computed(dj.Computed):
    """A table whose rows are computed outside of any transaction and inserted in one.

    A subclass has ``compute``, ``planned`` if experiments ask for its rows, and ``fetch`` if rows
    that it depends on could change meanwhile.
    """

    jobs = _Jobs()
    in_experiments: ClassVar[bool] = True
    takes_long: ClassVar[bool] = False  # compared with others that build on the same

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Rows whose keys say what these experiments, a restriction, ask for."""
        raise NotImplementedError(f"{cls.__name__} lacks planned()")

    @classmethod
    def keys_in(cls, plan: Any) -> Any:
        """Keys of this table that a plan holds, each once.

        Of the plan alone: joined from all tables that a key refers to, keys are searched among as
        many combinations as the product of their numbers of rows.
        """
        return dj.U(*cls().primary_key) & plan

    def populate(
        self, *restrictions: Any, reserve_jobs: bool = True, refresh: bool = True, **options: Any
    ) -> Any:
        """Compute all that is missing, as DataJoint does, and reserve each key, as workers do.

        With ``refresh`` also what failed before is tried again.
        """
        if reserve_jobs and refresh:
            missing = self._jobs_to_do(restrictions)
            self.jobs.errors.restrict(missing, semantic_check=False).delete_quick()
        return super().populate(
            *restrictions, reserve_jobs=reserve_jobs, refresh=refresh, **options
        )

    def _populate1(self, key: dict[str, Any], jobs: Job | None, *args: Any, **options: Any) -> Any:
        """Compute one key; a row that somebody else has made meanwhile is as good as ours."""
        try:
            return super()._populate1(key, jobs, *args, **options)
        except MadeByAnotherError:
            self.connection.cancel_transaction()
            if jobs is not None:
                jobs.complete(key)
            return False

    def fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings that the computation takes; small, since DataJoint hashes them twice."""
        return ()

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """The row of a key."""
        raise NotImplementedError(f"{type(self).__name__} lacks compute()")

    def write_array(self, key: dict[str, Any], column: str, parts: ArrayParts) -> Written:
        """Write an array as it is computed, before its row is there; the value of its column.

        For arrays that take long or do not fit into memory: all else is written when the row is
        inserted, while a transaction is open. An object whose row never comes is an orphan.

        Raises
        ------
        StoreError
            If it cannot be written. What goes wrong in computing a part is raised as it is.
        """
        attribute = self.heading[column]
        about = attribute.codec.encode(
            parts,
            key={name: key[name] for name in self.primary_key},
            context={
                "schema": self.database,
                "table": self.table_name,
                "field": column,
                "config": self.connection._config,
            },
            store_name=attribute.store,
        )
        return Written(about)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings only."""
        return self.fetch(key)

    def make_compute(self, key: dict[str, Any], *settings: Any) -> tuple[Found, dict[str, Any]]:
        """Compute, outside of any transaction."""
        watch = Stopwatch()
        found = self.compute(key, *settings)
        made = watch.provenance(found.device, at_least=found.seconds)
        made["origins"] = described_origins(found.origins)
        return found, {**made, **(found.provenance or {})}

    def make_insert(self, key: dict[str, Any], found: Found, provenance: dict[str, Any]) -> None:
        """Insert the row and those of its parts.

        Raises
        ------
        MadeByAnotherError
            If the row is there by now.
        """
        try:
            insert_rows(self, [{**key, **found.row, **provenance}])
        except dj.errors.DuplicateError as error:
            raise MadeByAnotherError from error
        for name, rows in found.parts.items():
            insert_rows(getattr(self, name)(), [{**key, **row} for row in rows])


def described_origins(parts: Sequence[Part]) -> list[dict[str, str]] | None:
    """Origins of parts as rows record them; None if all are ours."""
    others = [part for part in parts if part.origin.distribution != OURS]
    return [{"name": part.name, **vars(part.origin)} for part in others] or None


def origin_recorded(origins: Sequence[Mapping[str, str]] | None, name: str) -> Origin | None:
    """Origin of a part when a row was computed; None if none was recorded, as of ours."""
    for one in origins or ():
        if one["name"] == name:
            return Origin(one["distribution"], one["version"], one["digest"])
    return None


def insert_rows(table: Any, rows: Sequence[Mapping[str, Any]], **options: Any) -> None:
    """Insert rows, in which values may be :class:`~schemas.stored.Attached`."""
    if not rows:
        return
    with contextlib.ExitStack() as files:
        table.insert(
            [
                {
                    name: files.enter_context(as_file(v)) if isinstance(v, Attached) else v
                    for name, v in row.items()
                }
                for row in rows
            ],
            **options,
        )


@functools.cache
def code_version() -> dict[str, str]:
    """``package_version`` and ``git_commit`` of the running code."""
    try:
        version = importlib.metadata.version("neuroteach")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return {"package_version": version, "git_commit": _git_commit()}


def _git_commit() -> str:
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        # An installed package: a repository around it would not be ours. Images set the variable.
        return os.environ.get("NEUROTEACH_GIT_COMMIT", "")[:48]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


class Stopwatch:
    """Measures a computation; :meth:`provenance` is what its row records."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def provenance(self, device: str = "cpu", at_least: float = 0.0) -> dict[str, Any]:
        """Columns of ``PROVENANCE``; a resumed computation took ``at_least`` seconds."""
        return {
            **code_version(),
            "device": describe_device(device),
            "host": platform.node()[:64],
            "computed_by": _computing.user[:64],
            "seconds": max(at_least, time.perf_counter() - self._started),
            "computed": now(),
        }


def now() -> datetime:
    """The current time, UTC, in whole seconds, as columns hold it."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def transaction(connection: Any) -> AbstractContextManager[Any]:
    """A transaction, or a part of the one that is open already."""
    return nullcontext() if connection.in_transaction else connection.transaction


def describe_device(device: str) -> str:
    """A device's name; of a GPU also its model."""
    if not device.startswith("cuda"):
        return device
    import torch

    if not torch.cuda.is_available():
        return device
    return f"{device} ({torch.cuda.get_device_name(device)})"[:64]
