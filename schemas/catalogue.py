"""What the database knows of all tables of a schema, asked in a few statements.

DataJoint asks six questions about each table whose heading is needed, over five hundred for all.
Here the columns, keys and origins of all tables are asked for at once, when the first heading is
needed, and DataJoint's own reading of them is kept: it is handed the answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from datajoint.codecs import get_codec
from datajoint.dependencies import Dependencies
from datajoint.heading import Heading
from datajoint.utils import to_camel_case

from schemas.model import Table, column_of
from schemas.stored import CODECS

Row = dict[str, Any]

_LINEAGE = "~lineage"


class Catalogue:
    """Tables of one schema of the database.

    Parameters
    ----------
    connection : datajoint.Connection
    schema : str
        Its name in the database.
    """

    def __init__(self, connection: Any, schema: str) -> None:
        self.connection = connection
        self.schema = schema
        self._answers: dict[str, dict[str, list[Row]]] | None = None
        self._names: frozenset[str] | None = None
        self._tables: dict[str, Table] | None = None

    @property
    def names(self) -> frozenset[str]:
        """Names of its tables, job queues included; none if there is no such schema."""
        if self._names is None:
            rows = self.connection.query(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s",
                (self.schema,),
            )
            self._names = frozenset(row[0] for row in rows)
        return self._names

    def forget(self) -> None:
        """Ask again when something is needed: tables were declared or altered."""
        self._answers = self._names = self._tables = None

    @property
    def tables(self) -> Mapping[str, Table]:
        """Its tables by their names in Python, each after those it refers to.

        Without job queues, and what a migration has put aside.
        """
        if self._tables is None:
            graph = Dependencies(self.connection)
            graph.load(schema_names={self.schema})
            split = self.connection.adapter.split_full_table_name
            here = [(full, *split(full)) for full in graph.topo_sort()]
            ours = {
                full: name
                for full, schema, name in here
                if schema == self.schema and not name.startswith("~")
            }
            names = {full: _python_name(name) for full, name in ours.items()}
            found = [
                Table(
                    names[full],
                    full,
                    tuple(map(column_of, StoredHeading(self, name, None).attributes.values())),
                    tuple(
                        (names[parent], dict(edge["attr_map"]))
                        for parent, _, edge in graph.in_edges(full, data=True)
                        if parent in names
                    ),
                    computed=name.startswith("__"),
                    lookup=name.startswith("#"),
                )
                for full, name in ours.items()
            ]
            self._tables = {table.name: table for table in found}
        return self._tables

    def answers(self, table: str) -> dict[str, list[Row]]:
        """Rows about one table by the question that they answer."""
        if self._answers is None:
            self._answers = self._read()
        return self._answers.get(table, {})

    def _read(self) -> dict[str, dict[str, list[Row]]]:
        found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        questions = _QUESTIONS[self.connection.adapter.backend]
        for question, sql in questions.items():
            for row in self.connection.query(sql, (self.schema,), as_dict=True):
                found[row["of_table"]][question].append(row)
        if _LINEAGE in found:
            table = self.connection.adapter.make_full_table_name(self.schema, _LINEAGE)
            sql = f"SELECT table_name, attribute_name, lineage FROM {table}"
            for row in self.connection.query(sql, as_dict=True):
                found[row["table_name"]]["lineage"].append(row)
        return {table: dict(rows) for table, rows in found.items()}


def _python_name(table: str) -> str:
    return ".".join(to_camel_case(part) for part in table.lstrip("#_").split("__"))


class StoredHeading(Heading):
    """The heading of a table, read from a catalogue when it is needed.

    Arrays and files are read and written by the codecs of :mod:`schemas.stored`.
    """

    table_info: dict[str, Any] | None
    _attributes: dict[str, Any] | None

    def __init__(self, catalogue: Catalogue, table: str, context: Any) -> None:
        super().__init__(
            table_info={
                "conn": catalogue.connection,
                "database": catalogue.schema,
                "table_name": table,
                "context": context,
            }
        )
        self._catalogue = catalogue
        self._shown: dict[str, Any] | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Columns by name, but for hidden ones; chosen once, as they are often asked for."""
        if self._shown is None:
            self._shown = super().attributes
        return self._shown

    def _init_from_database(self) -> None:
        info = self.table_info
        assert info is not None
        self.table_info = info | {"conn": _Answering(self._catalogue, info["table_name"])}
        try:
            super()._init_from_database()
        finally:
            self.table_info = info
        assert self._attributes is not None
        self._attributes = {
            name: attribute._replace(codec=get_codec(CODECS[attribute.codec.name]))
            if attribute.codec is not None and attribute.codec.name in CODECS
            else attribute
            for name, attribute in self._attributes.items()
        }


