"""What all tables share: the schema they belong to, canonical hashes, provenance, activation.

Importing a table connects to nothing. :func:`activate` binds all of them to a connection; until
then a query says so.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datajoint as dj
import torch
from pydantic import BaseModel

from schemas.stored import StoreError

schema = dj.Schema()

PROVENANCE = """
        package_version : varchar(32)
        git_commit      : varchar(48)  # ends in -dirty if files had changed; empty without git
        device          : varchar(64)
        host = ""       : varchar(64)  # name of the machine
        computed_by = "" : varchar(64) # user of the database
        seconds         : float64      # wall time of the computation
        computed        : datetime     # UTC
"""


class NotActivatedError(RuntimeError):
    """A table was used before the database was opened."""


@dataclass(frozen=True)
class Computing:
    """Where and how ``make`` computes, set by :func:`configure` when a database is opened.

    Attributes
    ----------
    device : str
        Of torch.
    user : str
        Of the database.
    checkpoints : Path or None
        Folder for checkpoints of fits and trainings, which may be in an object store; None keeps
        none.
    alive : Path or None
        File that a worker touches at each heartbeat.
    progress : callable
        Called with a line of text after each epoch.
    """

    device: str = "cpu"
    user: str = ""
    checkpoints: Path | None = None
    alive: Path | None = None
    progress: Callable[[str], None] = lambda line: None


_computing = Computing()


def computing() -> Computing:
    """The settings in force."""
    return _computing


def configure(**changes: Any) -> None:
    """Change fields of :class:`Computing`."""
    global _computing
    _computing = replace(_computing, **changes)


def activate(connection: Any, name: str, *, create: bool = True) -> None:
    """Bind every table to a database schema.

    Callers that may race with others hold a lock meanwhile.

    Parameters
    ----------
    connection : datajoint.Connection
    name : str
        Of the schema in the database.
    create : bool
        Declare what is missing, job tables too; False for users who may not.

    Raises
    ------
    DataJointError
        If the schema is not there and may not be made, or another is bound. What was bound before
        stays bound.
    """
    code_version()  # now, before the files can change under a long computation
    all_tables()  # imports them all: a table declares itself only once it is known
    bound = schema.database, schema.connection
    try:
        schema.activate(name, connection=connection, create_schema=create, create_tables=create)
        if create:
            for table in queued_tables():
                if not table().jobs.is_declared:
                    table().jobs.declare()
    except BaseException:
        schema.database, schema.connection = bound  # DataJoint leaves them half bound
        raise


def activate_missing(connection: Any, name: str) -> None:
    """Bind the tables anew, declaring those that are missing."""
    deactivate()
    activate(connection, name)


def all_tables() -> list[type[dj.Table]]:
    """Every table, each followed by its parts, in the order of the modules that define them."""
    queued_tables()  # imports these modules
    from schemas import worker  # noqa: F401 - likewise

    found: list[type[dj.Table]] = []
    for master, _ in schema.declare_list:
        parts = [v for v in vars(master).values() if isinstance(v, type) and issubclass(v, dj.Part)]
        found += [master, *parts]
    return found


def deactivate() -> None:
    """Unbind all tables, so that another database can be opened in this process."""
    schema.database = None
    schema.connection = None


def require_active() -> None:
    """Raise a clear error if :func:`activate` has not run."""
    if schema.database is None:
        raise NotActivatedError(
            "the tables are not bound to a database yet; call "
            "pipeline.database.opening.open_database() first"
        )


def queued_tables() -> list[type[dj.Computed]]:
    """All tables with a job queue: those that experiments plan, and the one that searches fill."""
    from schemas import search  # imports this module

    return [*computed_tables(), search.SearchResult]


def computed_tables() -> list[type[dj.Computed]]:
    """All computed tables that experiments plan, each after those it depends on."""
    # Imported here because they import this module.
    from schemas import (
        analysis,
        encoding,
        prediction,
        recording,
        representation,
        robustness,
        stability,
        teaching,
        training,
    )

    return [
        recording.Reliability,
        encoding.SharedCore,
        encoding.FittedEncoder,
        prediction.EncoderScore,
        prediction.PredictedResponses,
        teaching.SimilarityQuality,
        stability.SimilarityStructure,
        stability.SimilarityStability,
        teaching.Teacher,
        training.TrainedNetwork,
        analysis.SuperclassErrors,
        analysis.LayerActivations,
        robustness.NoiseAccuracy,
        representation.LayerSimilarity,
        robustness.AdversarialDistance,
        robustness.AttackChecks,
    ]


def config_hash(config: BaseModel | Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the canonical JSON of a configuration, defaults expanded.

    Names count as well as values, and so does the kind of configuration.
    """
    if isinstance(config, BaseModel):
        content = {"kind": type(config).__name__, **config.model_dump(mode="json")}
    else:
        content = dict(config)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def add_config(table: type[dj.Lookup], hash_name: str, config: BaseModel, **columns: Any) -> str:
    """Insert a configuration if it is not there yet, and return its hash."""
    key = config_hash(config)
    row = {hash_name: key, **columns, "config": config.model_dump(mode="json")}
    table.insert1(row, skip_duplicates=True)
    return key


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
        # Of an installed package; a repository around it would not be ours. An image says its own.
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
        """Columns of ``PROVENANCE``; a resumed computation took ``at_least`` so many seconds."""
        return {
            **code_version(),
            "device": describe_device(device),
            "host": platform.node()[:64],
            "computed_by": _computing.user[:64],
            "seconds": max(at_least, time.perf_counter() - self._started),
            "computed": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        }


