"""Where rows and objects come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pipeline.transfer.objects import Digest, ObjectStore, Readable
from pipeline.transfer.rows import Row, read_rows, tables_of
from schemas.model import Table

# Whether a row of a table is one of those that are wanted.
Wanted = Callable[[Table, Row], bool]


class Source(Protocol):
    """Rows and objects of one schema, which stay as they are while they are read."""

    @property
    def schema(self) -> str:
        """Name of the schema; it is a part of the objects' paths."""

    @property
    def tables(self) -> Sequence[Table]:
        """Tables, each after those it refers to."""

    def rows(self, table: Table) -> Iterator[Row]:
        """Rows of a table by primary key."""

    def open(self, path: str) -> AbstractContextManager[Readable]:
        """An object to be read."""

    def digest(self, path: str) -> Digest | None:
        """Digest of an object, or None if it is not there."""


class DatabaseSource:
    """A database, in a snapshot that the caller holds open.

    Parameters
    ----------
    connection : datajoint.Connection
    schema : str
    store : ObjectStore
    wanted : callable, optional
        Which rows; all by default.
    """

    def __init__(
        self, connection: Any, schema: str, store: ObjectStore, wanted: Wanted | None = None
    ) -> None:
        self.connection, self.schema, self.store = connection, schema, store
        self.tables: Sequence[Table] = tables_of(connection, schema)
        self._wanted = wanted

    def rows(self, table: Table) -> Iterator[Row]:
        """Rows of a table by primary key."""
        for row in read_rows(self.connection, table):
            if self._wanted is None or self._wanted(table, row):
                yield row

    def open(self, path: str) -> AbstractContextManager[Readable]:
        """An object to be read; raises a FileNotFoundError if it is not there."""
        return self.store.open(path)

    def digest(self, path: str) -> Digest | None:
        """Digest of an object, or None if it is not there."""
        return self.store.digest(path)