class _Answering:
    """In place of a connection: knows the answers to what DataJoint asks about one table."""

    def __init__(self, catalogue: Catalogue, table: str) -> None:
        self._connection = catalogue.connection
        self.adapter = adapter = self._connection.adapter
        where = catalogue.schema, table
        asked = {
            "table": adapter.get_table_info_sql(*where),
            "columns": adapter.get_columns_sql(*where),
            "key": adapter.get_primary_key_sql(*where),
            "indexes": adapter.get_indexes_sql(*where),
        }
        answers = catalogue.answers(table)
        known = {"table", *_QUESTIONS[adapter.backend], *_UNUSED[adapter.backend]}
        self._answers = {asked[q]: answers.get(q, []) for q in asked if q in known}
        origins = catalogue.answers(_LINEAGE).get("table", [])
        self._answers[adapter.get_table_info_sql(catalogue.schema, _LINEAGE)] = origins
        self._lineage = answers.get("lineage", [])
        self._table = table

    def query(self, sql: str, args: Any = (), *, as_dict: bool = False) -> Any:
        """The rows that the database would give."""
        if sql in self._answers:
            return _Rows(self._answers[sql])
        if args == (self._table,) and _LINEAGE in sql:
            return _Rows([(r["attribute_name"], r["lineage"]) for r in self._lineage])
        return self._connection.query(sql, args, as_dict=as_dict)


class _Rows:
    """A cursor over rows that are there."""

    def __init__(self, rows: list[Any]) -> None:
        # What reads a heading changes the rows that it is given.
        self._rows = [dict(row) if isinstance(row, Mapping) else row for row in rows]

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


# What DataJoint's adapters ask about one table, asked about all of a schema. MySQL's columns are
# still asked for table by table: information_schema would quote their defaults.
_QUESTIONS = {
    "postgresql": {
        "table": (
            "SELECT c.relname AS of_table, c.relname AS table_name, "
            "obj_description(c.oid, 'pg_class') AS table_comment "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relkind = 'r'"
        ),
        "columns": (
            "SELECT c.table_name AS of_table, c.column_name, c.data_type, c.udt_name, "
            "c.is_nullable, c.column_default, c.character_maximum_length, c.numeric_precision, "
            "c.numeric_scale, col_description((quote_ident(c.table_schema) || '.' || "
            "quote_ident(c.table_name))::regclass, c.ordinal_position) AS column_comment "
            "FROM information_schema.columns c WHERE c.table_schema = %s "
            "ORDER BY c.table_name, c.ordinal_position"
        ),
        "key": (
            "SELECT t.relname AS of_table, a.attname AS column_name FROM pg_constraint k "
            "JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace "
            "CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS places(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = places.attnum "
            "WHERE n.nspname = %s AND k.contype = 'p' ORDER BY t.relname, places.place"
        ),
    },
    "mysql": {
        "table": (
            "SELECT t.table_name AS of_table, t.* FROM information_schema.tables t "
            "WHERE t.table_schema = %s"
        ),
        "key": (
            "SELECT table_name AS of_table, column_name AS column_name "
            "FROM information_schema.key_column_usage "
            "WHERE table_schema = %s AND constraint_name = 'PRIMARY' "
            "ORDER BY table_name, ordinal_position"
        ),
        "indexes": (
            "SELECT table_name AS of_table, index_name AS index_name, "
            "column_name AS column_name, non_unique AS non_unique, "
            "seq_in_index AS seq_in_index FROM information_schema.statistics "
            "WHERE table_schema = %s AND index_name != 'PRIMARY' "
            "ORDER BY table_name, index_name, seq_in_index"
        ),
    },
}
# DataJoint asks PostgreSQL for indexes and cannot read the answer.
_UNUSED = {"postgresql": ("indexes",), "mysql": ()}
