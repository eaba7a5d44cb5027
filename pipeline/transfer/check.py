"""Does every row have its objects as they were written, and does every object belong to a row?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.transfer.objects import (
    THREADS,
    Listed,
    ObjectStore,
    Progress,
    Reference,
    Tally,
    in_threads,
    no_progress,
    references_in,
    references_of,
    store_errors,
)
from pipeline.transfer.rows import described, read_rows, snapshot, tables_of
from schemas.catalogue import Catalogue
from schemas.model import Table

# An object is written before its row, so a young one may yet get it.
ORPHAN_AGE = timedelta(hours=1)
REMOTE_THREADS = 4 * THREADS
# Parts that wholes are never without; of a network it is one of two.
_ALWAYS = (
    ("SharedCore.Member",),
    ("TrainedNetwork.Epoch", "TrainedNetwork.Imported"),
    ("NoiseAccuracy.Level",),
    ("AttackChecks.Check",),
    ("LayerSimilarity.Layer",),
    ("AdversarialDistance.Image",),
)


class BusyError(RuntimeError):
    """Something is being computed that could take an object for its own."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with an object or a row; an orphan has no row."""

    kind: str
    path: str
    problem: str
    row: str = ""
    column: str = ""


@dataclass
class Report:
    """What was looked at, and what is wrong.

    Attributes
    ----------
    rows, objects, bytes : int
        Rows of all tables; objects that they name, and their size.
    unchecked : int
        Objects whose rows say no checksum, since an earlier version wrote them.
    young : int
        Objects without a row that may yet get one.
    removed : int
        Orphans that were removed.
    problems : list of Problem
    seconds : float
    """

    rows: int = 0
    objects: int = 0
    bytes: int = 0
    unchecked: int = 0
    young: int = 0
    removed: int = 0
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0


def check(
    connection: Any,
    schema: str,
    store: ObjectStore,
    *,
    quick: bool = False,
    remove_orphans: bool = False,
    orphan_age: timedelta = ORPHAN_AGE,
    on_progress: Progress = no_progress,
) -> Report:
    """Compare all rows of a schema with the objects of its store.

    Parameters
    ----------
    connection : datajoint.Connection
    schema : str
    store : ObjectStore
    quick : bool
        Ask only whether objects are there and of the right size, and read none.
    remove_orphans : bool
        Remove objects that belong to no row and are older than ``orphan_age``.
    orphan_age : timedelta
        What is younger is counted, and is no problem.
    on_progress : callable

    Raises
    ------
    BusyError
        If orphans are to be removed while something is being computed.
    ValueError
        If they are to be removed, and there is no row that names any object.
    """
    started = time.perf_counter()
    if remove_orphans:
        _refuse_if_computing(connection, schema)
    # Listed before the rows are read: an object that then has no row never had one.
    there = store.list_schema(schema)
    report = Report()
    references: dict[str, Reference] = {}
    with snapshot(connection):
        tables = tables_of(connection, schema)
        for table in tables:
            for row in read_rows(connection, table.restricted({*table.key, *table.stored})):
                report.rows += 1
                for reference in references_of(table, row):
                    other = references.setdefault(reference.path, reference)
                    if not other.agrees_with(reference):
                        report.problems.append(_of_two_rows(reference, other))
        report.problems += _without_parts(connection, tables)
    _check_objects(store, references, there, report, quick, on_progress)
    orphans = sorted(set(there) - set(references))
    if remove_orphans and orphans and not references:
        raise ValueError(
            f"schema {schema!r} has no row that names an object, and the store has {len(orphans)} "
            "objects of it; is this the right database? Nothing was removed"
        )
    if remove_orphans and orphans:
        # Objects were read for a while, in which rows may have come that name what had none.
        _refuse_if_computing(connection, schema)
        orphans = sorted(set(orphans) - _named(connection, schema))
    for path in orphans:
        listed = store.listed(path) if remove_orphans else there[path]
        if listed is None:
            continue
        if datetime.now(UTC) - listed.modified < orphan_age:
            report.young += 1
        elif remove_orphans:
            store.remove(path)
            report.removed += 1
        else:
            report.problems.append(Problem("orphan", path, "belongs to no row"))
    report.seconds = time.perf_counter() - started
    return report


