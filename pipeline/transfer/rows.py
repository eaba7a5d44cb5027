"""Rows as the database has them: read in one snapshot, compared, and written to any backend.

A row is a dictionary of what JSON can hold, so that it is the same from PostgreSQL, from MySQL and
from a file. A column that is NULL is left out of it, which tells it from a JSON ``null``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from schemas.base import RunningState
from schemas.catalogue import Catalogue
from schemas.model import TEXTS, Column, Kind, Table
from schemas.tables import known_tables
from schemas.worker import SchemaVersion

Row = dict[str, Any]

BATCH = 500  # rows in one statement
BATCH_BYTES = 2**22  # of which a row may make it longer; servers take 16 MiB and more
# An array and a file are moved as what the row says of them.
_AS_JSON = (Kind.json, Kind.array, Kind.file)


# What to do where a table of another package is not there, or is another version's.
INSTALL = "install the package that it comes from, in the same version, and run `neuroteach init`"


class RowError(ValueError):
    """A table or a row that cannot be read or written; says which."""


def tables_of(connection: Any, schema: str) -> list[Table]:
    """Tables of a schema whose rows are moved, each after those it refers to."""
    stays = {t.__qualname__ for t in known_tables() if issubclass(t, RunningState)}
    stays.add(SchemaVersion.__qualname__)
    tables = Catalogue(connection, schema).tables
    return [table for name, table in tables.items() if name not in stays]


def types_of(table: Table) -> dict[str, str]:
    """Types of a table's columns as archives name them, to which arrays and files are JSON."""
    kinds = table.kinds.items()
    return {name: str(Kind.json if kind in _AS_JSON else kind) for name, kind in kinds}


@contextlib.contextmanager
def snapshot(connection: Any) -> Iterator[None]:
    """All that is read within it is of one moment."""
    with connection.transaction:
        if connection.adapter.backend == "postgresql":
            connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def read_rows(connection: Any, table: Table) -> Iterator[Row]:
    """Rows of a table by primary key, a batch at a time; within a transaction.

    Raises
    ------
    RowError
        If a column is of a type that databases do not exchange.
    """
    for column in table.columns:
        if column.kind is Kind.other:
            raise RowError(
                f"{table.name}.{column.name}: is of type {column.type}, which is neither copied "
                "nor saved; whoever declares the table can keep the same as varchar or json"
            )
    selected = ", ".join(_selected(connection, column) for column in table.columns)
    order = ", ".join(_ordering(connection, c) for c in table.columns if c.in_key)
    query = f"SELECT {selected} FROM {table.sql}" + (f" ORDER BY {order}" if order else "")
    for values in _fetched(connection, query):
        yield _row(table, values)


def read_row(connection: Any, table: Table, key: Mapping[str, Any]) -> Row | None:
    """The row with a key, if there is one."""
    quote = connection.adapter.quote_identifier
    selected = ", ".join(_selected(connection, c) for c in table.columns)
    where = " AND ".join(f"{quote(name)} = %s" for name in table.key)
    values = [_WRITE[table.kinds[name]](key[name]) for name in table.key]
    query = f"SELECT {selected} FROM {table.sql} WHERE {where}"
    found = connection.query(query, tuple(values)).fetchone()
    return None if found is None else _row(table, found)


def _row(table: Table, values: tuple[Any, ...]) -> Row:
    return {
        column.name: _READ[column.kind](value)
        for column, value in zip(table.columns, values, strict=True)
        if value is not None
    }


def _selected(connection: Any, column: Column) -> str:
    name = connection.adapter.quote_identifier(column.name)
    # As text, which tells a JSON null from none, and has one parser for all backends.
    as_text = column.kind in _AS_JSON and connection.adapter.backend == "postgresql"
    return f"{name}::text" if as_text else name


def _ordering(connection: Any, column: Column) -> str:
    """By bytes, since backends and their locales sort text in different ways."""
    name = connection.adapter.quote_identifier(column.name)
    if column.kind not in TEXTS:
        return name
    if connection.adapter.backend == "postgresql":
        return f'{name} COLLATE "C"'
    return f"CAST({name} AS BINARY)"


_cursors = itertools.count()


