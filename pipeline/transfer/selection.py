"""Which rows belong to an experiment: what it asks for, and all that this was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.experiments.selection import Selection
from pipeline.transfer.rows import INSTALL, Row, RowError, key_of, key_text, read_rows, tables_of
from pipeline.transfer.sources import Wanted
from schemas import tables as all_tables
from schemas.model import Table

Link = tuple[str, str]  # a table and a key in it


def rows_of_experiment(connection: Any, schema: str, experiment: str, scale: str | None) -> Wanted:
    """Which rows belong to an experiment; within a transaction, with the tables bound.

    Raises
    ------
    LookupError
        If there is no such experiment.
    RowError
        If it asks for an evaluation that is not installed here.
    """
    asked_for = Selection(experiment, scale).experiments  # refuses an unknown one
    links = _Links(connection, tables_of(connection, schema))
    chosen: set[Link] = set()
    waiting = list(links.planned(experiment, scale))
    here = {table.__name__ for table in all_tables.all_tables()}
    if foreign := sorted({name for name, _ in waiting} - here):
        raise RowError(
            f"{', '.join(foreign)}: the experiment asks for what is not installed here, whose "
            f"results would stay behind; {INSTALL}"
        )
    for computed in all_tables.computed_tables():
        asked = computed & computed.planned(asked_for)
        table = links.tables[computed.__name__]
        waiting += [(table.name, key_text(table, key)) for key in asked.keys()]  # noqa: SIM118
    while waiting:
        link = waiting.pop()
        if link not in chosen:
            chosen.add(link)
            waiting += [*links.of(link), *links.extensions(link)]

    def wanted(table: Table, row: Row) -> bool:
        return links.whole(table, row) in chosen

    return wanted


# A teacher that is only planned refers to no row yet; its settings name the matrix that it needs.
_NAMING = {"TeacherConfig": ("config",)}


def _named(table: str, row: Row) -> Iterator[Link]:
    if table in _NAMING and row["config"].get("rsm"):
        yield "Rsm", json.dumps([row["config"]["rsm"]])


class _Links:
    """What each row refers to, read once for a table."""

    def __init__(self, connection: Any, tables: list[Table]) -> None:
        self.connection = connection
        self.tables = {table.name: table for table in tables}
        self._parts: dict[str, list[Table]] = {}
        for table in tables:
            if table.master is not None:
                self._parts.setdefault(table.master, []).append(table)
        self._known: dict[str, dict[str, list[Link]]] = {}
        self._extensions: dict[str, dict[str, list[str]]] = {}
        self._extending = {
            table.__name__: str(table.extends)
            for table in all_tables.all_tables()
            if hasattr(table, "extends")
        }

    def planned(self, experiment: str, scale: str | None) -> Iterator[Link]:
        """The experiment, its plans, and what is computed of it as a whole."""
        for table in self.tables.values():
            if table.master is not None or not {"experiment", "scale"} <= set(table.key):
                continue
            for row in read_rows(self.connection, table.restricted(table.key)):
                if row["experiment"] == experiment and scale in (None, row["scale"]):
                    yield table.name, key_of(table, row)

    def whole(self, table: Table, row: Row) -> Link:
        """The row itself, or the one that it is a part of."""
        if table.master is None:
            return table.name, key_of(table, row)
        columns = next(columns for name, columns in table.parents if name == table.master)
        return table.master, self._key_of_parent(table.master, columns, row)

    def _key_of_parent(self, parent: str, columns: dict[str, str], row: Row) -> str:
        ours = {theirs: own for own, theirs in columns.items()}
        return json.dumps([row[ours[name]] for name in self.tables[parent].key])

    def extensions(self, link: Link) -> list[Link]:
        """Rows that say more of a row, and go wherever it goes."""
        table, key = link
        return [
            (name, own)
            for name, extended in self._extending.items()
            if extended == table
            for own in self._keys_extending(name, table).get(key, ())
        ]

    def _keys_extending(self, name: str, extended: str) -> dict[str, list[str]]:
        """Keys of a table by those of the rows that its rows say more of."""
        if name not in self._extensions:
            table = self.tables[name]
            columns = next(columns for parent, columns in table.parents if parent == extended)
            found = self._extensions[name] = {}
            for row in read_rows(self.connection, table.restricted(table.key)):
                key = self._key_of_parent(extended, columns, row)
                found.setdefault(key, []).append(key_of(table, row))
        return self._extensions[name]

    def of(self, link: Link) -> list[Link]:
        """What a row and its parts refer to."""
        table, key = link
        if table not in self._known:
            self._known[table] = self._read(table)
        return self._known[table].get(key, [])

    def _read(self, name: str) -> dict[str, list[Link]]:
        found: dict[str, list[Link]] = {}
        for table in (self.tables[name], *self._parts.get(name, ())):
            others = [parent for parent, _ in table.parents if parent != table.master]
            if table.master is not None and not others:
                continue  # it refers to nothing but its whole
            referring = {own for _, columns in table.parents for own in columns}
            needed = table.restricted({*table.key, *referring, *_NAMING.get(table.name, ())})
            for row in read_rows(self.connection, needed):
                links = found.setdefault(self.whole(table, row)[1], [])
                links += self._parents(table, row)
                links += _named(table.name, row)
        return found

    def _parents(self, table: Table, row: Row) -> Iterator[Link]:
        for parent, columns in table.parents:
            if parent != table.master and all(own in row for own in columns):
                yield self._whole_by_key(parent, self._key_of_parent(parent, columns, row))

    def _whole_by_key(self, table: str, key: str) -> Link:
        """The row with a key, or the one that it is a part of, whose key its own begins with."""
        master = self.tables[table].master
        if master is None:
            return table, key
        n = len(self.tables[master].key)
        return master, json.dumps(json.loads(key)[:n])
