"""What becomes of a row of the source where the target database has rows already."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.query.provenance import provenance_columns
from pipeline.transfer.objects import ObjectStore, Reference, path_with_schema, references_of
from pipeline.transfer.rows import Row, described, digest_of, key_of, read_row, read_rows
from pipeline.transfer.sources import Source
from schemas.model import Table

# What may differ between rows of the same content: when, where and from which file it came.
_ABOUT = frozenset(
    ("imported", "added", "added_by", "proposed", "source", "priority", *provenance_columns())
)

# Columns whose value is a list of records, and what may differ in each of these.
_ABOUT_RECORDS = {"history": "seconds"}


class ConflictError(ValueError):
    """The database has other rows than the source; says which, and what to do."""


class Fate(enum.Enum):
    """What becomes of a row of the source."""

    new = "is inserted"
    identical = "is there to the byte"
    same = "is there with the same content, from another time or file"
    kept = "gives way to another one that is there"


@dataclass(frozen=True)
class Target:
    """The database that is written to: its session, schema and store."""

    connection: Any
    schema: str
    store: ObjectStore


class Policy(Protocol):
    """Decides what becomes of each row of the source, table after table."""

    def begin(self, table: Table) -> None:
        """Look at the target's rows of a table."""

    def fate(self, table: Table, row: Row) -> Fate:
        """What becomes of a row; raises a ConflictError if it may not come."""

    def end(self, table: Table) -> None:
        """All rows of the source's table were asked about."""


class Exactly:
    """Only rows that the source has too may be there."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._there: dict[str, bytes] = {}

    def begin(self, table: Table) -> None:
        """Look at the target's rows of a table."""
        rows = read_rows(self.target.connection, table)
        self._there = {key_of(table, row): digest_of(row) for row in rows}

    def fate(self, table: Table, row: Row) -> Fate:
        """What becomes of a row; raises a ConflictError if it may not come."""
        there = self._there.pop(key_of(table, row), None)
        if there is None:
            return Fate.new
        if there == digest_of(row):
            return Fate.identical
        raise ConflictError(
            f"{described(table, row)}: the target database has it with other content; no row was "
            "written; choose an empty database or another schema"
        )

    def end(self, table: Table) -> None:
        """Raise a ConflictError if the target has rows that the source lacks."""
        if self._there:
            key = ", ".join(map(str, json.loads(min(self._there))))
            raise ConflictError(
                f"{table.name} ({key}): the target database has this row, and the source does not; "
                f"no row was written ({len(self._there)} such rows in this table); choose an empty "
                "database or another schema; `neuroteach import archive` adds a backup to a "
                "database that has gone on, and puts back objects that were lost"
            )


class ByContent:
    """Rows of the same content may be there, whenever and from whatever file they came."""

    def __init__(self, source: Source, target: Target, *, keep_existing: bool) -> None:
        self.source, self.target, self.keep_existing = source, target, keep_existing
        self._there: dict[str, tuple[bytes, bytes]] = {}
        self._fates: dict[str, dict[str, Fate]] = {}  # by table and key
        self._keys: dict[str, tuple[str, ...]] = {}

    def begin(self, table: Table) -> None:
        """Look at the target's rows of a table."""
        rows = read_rows(self.target.connection, table)
        self._there = {
            key_of(table, row): (digest_of(row), digest_of(_content(table, row))) for row in rows
        }
        self._fates[table.name] = {}
        self._keys[table.name] = table.key

    def fate(self, table: Table, row: Row) -> Fate:
        """What becomes of a row; raises a ConflictError if it may not come."""
        found = self._fate(table, row)
        self._fates[table.name][key_of(table, row)] = found
        return found

    def _fate(self, table: Table, row: Row) -> Fate:
        whole = self._fate_of_master(table, row)
        if whole is Fate.kept:
            return Fate.kept
        there = self._there.get(key_of(table, row))
        if there is None and whole is Fate.new:
            return Fate.new
        if there is None:
            difference = "is not there, though what it is a part of is"
        elif there[0] == digest_of(row):
            return Fate.identical
        elif there[1] == digest_of(_content(table, row)):
            return Fate.same
        else:
            difference = self._difference(table, row)
        if not difference:
            return Fate.same
        if not table.computed:
            # What was computed from it there would stand beside what it was not computed from.
            raise ConflictError(
                f"{described(table, row)}: {difference} in this database; no row was written; "
                "import into another schema (NEUROTEACH_SCHEMA), or delete it here first"
            )
        if self.keep_existing:
            return Fate.kept
        raise ConflictError(
            f"{described(table, row)}: {difference} in this database; no row was written; "
            "--keep-existing leaves what was computed here and brings the rest"
        )

    def end(self, table: Table) -> None:
        """Nothing is asked of rows that the source lacks."""

    def _fate_of_master(self, table: Table, row: Row) -> Fate:
        """What became of the row that this one is a part of."""
        if table.master is None:
            return Fate.new
        columns = next(columns for name, columns in table.parents if name == table.master)
        ours = {parent: own for own, parent in columns.items()}
        key = json.dumps([row[ours[name]] for name in self._keys[table.master]])
        return self._fates[table.master].get(key, Fate.new)

    def _difference(self, table: Table, row: Row) -> str:
        """How the row that is there differs in content, or nothing."""
        there = read_row(self.target.connection, table, row)
        assert there is not None
        ours, theirs = _content(table, there), _content(table, row)
        for column in table.columns:
            name = column.name
            if ours.get(name) == theirs.get(name):
                continue
            if not column.stored or not self._same_object(table, row, there, name):
                return f"has another {name}"
        return ""

    def _same_object(self, table: Table, row: Row, there: Row, column: str) -> bool:
        theirs, ours = (_reference(table, one, column) for one in (row, there))
        if theirs is None or ours is None:
            return False
        for a, b in ((theirs.sha256, ours.sha256), (theirs.hash, ours.hash)):
            if a is not None and b is not None:
                return a == b
        # Older rows say no checksum.
        path = path_with_schema(theirs.path, self.target.schema, self.source.schema)
        given, found = self.source.digest(path), self.target.store.digest(ours.path)
        return given is not None and found is not None and given.sha256 == found.sha256


def _content(table: Table, row: Row) -> Row:
    """What two laboratories' rows of the same content have in common."""
    content = {name: value for name, value in row.items() if name not in _ABOUT}
    for name, timed in _ABOUT_RECORDS.items():
        records = content.get(name)
        if isinstance(records, list) and all(isinstance(record, dict) for record in records):
            content[name] = [{k: v for k, v in r.items() if k != timed} for r in records]
    for name in table.stored:
        value = content.get(name)
        if isinstance(value, dict) and {"sha256", "hash"} & set(value):
            where = ("path", "store", "schema")
            content[name] = {k: v for k, v in value.items() if k not in where}
    return content


def _reference(table: Table, row: Row, column: str) -> Reference | None:
    return next((r for r in references_of(table, row) if r.column == column), None)