def _named(connection: Any, schema: str) -> set[str]:
    """Paths of all objects that rows name."""
    with snapshot(connection):
        found = references_in(connection, tables_of(connection, schema))
        return {reference.path for reference in found}


def _of_two_rows(reference: Reference, other: Reference) -> Problem:
    said = f"is said to be something else by {other.owner}"
    return Problem("checksum", reference.path, said, reference.row, reference.column)


def _check_objects(
    store: ObjectStore,
    references: dict[str, Reference],
    there: dict[str, Listed],
    report: Report,
    quick: bool,
    on_progress: Progress,
) -> None:
    sizes = {path: listed.size for path, listed in there.items()}
    report.objects = len(references)
    report.unchecked = sum(not r.has_checksum for r in references.values())
    tally = Tally("objects", sum(sizes.get(path, 0) for path in references), on_progress)

    def problem(reference: Reference) -> tuple[Reference, int, str, str]:
        with store_errors():
            return look_at(reference)

    def look_at(reference: Reference) -> tuple[Reference, int, str, str]:
        size = sizes.get(reference.path)
        if size is None:  # written since it was listed, or lost
            found = store.listed(reference.path)
            if found is None:
                return reference, 0, "missing", "is missing"
            size = found.size
        said = reference.problem_of_size(size)
        if said:
            return reference, size, "size", said
        if not quick:
            digest = store.digest(reference.path, named=reference.hash is not None)
            if digest is None:
                return reference, size, "missing", "is missing"
            if said := reference.problem(digest):
                return reference, size, "checksum", said
        return reference, size, "", ""

    ordered = sorted(references.values(), key=lambda r: r.path)
    threads = THREADS if store.is_local else REMOTE_THREADS
    for reference, size, kind, said in in_threads(problem, ordered, threads=threads):
        report.bytes += size
        tally.add(size)
        if kind:
            report.problems.append(
                Problem(kind, reference.path, said, reference.row, reference.column)
            )


def _without_parts(connection: Any, tables: list[Table]) -> Iterator[Problem]:
    """Wholes that have lost all of their parts."""
    quote = connection.adapter.quote_identifier
    by_name = {table.name: table for table in tables}
    for names in _ALWAYS:
        parts = [by_name[name] for name in names if name in by_name]
        if not parts:
            continue
        master = by_name[str(parts[0].master)]
        lost = []
        for part in parts:
            columns = next(columns for parent, columns in part.parents if parent == master.name)
            joined = " AND ".join(
                f"part.{quote(own)} = whole.{quote(theirs)}" for own, theirs in columns.items()
            )
            lost.append(f"NOT EXISTS (SELECT 1 FROM {part.sql} AS part WHERE {joined})")
        keys = ", ".join(f"whole.{quote(key)}" for key in master.key)
        found = connection.query(
            f"SELECT {keys} FROM {master.sql} AS whole WHERE {' AND '.join(lost)}"
        ).fetchall()
        for values in found:
            row = described(master, dict(zip(master.key, values, strict=True)))
            yield Problem("parts", "", f"has no rows in {' or '.join(names)}", row)


def _refuse_if_computing(connection: Any, schema: str) -> None:
    """Refuse to remove what a computation, writing the same content, may take for its own."""
    queues = (name for name in Catalogue(connection, schema).names if name.startswith("~~"))
    for name in queues:
        jobs = connection.adapter.make_full_table_name(schema, name)
        query = f"SELECT COUNT(*) FROM {jobs} WHERE status = 'reserved'"
        (n,) = connection.query(query).fetchone()
        if n:
            raise BusyError(
                f"{n} computations are under way, and could write what would be removed; run this "
                "again when they have ended"
            )
