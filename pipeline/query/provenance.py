"""What a row was made from: itself, what made it, and all that it was computed from, to the data.

The foreign keys of a row lead to what it was computed from, and so do those of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pipeline.query.restriction import (
    Condition,
    QueryError,
    nearest,
    read_condition,
    written_column,
)
from pipeline.query.rows import Joined, Row, join, shown, table_here, tables_here
from schemas import base
from schemas.model import OPAQUE, Kind

FEW = 5  # keys that an error lists
CHECKSUMS = ("sha256", "hash")


@dataclass(frozen=True)
class Stored:
    """An array or a file in the store, as far as the database knows it."""

    column: str
    shown: str
    path: str
    about: Mapping[str, Any]

    @property
    def checksum(self) -> str:
        """What the content can be checked by, or nothing."""
        return next((f"{n} {self.about[n]}" for n in CHECKSUMS if self.about.get(n)), "")


@dataclass
class Node:
    """A row and what it was computed from.

    Attributes
    ----------
    table : str
    key : dict
    role : str
        The columns by which the row below it names it, if they are called otherwise there.
    made : dict
        Who or what computed it, where, when, with which version.
    values, documents : dict
        Its numbers and texts; its JSON.
    stored : list of Stored
    parts : dict
        How many rows its part tables have.
    sources : list of Node
        What it was computed from.
    above : bool
        It stands in the tree before, where all else about it is said.
    missing : bool
        It was deleted.
    """

    table: str
    key: Row
    role: str = ""
    made: Row = field(default_factory=dict)
    values: Row = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    sources: list[Node] = field(default_factory=list)
    above: bool = False
    missing: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The tree for programs, in what JSON can hold."""
        about: dict[str, Any] = {"table": self.table, "key": _plain(self.key)}
        if self.role:
            about["role"] = self.role
        if self.above or self.missing:
            return about | {"above" if self.above else "missing": True}
        return about | {
            "made": _plain(self.made),
            "values": _plain(self.values) | self.documents,
            "stored": {s.column: dict(s.about) for s in self.stored},
            "parts": self.parts,
            "sources": [source.to_dict() for source in self.sources],
        }


def _plain(row: Row) -> Row:
    return {k: v.isoformat() if isinstance(v, date | datetime) else v for k, v in row.items()}


@dataclass(frozen=True)
class Link:
    """A row that another was computed from."""

    table: str
    key: Row
    role: str = ""
    part_of: str = ""  # the table whose row led to this part of it


def provenance(table: str, key: str | Sequence[str] | Mapping[str, Any] = ()) -> Node:
    """The one row of a table that a key or conditions select, with all it was computed from.

    Parameters
    ----------
    table : str
        Its name.
    key : dict or str or sequence of str
        Columns and values, or conditions such as ``"seed = 0"``. Conditions may also be on columns
        of the tables that it refers to, such as the kind of its teacher.

    Raises
    ------
    QueryError
        If the table or a column is unknown, or no row or more than one is selected.
    """
    return _Tree().node(Link(table, the_one(table, key)))


def the_one(table: str, key: str | Sequence[str] | Mapping[str, Any]) -> Row:
    """The key of the one row that a key or conditions select, as :func:`provenance` takes them.

    Raises
    ------
    QueryError
        If the table or a column is unknown, or no row or more than one is selected.
    """
    joined, conditions, keys = _selected(table, key, limit=FEW + 1)
    if len(keys) > 1:
        raise QueryError(_too_many(table, joined.count(conditions), keys[:FEW]))
    return keys[0]


def select(table: str, key: str | Sequence[str] | Mapping[str, Any]) -> list[Row]:
    """Keys of all rows of a table that are selected, by what :func:`provenance` takes.

    Raises
    ------
    QueryError
        If the table or a column is unknown, or no row is selected.
    """
    return _selected(table, key)[2]


def _selected(
    table: str, key: str | Sequence[str] | Mapping[str, Any], limit: int | None = None
) -> tuple[Joined, list[Condition], list[Row]]:
    """A table with those that conditions speak of, the conditions, and keys that meet them."""
    base.require_active()
    if isinstance(key, Mapping):
        joined = join([table])
        conditions = [Condition(joined.resolve(c), "=", (_native(v),)) for c, v in key.items()]
    else:
        where = [key] if isinstance(key, str) else list(key)
        joined = _with_columns_of(table, [written_column(text) for text in where])
        conditions = [
            read_condition(t, joined.kinds, lambda c: _own_first(joined, table, c)) for t in where
        ]
    columns = {n: joined.names[f"{table}.{n}"] for n in table_here(table).key}
    found = joined.rows(conditions, list(columns.values()), limit=limit)
    if not found:
        raise QueryError(_why_none(table, joined, conditions))
    return joined, conditions, [{n: row[c] for n, c in columns.items()} for row in found]


def _native(value: Any) -> Any:
    """A number of NumPy, as frames hold them, as the database takes it."""
    return value.item() if hasattr(value, "item") else value


def _with_columns_of(table: str, columns: Sequence[str]) -> Joined:
    """A table, joined with those that it was made from as far as their columns are wanted."""
    names, known = [table], set(join([table]).names)
    levels = [[(name, set(join([name]).names)) for name in level] for level in _ancestors(table)]
    for column in columns:
        if column in known:
            continue
        nearby = ([name for name, its in level if column in its] for level in levels)
        having = next(filter(None, nearby), [])
        if len(having) > 1:
            which = " or ".join(f"{name}.{column}" for name in having)
            raise QueryError(f"{column}: which one, {which}?")
        if not having:
            known |= {c for level in levels for _, its in level for c in its if "." not in c}
            raise QueryError(f"{column}: no such column; {nearest(column, known)}")
        names += [having[0]] if having[0] not in names else []
    return join(names)


