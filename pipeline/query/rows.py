"""Questions to the database: tables joined, rows selected, columns chosen, nothing downloaded."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.query.restriction import Condition, QueryError, nearest, read_condition
from schemas import base
from schemas import tables as registry
from schemas.model import OPAQUE, Column, Kind, Table

if TYPE_CHECKING:
    from datajoint.expression import QueryExpression

Row = dict[str, Any]

# Missing numbers must not turn whole ones into fractions, nor an empty column into another type.
DTYPES = {
    Kind.whole: "Int64",
    Kind.number: "float64",
    Kind.decimal: "float64",
    Kind.boolean: "boolean",
    Kind.datetime: "datetime64[us]",
}


@functools.cache
def named_tables() -> Mapping[str, Any]:
    """All tables by their names; those of part tables are ``Master.Part``."""
    found = {table.__qualname__: table for table in registry.known_tables()}
    return MappingProxyType(dict(sorted(found.items())))


def table_named(name: str) -> Any:
    """A table.

    Raises
    ------
    QueryError
        If there is none of this name.
    """
    tables = named_tables()
    if name not in tables:
        raise QueryError(f"{name}: no such table; {nearest(name, tables)}")
    return tables[name]


def tables_here() -> Mapping[str, Table]:
    """The tables of :func:`named_tables` as the open database has them, as far as it does.

    Raises
    ------
    NotActivatedError
        If none is open.
    """
    base.require_active()
    assert base.schema.catalogue is not None
    there = base.schema.catalogue.tables
    return {name: there[name] for name in named_tables() if name in there}


def table_here(name: str) -> Table:
    """One of them.

    Raises
    ------
    QueryError
        If there is none of this name.
    """
    table_named(name)  # for names that nothing has
    here = tables_here()
    if name not in here:
        raise QueryError(f"{name}: this database has no such table yet; `neuroteach init` makes it")
    return here[name]


def query(
    tables: str | Sequence[str],
    where: str | Iterable[str] = (),
    columns: Sequence[str] | None = None,
    *,
    sort: Sequence[str] = (),
    limit: int | None = None,
    paths: bool = True,
) -> pd.DataFrame:
    """Rows of one table, or of several joined on the keys that they share.

    Arrays and files are not read: an array is given as its type and shape, a file as its size.

    Parameters
    ----------
    tables : str or sequence of str
        Such as ``"Scan"`` or ``["TrainedNetwork", "TeacherConfig"]``. Their columns follow the
        key in this order.
    where : str or iterable of str
        Conditions such as ``"alpha >= 0.1"``, which all must hold; see
        :mod:`pipeline.query.restriction`.
    columns : sequence of str, optional
        All by default. Where tables have different columns of one name, ``TABLE.column``.
    sort : sequence of str
        Columns, each with ``desc`` after it or not; rows that are equal in them, and all without
        them, come in the order of their keys. Missing values come last.
    limit : int, optional
        Most rows.
    paths : bool
        Also give, as ``COLUMN.path``, where in the store arrays and files are.

    Returns
    -------
    DataFrame
        Whole numbers and truth values are of types that may be missing.

    Raises
    ------
    QueryError
        If a table, column or condition is not as expected, or tables share no key.
    """
    base.require_active()
    joined = join([tables] if isinstance(tables, str) else tables)
    conditions = joined.conditions([where] if isinstance(where, str) else where)
    if limit is not None and limit < 1:
        raise QueryError(f"limit: {limit}, expected 1 or more")
    chosen = [joined.resolve(c) for c in columns] if columns else list(joined.kinds)
    twice = [column for column, n in Counter(chosen).items() if n > 1]
    if twice:
        raise QueryError(f"columns: {twice[0]} is named twice; name it once")
    order = [joined.order(text) for text in sort]
    rows = joined.rows(conditions, chosen, order=order, limit=limit)
    return _frame(rows, {column: joined.kinds[column] for column in chosen}, paths)


@dataclass(frozen=True)
class Joined:
    """Joined tables, whose columns have unique names.

    Attributes
    ----------
    expression : QueryExpression
    kinds : dict
        What each column holds.
    names : dict
        The column of each name that it may be called by, ``TABLE.column`` always being one. A
        name that several columns have is missing.
    notes : tuple of str
        What should be said of the result.
    """

    expression: QueryExpression
    kinds: dict[str, Kind]
    names: dict[str, str]
    notes: tuple[str, ...] = ()

    def resolve(self, name: str) -> str:
        """The column that is meant by a name.

        Raises
        ------
        QueryError
            If there is none, or more than one.
        """
        if name in self.names:
            return self.names[name]
        several = [column for column in self.kinds if column.endswith(f".{name}")]
        if several:
            raise QueryError(f"{name}: which one, {' or '.join(several)}?")
        known = self.kinds if "." not in name else self.names
        raise QueryError(f"{name}: no such column; {nearest(name, known)}")

    def conditions(self, where: Iterable[str]) -> list[Condition]:
        """Read conditions on these columns."""
        return [read_condition(text, self.kinds, self.resolve) for text in where]

    def order(self, text: str) -> tuple[str, bool]:
        """A column to sort by, and whether it goes down."""
        name, _, direction = text.strip().partition(" ")
        direction = direction.strip().lower()
        if direction not in ("", "asc", "desc"):
            raise QueryError(f"sort: {text!r}, expected a column, alone or with 'desc' after it")
        column = self.resolve(name)
        if self.kinds[column] in OPAQUE:
            raise QueryError(f"sort: {name} holds {OPAQUE[self.kinds[column]]}, which has no order")
        return column, direction == "desc"

    def rows(
        self,
        conditions: Iterable[Condition] = (),
        columns: Sequence[str] | None = None,
        *,
        order: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
    ) -> list[Row]:
        """Rows as the database has them, in order; of arrays and files what is known of them."""
        fields = list(self.kinds) if columns is None else list(columns)
        quote = self.expression.connection.adapter.quote_identifier
        by = ", ".join(
            f"{quote(c)} IS NULL, {quote(c)}{' DESC' if down else ''}"
            for c, down in [*order, *((name, False) for name in self.expression.primary_key)]
        )
        ordered = f" ORDER BY {by}" if by else ""
        return self._select(", ".join(map(quote, fields)), fields, conditions, ordered, limit)

    def count(self, conditions: Iterable[Condition] = ()) -> int:
        """Number of rows."""
        return int(self._select("COUNT(*) AS n", ["n"], conditions)[0]["n"])

    def values(self, column: str, conditions: Iterable[Condition], limit: int) -> list[Any]:
        """Values of a column that there are, in order, each once; no more than a limit."""
        quoted = self.expression.connection.adapter.quote_identifier(column)
        ordered = f" ORDER BY {quoted}"
        found = self._select(f"DISTINCT {quoted}", [column], conditions, ordered, limit)
        return [row[column] for row in found if row[column] is not None]

    def _select(
        self,
        what: str,
        fields: Sequence[str],
        conditions: Iterable[Condition],
        ordered: str = "",
        limit: int | None = None,
    ) -> list[Row]:
        connection = self.expression.connection
        clauses = [c.sql(connection.adapter.quote_identifier) for c in conditions]
        where = " AND ".join(f"({sql})" for sql, _ in clauses)
        text = (
            f"SELECT {what} FROM ({self.expression.make_sql()}) AS found"
            + (f" WHERE {where}" if where else "")
            + ordered
            + (f" LIMIT {limit:d}" if limit is not None else "")
        )
        values = tuple(value for _, some in clauses for value in some)
        return [
            {field: _decoded(row[field], self.kinds.get(field)) for field in fields}
            for row in connection.query(text, values, as_dict=True)
        ]


def join(names: Sequence[str]) -> Joined:
    """Join tables on all columns that come from the same key.

    Raises
    ------
    QueryError
        If a table is unknown or named twice, or shares no key with the others.
    """
    if not names:
        raise QueryError(f"tables: none is named; {nearest('', named_tables())}")
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise QueryError(f"{twice[0]}: named twice; name each table once")
    tables = {name: table_here(name) for name in names}
    new_names = _unique_names(tables)
    projected = {
        name: table_named(name)().proj(
            ..., **{new: old for old, new in new_names[name].items() if new != old}
        )
        for name in names
    }
    left = list(projected)
    first = left.pop(0)
    expression, done, notes = projected[first], [first], []
    while left:
        table = next((n for n in left if _shared(expression, projected[n])), None)
        if table is None:
            raise QueryError(_no_key(left[0], done))
        note = _many_to_many(expression, projected[table], done, table)
        notes += [note] if note else []
        expression = expression * projected[table]
        left.remove(table)
        done.append(table)
    # The key first, then the columns of each table in the order of naming.
    in_order = [*expression.primary_key, *(c for name in names for c in new_names[name].values())]
    of_any = {new_names[n][c]: kind for n, t in tables.items() for c, kind in t.kinds.items()}
    kinds = {column: of_any[column] for column in in_order}
    called = {
        f"{table}.{old}": new
        for table, columns in new_names.items()
        for old, new in columns.items()
    }
    return Joined(expression, kinds, called | {c: c for c in kinds}, tuple(notes))


def _unique_names(tables: Mapping[str, Table]) -> dict[str, dict[str, str]]:
    """Of each table, its columns' names in a join: ``TABLE.column`` where others mean another.

    Columns are the same if they come from the same key. What tables have of their own, such as
    ``seconds``, never is.
    """
    keys: dict[str, set[str]] = {}
    owners: Counter[str] = Counter()  # of columns that come from no key
    for column in (column for table in tables.values() for column in table.columns):
        keys.setdefault(column.name, set())
        if column.lineage:
            keys[column.name].add(column.lineage)
        else:
            owners[column.name] += 1

    def keeps_its_name(c: Column) -> bool:
        # A key does, if no other key is called so.
        return len(keys[c.name]) == 1 if c.lineage else owners[c.name] == 1 and not keys[c.name]

    return {
        name: {c.name: c.name if keeps_its_name(c) else f"{name}.{c.name}" for c in table.columns}
        for name, table in tables.items()
    }


def _shared(one: Any, other: Any) -> set[str]:
    return set(one.heading.names) & set(other.heading.names)


def _no_key(name: str, others: Sequence[str]) -> str:
    """What to do about a table that shares no key with others."""
    tables = tables_here()
    between = sorted(
        (
            n
            for n, table in tables.items()
            if not n.endswith("Plan")
            and _leads_to(table, tables[name])
            and any(_leads_to(table, tables[o]) for o in others)
        ),
        key=lambda n: len(tables[n].key),
    )
    hint = f"name one between them too, such as {' or '.join(between[:4])}" if between else ""
    return f"{name}: shares no key with {', '.join(others)}; {hint or 'ask for it alone'}"


def _leads_to(one: Table, other: Table) -> bool:
    """Whether a row of one of two tables names a row of the other."""
    here, there = ({c.lineage for c in t.columns if c.lineage} for t in (one, other))
    keys = ({c.lineage for c in t.columns if c.in_key} for t in (one, other))
    return any(key <= here & there for key in keys)


def _many_to_many(one: Any, other: Any, done: Sequence[str], name: str) -> str:
    shared = _shared(one, other)
    if set(one.primary_key) <= shared or set(other.primary_key) <= shared:
        return ""
    return (
        f"{', '.join(done)} and {name} are joined on {', '.join(sorted(shared))}, which is the "
        "whole key of neither: each row stands beside every row that agrees in it"
    )


# -- values ------------------------------------------------------------------------------------


def _decoded(value: Any, kind: Kind | None) -> Any:
    """A value as Python has it; MySQL gives JSON as text and truth values as numbers."""
    if value is None:
        return None
    if kind in (Kind.json, Kind.array, Kind.file) and isinstance(value, str):
        return json.loads(value)
    if kind is Kind.boolean:
        return bool(value)
    return float(value) if kind in (Kind.number, Kind.decimal) else value


def _frame(rows: Sequence[Row], kinds: Mapping[str, Kind], paths: bool) -> pd.DataFrame:
    columns: dict[str, pd.Series] = {}
    for column, kind in kinds.items():
        values = [row[column] for row in rows]
        dtype = DTYPES.get(kind, "object")
        columns[column] = pd.Series([shown(v, kind) for v in values], dtype=dtype)
        if paths and kind in (Kind.array, Kind.file):
            where = [v.get("path") if isinstance(v, dict) else None for v in values]
            columns[f"{column}.path"] = pd.Series(where, dtype="object")
    return pd.DataFrame(columns)


def shown(value: Any, kind: Kind) -> Any:
    """A value as a cell of a table: JSON as its text, arrays and files described."""
    if value is None:
        return None
    if kind is Kind.json:
        return json.dumps(value, ensure_ascii=False)
    if kind is Kind.array:
        return f"{value['dtype']} ({', '.join(map(str, value['shape']))})"
    if kind is Kind.file:
        return f"{value['size']} bytes"
    return OPAQUE.get(kind, value)


# -- what there is -----------------------------------------------------------------------------


def described(names: Sequence[str] = ()) -> pd.DataFrame:
    """All tables, or those named, with a row for each column.

    Raises
    ------
    QueryError
        If a table is unknown.
    """
    tables = {name: table_here(name) for name in names} if names else tables_here()
    rows = [
        {
            "table": name,
            "column": column.name,
            "type": column.kind.label,
            "key": column.in_key,
            "nullable": column.nullable,
            "comment": column.comment,
            "description": (table_named(name).__doc__ or "").strip().partition("\n")[0],
        }
        for name, table in tables.items()
        for column in table.columns
    ]
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """What :func:`described` says, with a row for each table; columns of its key have a star."""
    starred = frame["column"] + frame["key"].map({True: "*", False: ""})
    by_table = frame.assign(columns=starred).groupby("table", sort=False)
    return by_table.agg(
        description=("description", "first"), columns=("columns", ", ".join)
    ).reset_index()
