"""Tables, columns and foreign keys as a database has them, whatever they are asked for.

Questions, provenance, deletion, archives, copies and checks all read this one description;
:attr:`schemas.catalogue.Catalogue.tables` makes it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from schemas.stored import CODECS


class Kind(enum.StrEnum):
    """What a column holds."""

    boolean = "bool"
    whole = "int"
    number = "float"
    decimal = "decimal"
    char = "char"
    text = "str"
    date = "date"
    datetime = "datetime"
    json = "json"
    array = "array"
    file = "file"
    binary = "bytes"
    other = "other"

    @property
    def label(self) -> str:
        """For people, to whom both kinds of text are ``text``."""
        return "text" if self in TEXTS else self.value


TEXTS = frozenset((Kind.char, Kind.text))
# What has no order, and cannot be compared with what people write.
OPAQUE = {
    Kind.json: "JSON",
    Kind.array: "an array",
    Kind.file: "a file",
    Kind.binary: "binary data",
    Kind.other: "values of another type",
}

_OF_CODECS = {CODECS["npy"]: Kind.array, CODECS["attach"]: Kind.file}
# By the name that DataJoint or the database gives to a column's type.
_OF_TYPES = (
    (Kind.boolean, r"bool|boolean|tinyint\(1\)"),
    (Kind.whole, r"u?int\d*|integer|(tiny|small|medium|big)?int\b.*"),
    (Kind.number, r"float\d*|real|double( precision)?"),
    (Kind.char, r"(char|character)\(\d+\)|bpchar"),
    (Kind.text, r"varchar\(\d+\)|character varying(\(\d+\))?|text|enum\(.*\)"),
    (Kind.date, r"date"),
    (Kind.datetime, r"(datetime|timestamp)(\(\d\))?( without time zone)?"),
    (Kind.decimal, r"(decimal|numeric)(\(.*\))?"),
    (Kind.binary, r"bytes|bytea|(tiny|medium|long)?blob|(var)?binary(\(\d+\))?"),
)


def kind_of(attribute: Any) -> Kind:
    """Kind of a column, from its attribute in a DataJoint heading."""
    if attribute.codec is not None and attribute.codec.name in _OF_CODECS:
        return _OF_CODECS[attribute.codec.name]
    if attribute.json:
        return Kind.json
    type_ = _type_of(attribute)
    return next((kind for kind, types in _OF_TYPES if re.fullmatch(types, type_)), Kind.other)


def _type_of(attribute: Any) -> str:
    return str(attribute.original_type or attribute.type).lower()


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
    kind : Kind
    in_key : bool
        Of the primary key.
    stored : bool
        Its values name objects of the store.
    nullable : bool
    comment : str
    lineage : str
        The column of the key that it comes from; empty if it comes from none.
    type : str
        As it was declared, or as the database calls it.
    """

    name: str
    kind: Kind
    in_key: bool
    stored: bool = False
    nullable: bool = False
    comment: str = ""
    lineage: str = ""
    type: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a schema.

    Attributes
    ----------
    name : str
        As in Python: ``Scan``, ``SharedCore.Member``.
    sql : str
        As in a query.
    columns : tuple of Column
    parents : tuple of (str, dict)
        For each foreign key the parent's name, and its column for each of ours.
    computed : bool
        Its rows were computed here.
    lookup : bool
        Its rows are settings.
    """

    name: str
    sql: str
    columns: tuple[Column, ...]
    parents: tuple[tuple[str, dict[str, str]], ...]
    computed: bool = False
    lookup: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """Columns of the primary key."""
        return tuple(column.name for column in self.columns if column.in_key)

    @property
    def kinds(self) -> dict[str, Kind]:
        """Kind of each column."""
        return {column.name: column.kind for column in self.columns}

    @property
    def stored(self) -> tuple[str, ...]:
        """Columns that name objects of the store."""
        return tuple(column.name for column in self.columns if column.stored)

    @property
    def master(self) -> str | None:
        """The table that this one is a part of."""
        return self.name.rpartition(".")[0] or None

    def restricted(self, columns: Collection[str]) -> Table:
        """The same table as if it had only these of its columns."""
        return replace(self, columns=tuple(c for c in self.columns if c.name in columns))


def column_of(attribute: Any) -> Column:
    """A column, from its attribute in a DataJoint heading."""
    return Column(
        attribute.name,
        kind_of(attribute),
        in_key=attribute.in_key,
        stored=attribute.store is not None,  # on MariaDB not as JSON
        nullable=attribute.nullable,
        comment=attribute.comment or "",
        lineage=attribute.lineage or "",
        type=_type_of(attribute),
    )