def transaction(connection: Any) -> AbstractContextManager[Any]:
    """A transaction, or a part of the one that is open already."""
    return nullcontext() if connection.in_transaction else connection.transaction


def describe_device(device: str) -> str:
    """A device's name; of a GPU also its model."""
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        return f"{device} ({torch.cuda.get_device_name(device)})"[:64]
    return device


def checkpoint_path(table: type[dj.Computed], key: Mapping[str, Any]) -> Path | None:
    """Where the computation of a key keeps its checkpoint."""
    folder = computing().checkpoints
    if folder is None:
        return None
    names = sorted(table().primary_key)
    return folder / f"{table.__name__}_{config_hash({n: key[n] for n in names})}.pt"


def remove_finished_checkpoints() -> None:
    """Delete the checkpoints of keys that have their row. Until the row is there, they stay."""
    folder = computing().checkpoints
    if folder is None:
        return
    try:
        files = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return  # none was written yet
    for table in queued_tables():
        of_table = [file for file in files if file.name.startswith(f"{table.__name__}_")]
        if not of_table:
            continue
        paths = (checkpoint_path(table, key) for key in table.keys())  # noqa: SIM118 - a query
        done = tuple(path.name for path in paths if path is not None)
        for file in of_table:  # half written ones of killed workers too
            if file.name.startswith(done):
                file.unlink(missing_ok=True)


@contextmanager
def file_to_attach(name: str, content: bytes) -> Iterator[str]:
    """Path of a temporary file with this name and content, for an ``<attach>`` column."""
    with tempfile.TemporaryDirectory(prefix="neuroteach-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield str(path)


def read_attached(table: Any, column: str) -> bytes:
    """Content of an attached file of the one row of ``table``.

    Raises
    ------
    StoreError
        If its object is missing or damaged.
    """
    config = table.connection._config
    with tempfile.TemporaryDirectory(prefix="neuroteach-") as folder:
        try:
            with config.override(download_path=folder):
                path = Path(table.fetch1(column))
        except StoreError as error:
            key = ", ".join(f"{k}={v}" for k, v in table.fetch1("KEY").items())
            raise StoreError(f"{column} of {table.table_name} ({key}), {error}") from error
        return path.read_bytes()
