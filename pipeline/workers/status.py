"""What is going on: who computes which key, what failed and how often, how long it will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.results.conditions import network_names
from pipeline.results.rows import read_rows
from pipeline.workers import queues
from pipeline.workers.lease import living
from pipeline.workers.queues import Failure, Progress, Reserved, Wanted
from schemas import base, encoding, recording, teacher_plan, training

FEW = 3  # keys that stand for many that failed alike


@dataclass(frozen=True)
class Working:
    """A worker, and what it computes.

    Attributes
    ----------
    user, host, device : str
    pid : int
    silence : float
        Seconds since it was heard.
    table, key : str
        What it computes; empty if nothing.
    since : datetime or None
        UTC.
    epoch, epochs : int or None
        How far a training or fit is, and how many epochs it has at most.
    left : float or None
        Seconds to its end, if the epochs that are left take as long as those before.
    """

    user: str
    host: str
    pid: int
    device: str
    silence: float
    table: str = ""
    key: str = ""
    since: datetime | None = None
    epoch: int | None = None
    epochs: int | None = None
    left: float | None = None


@dataclass(frozen=True)
class Failures:
    """Computations of one table that failed alike."""

    table: str
    message: str
    n: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """What is missing of a table, and the mean duration of what was computed of it."""

    table: str
    missing: int
    seconds: float | None


@dataclass(frozen=True)
class Status:
    """All of it."""

    tables: Sequence[Progress]
    workers: Sequence[Working]
    failures: Sequence[Failures]
    inputs: Mapping[str, Sequence[str]]


def status(selection: Selection) -> Status:
    """How far things are; of all experiments or some."""
    base.require_active()
    asked = queues.wanted(selection)
    tables = queues.progress(asked)
    by_name = {one.name: one for one in asked}
    failed = [by_name[p.table] for p in tables if p.failed]
    reserved = [by_name[p.table] for p in tables if p.reserved]
    return Status(
        tables,
        _working(queues.reserved(reserved)),
        grouped(queues.failures(failed)),
        {
            "scans": sorted(recording.Scan.to_arrays("scan")),
            "image sets": sorted(training.ImageSet.to_arrays("image_set")),
        },
    )


def _working(reserved: Sequence[Reserved]) -> list[Working]:
    names = _Names([one.key for one in reserved])
    by_worker = {one.worker: one for one in reserved}
    found = []
    for worker in living(base.schema.connection):
        one = by_worker.get(worker["worker"])
        about = {n: worker[n] for n in ("user", "host", "pid", "device")}
        doing: dict[str, Any] = {}
        if one is not None:
            doing = {"table": one.table, "key": names.of(one.key), "since": one.since}
            doing |= _epochs(one)
        found.append(Working(**about, silence=float(worker["silence"]), **doing))
    return found


def _epochs(one: Reserved) -> dict[str, Any]:
    """How far a training or fit is, from the epochs that it has written."""
    if one.table == training.TrainedNetwork.__name__:
        done = training.TrainingProgress & one.key
        limit = (training.TrainingConfig & one.key).fetch1("epochs")
    elif one.table in (encoding.FittedEncoder.__name__, encoding.SharedCore.__name__):
        table = getattr(encoding, one.table)
        done = encoding.FitProgress & encoding.FitProgress.key_of(table, one.key)
        limit = (encoding.FitConfig & one.key).fetch1("max_epochs")
    else:
        return {}
    seconds = done.to_arrays("seconds")
    n = len(seconds)
    # How many epochs a fit takes is not known before its end.
    left = float(seconds.mean()) * (limit - n) if n and "Trained" in one.table else None
    return {"epoch": n, "epochs": int(limit), "left": left}


def grouped(failures: Sequence[Failure]) -> list[Failures]:
    """Failures that differ in nothing but the key, together; the most frequent first."""
    alike: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        message = failure.message.splitlines()[0] if failure.message else ""
        alike.setdefault((failure.table, message), []).append(failure)
    shown = {group: some[:FEW] for group, some in alike.items()}
    names = _Names([f.key for some in shown.values() for f in some])
    return sorted(
        (
            Failures(table, message, len(some), tuple(names.of(f.key) for f in some[:FEW]))
            for (table, message), some in alike.items()
        ),
        key=lambda group: -group.n,
    )


class _Names:
    """Keys as people know them: in place of a hash, what it stands for."""

    def __init__(self, keys: Sequence[Mapping[str, Any]]) -> None:
        columns = {name for key in keys for name in key}
        self._said: dict[tuple[str, str], str] = {}
        if "teacher_hash" in columns:
            rows = read_rows(teacher_plan.TeacherConfig, ["teacher"])
            said = rows["teacher"].str.replace("_", " ")
            self._say("teacher_hash", dict(zip(rows["teacher_hash"], said, strict=True)))
        if "network_hash" in columns:
            rows = read_rows(training.NetworkConfig, ["architecture", "network_width"])
            named = network_names(rows)
            self._say("network_hash", dict(zip(rows["network_hash"], named, strict=True)))
        if "training_hash" in columns:
            rows = read_rows(training.TrainingConfig, ["alpha", "epochs", "config"])
            alpha, epochs = rows["alpha"].map("{:g}".format), rows["epochs"].astype(str)
            said = epochs + " epochs" + (", alpha " + alpha).where(rows["alpha"] > 0, "")
            said = said.where(rows["epochs"] > 0, rows["config"].map(lambda c: c.get("name", "")))
            self._say("training_hash", dict(zip(rows["training_hash"], said, strict=True)))

    def _say(self, column: str, names: Mapping[str, str]) -> None:
        self._said |= {(column, value): name for value, name in names.items()}

    def of(self, key: Mapping[str, Any]) -> str:
        """One key: what its hashes mean, and its other columns."""
        said = []
        for column, value in key.items():
            if (column, value) in self._said:
                said.append(self._said[column, value])
            elif not column.endswith(("_hash", "_group")) and column != "stimulus_set":
                said.append(f"{column} {value}" if isinstance(value, int) else str(value))
        return ", ".join(said)


def forecast(selection: Selection) -> list[Forecast]:
    """What is missing of each table, with the mean duration of its rows.

    Rows of the same settings are comparable; without any, all rows of the table are.
    """
    base.require_active()
    asked = queues.wanted(selection)
    found = []
    for one, far in zip(asked, queues.progress(asked), strict=True):
        missing = far.total - far.done
        if missing > 0:
            found.append(Forecast(one.name, missing, _mean_seconds(one)))
    return found


def _mean_seconds(one: Wanted) -> float | None:
    key = one.table.primary_key
    hashes = [name for name in key if name.endswith("_hash") and name in one.plan.heading.names]
    rows = read_rows(one.table, ["seconds"])
    if rows.empty:
        return None
    if hashes:
        planned = read_rows(base.dj.U(*hashes) & one.plan)
        same = rows.merge(planned[hashes].drop_duplicates(), on=hashes)
        rows = same if len(same) else rows
    return float(rows["seconds"].mean())


def duration(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def progress_frame(tables: Sequence[Progress]) -> pd.DataFrame:
    """How far tables are, a row for each."""
    return pd.DataFrame(
        [
            {
                "table": p.table,
                "done": p.done,
                "planned": p.total,
                "computing": p.reserved,
                "failed": p.failed,
            }
            for p in tables
        ]
    )