def _fetched(connection: Any, query: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a query, of which the server sends a batch at a time."""
    if connection.adapter.backend != "postgresql":
        from pymysql.cursors import SSCursor

        with connection._conn.cursor(SSCursor) as cursor:
            cursor.execute(query)
            yield from cursor
        return
    name = f"neuroteach_rows_{next(_cursors)}"
    connection.query(f"DECLARE {name} NO SCROLL CURSOR FOR {query}")
    while batch := connection.query(f"FETCH {BATCH} FROM {name}").fetchall():
        yield from batch
    connection.query(f"CLOSE {name}")


def insert_rows(connection: Any, table: Table, rows: Iterable[Row]) -> int:
    """Insert rows as they are; returns how many. Columns that ``table`` lacks get their default."""
    quote = connection.adapter.quote_identifier
    names = ", ".join(quote(column.name) for column in table.columns)
    place = f"({', '.join(['%s'] * len(table.columns))})"
    n = 0
    written = (
        [_WRITE[c.kind](row[c.name]) if c.name in row else None for c in table.columns]
        for row in rows
    )
    for batch in _batches(written):
        places = ", ".join([place] * len(batch))
        values = tuple(itertools.chain.from_iterable(batch))
        connection.query(f"INSERT INTO {table.sql} ({names}) VALUES {places}", values)
        n += len(batch)
    return n


def _batches(rows: Iterable[list[Any]]) -> Iterator[list[list[Any]]]:
    """Values of rows for one statement, which is neither of too many nor too long."""
    batch: list[list[Any]] = []
    size = 0
    for values in rows:
        batch.append(values)
        size += sum(len(value) for value in values if isinstance(value, (str, bytes)))
        if len(batch) == BATCH or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def check_row(table: Table, row: Any) -> None:
    """Raise a RowError unless a row, read from a file, can be written to its table."""
    if not isinstance(row, dict):
        raise RowError(f"{table.name}: a row is {type(row).__name__}, expected an object")
    kinds = table.kinds
    if unknown := sorted(set(row) - set(kinds)):
        raise RowError(f"{table.name}: a row has the unknown column {unknown[0]}")
    if lacking := [name for name in table.key if name not in row]:
        raise RowError(f"{table.name}: a row has no {lacking[0]}, which is in its key")
    for name, value in row.items():
        try:
            if _READ[kinds[name]](_WRITE[kinds[name]](value)) != value:
                raise ValueError
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            raise RowError(
                f"{table.name}: {name} is {value!r:.60}, expected a value of type {kinds[name]}"
            ) from None


def line_of(row: Row) -> bytes:
    """A row as one line of JSON, the same whatever order its columns are in."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def digest_of(row: Row) -> bytes:
    """SHA-256 of a row."""
    return hashlib.sha256(line_of(row)).digest()


def key_of(table: Table, row: Row) -> str:
    """The primary key of a row as text."""
    return json.dumps([row[name] for name in table.key])


def key_text(table: Table, key: Mapping[str, Any]) -> str:
    """The same of a key as DataJoint gives it."""
    kinds = table.kinds
    return json.dumps([_READ[kinds[name]](key[name]) for name in table.key])


def described(table: Table, row: Row) -> str:
    """A row for people, by its table and key."""
    return f"{table.name} ({', '.join(f'{name}={row[name]}' for name in table.key)})"


# -- values ------------------------------------------------------------------------------------


def _read_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _integer(digits: str) -> int | float:
    # MySQL keeps larger ones as floats.
    value = int(digits)
    return value if abs(value) < 2**63 else float(value)


def _read_json(text: Any) -> Any:
    return json.loads(text, parse_int=_integer)


def _write_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _same(kind: type) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}")
        return value

    return checked


# From what the driver gives.
_READ: dict[Kind, Callable[[Any], Any]] = {
    Kind.boolean: bool,
    Kind.whole: int,
    Kind.number: _read_float,
    Kind.char: lambda value: value.rstrip(" "),  # PostgreSQL pads it, MySQL does not
    Kind.text: str,
    Kind.date: date.isoformat,
    Kind.datetime: datetime.isoformat,
    Kind.decimal: str,
    **dict.fromkeys(_AS_JSON, _read_json),
    Kind.binary: lambda value: base64.b64encode(bytes(value)).decode("ascii"),
}
# To what it takes.
_WRITE: dict[Kind, Callable[[Any], Any]] = {
    Kind.boolean: _same(bool),
    Kind.whole: _same(int),
    Kind.number: float,
    Kind.char: _same(str),
    Kind.text: _same(str),
    Kind.date: date.fromisoformat,
    Kind.datetime: datetime.fromisoformat,
    Kind.decimal: Decimal,
    **dict.fromkeys(_AS_JSON, _write_json),
    Kind.binary: lambda value: base64.b64decode(value, validate=True),
}