def _own_first(joined: Joined, table: str, column: str) -> str:
    """The column of this name, of the table itself if it has one."""
    return joined.names.get(f"{table}.{column}") or joined.resolve(column)


def _ancestors(table: str) -> list[list[str]]:
    """Tables whose keys a table holds under their own names, level by level upward."""
    tables = tables_here()
    held = set(tables[table].kinds)
    levels, done = [[table]], {table}
    while levels[-1]:
        parents = [
            name
            for child in levels[-1]
            for name, columns in _references(child)
            if not _role(columns) and set(tables[name].key) <= held
        ]
        levels.append([name for name in dict.fromkeys(parents) if name not in done])
        done.update(levels[-1])
    return levels[1:-1]


def _role(columns: Mapping[str, str]) -> str:
    return ", ".join(mine for mine, theirs in columns.items() if mine != theirs)


def _references(table: str) -> list[tuple[str, dict[str, str]]]:
    """Foreign keys, those to settings first, then to what was given, then to what was computed."""
    tables = tables_here()

    def order(reference: tuple[str, dict[str, str]]) -> tuple[bool, bool, str]:
        parent = tables[reference[0]]
        made = parent.computed or parent.master is not None
        return made, not parent.lookup, parent.name

    return sorted((p for p in tables[table].parents if p[0] in tables), key=order)


def _why_none(table: str, joined: Joined, conditions: Sequence[Condition]) -> str:
    """What there is instead, with each condition left out in turn."""
    if not joined.count():
        return f"{table}: has no rows yet"
    near = []
    for condition in conditions:
        others = [c for c in conditions if c is not condition]
        if known := joined.values(condition.column, others, FEW + 1):
            listed = ", ".join(map(str, known[:FEW])) + (" ..." if len(known) > FEW else "")
            near.append(f"{condition.column} is {listed}")
    asked = " and ".join(map(str, conditions))
    among = "there" if len(conditions) == 1 else "of rows that meet all the others"
    return f"{table}: no row has {asked}" + (f"; {among}, {'; or '.join(near)}" if near else "")


def _too_many(table: str, n: int, keys: Sequence[Row]) -> str:
    import shlex

    lines = [
        shlex.join(["neuroteach", "explain", table, *(f"{c}={v}" for c, v in key.items())])
        for key in keys
    ]
    more = [f"and {n - len(keys)} more"] if n > len(keys) else []
    return "\n  ".join([f"{table}: {n} rows match, expected one; for instance", *lines, *more])


# -- the tree ----------------------------------------------------------------------------------


class _Tree:
    """Walks from a row to all that it was computed from, each row once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, tuple[Any, ...]]] = set()
        self._joined: dict[str, Joined] = {}

    def rows(self, table: str, key: Row) -> list[Row]:
        if table not in self._joined:
            self._joined[table] = join([table])
        return self._joined[table].rows([Condition(c, "=", (v,)) for c, v in key.items()])

    def node(self, link: Link) -> Node:
        node = Node(link.table, link.key, link.role)
        identity = link.table, tuple(sorted(link.key.items()))
        if identity in self._seen:
            node.above = True
            return node
        self._seen.add(identity)
        rows = self.rows(link.table, link.key)
        if not rows:
            node.missing = True
            return node
        _describe(node, rows[0], self._joined[link.table].kinds)
        links = [li for li in self._links(link.table, rows[0]) if li.table != link.part_of]
        links += self._links_of_parts(node)
        node.sources = [self.node(source) for source in _once(links)]
        return node

    def _links(self, table: str, row: Row) -> list[Link]:
        links = []
        for parent, columns in _references(table):
            key = {theirs: row[mine] for mine, theirs in columns.items()}
            if None not in key.values() and not self._is_only_a_key(parent):
                links.append(Link(parent, key, _role(columns)))
        return links

    def _is_only_a_key(self, table: str) -> bool:
        """Whether its rows, like seeds, say nothing that a reference to them does not."""
        found = tables_here()[table]
        return len(found.columns) == len(found.key) and not found.parents

    def _links_of_parts(self, node: Node) -> list[Link]:
        links = []
        for part in (t for t in tables_here().values() if t.master == node.table):
            rows = self.rows(part.name, node.key)
            if rows:
                node.parts[part.name.removeprefix(f"{node.table}.")] = len(rows)
            if all(parent == node.table for parent, _ in _references(part.name)):
                continue
            for row in rows:
                if len(part.columns) > len(part.key):
                    key = {n: row[n] for n in part.key}
                    links.append(Link(part.name, key, part_of=node.table))
                else:  # it says no more than what it refers to
                    links += [li for li in self._links(part.name, row) if li.table != node.table]
        return links


def _once(links: Sequence[Link]) -> list[Link]:
    return [link for i, link in enumerate(links) if link not in links[:i]]


def _describe(node: Node, row: Row, kinds: Mapping[str, Kind]) -> None:
    """Sort the columns of a row by what they say of it."""
    made_by = provenance_columns()
    referring = {mine for _, columns in _references(node.table) for mine in columns}
    for column, value in row.items():
        if value is None or column in node.key or column in referring:
            continue
        kind = kinds[column]
        if kind in (Kind.array, Kind.file):
            text = shown(value, kind)
            node.stored.append(Stored(column, text, value.get("path", ""), value))
        elif kind is Kind.json:
            node.documents[column] = value
        elif kind not in OPAQUE:
            (node.made if column in made_by else node.values)[column] = value


def provenance_columns() -> tuple[str, ...]:
    """Columns that say what computed a row."""
    lines = base.PROVENANCE.strip().splitlines()
    names = (line.partition(":")[0].partition("=")[0].strip() for line in lines)
    return tuple(name for name in names if name.isidentifier())
