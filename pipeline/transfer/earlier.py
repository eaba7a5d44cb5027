"""Archives of earlier versions, read as if they were of this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from pipeline.database.lineage import POPULATION, STABILITY, VERSION, Lineage, lineage_of
from pipeline.transfer.manifest import Manifest
from pipeline.transfer.rows import Row, key_of
from schemas.model import Table

# Tables whose key was another until then, with what it was.
REKEYED = {STABILITY: ("experiment", "scale"), POPULATION: ("experiment", "scale", "population")}


class Earlier:
    """What an archive holds, in today's tables.

    Parameters
    ----------
    manifest : Manifest
    rows : callable
        Rows as they were written, by the name of their table; none of a table that it lacks.
    """

    def __init__(self, manifest: Manifest, rows: Callable[[str], Iterator[Row]]) -> None:
        self._manifest, self._rows = manifest, rows
        self.old = manifest.schema_version < VERSION

    @cached_property
    def _lineage(self) -> Lineage:
        return lineage_of(self._of) if self.old else Lineage()

    def _of(self, name: str) -> Iterator[Row]:
        return self._rows(name) if name in self._manifest.tables else iter(())

    def key(self, table: Table) -> tuple[str, ...]:
        """The key that its rows were written with."""
        return REKEYED[table.name] if self._has_old_key(table.name) else table.key

    def _has_old_key(self, name: str) -> bool:
        # Of a database whose upgrade was stopped it may be today's.
        entry = self._manifest.tables.get(name)
        return self.old and entry is not None and entry.key == REKEYED.get(name)

    def tables(self, tables: Sequence[Table]) -> list[Table]:
        """Tables that it has rows of, with the columns that these have."""
        described, found = self._manifest.tables, []
        for table in tables:
            if table.name in described:
                columns = {*described[table.name].columns, *table.key}
                found.append(table.restricted(columns))
            elif self._lineage.added.get(table.name):
                found.append(table)
        return found

    def rows(self, table: Table) -> Iterator[Row]:
        """Rows of a table by primary key."""
        if not self.old:
            yield from self._of(table.name)
            return
        seen: set[str] = set()
        for row in [*self._rekeyed(table.name), *self._lineage.added.get(table.name, ())]:
            key = key_of(table, row)
            if key not in seen:  # experiments that compared the same scans
                seen.add(key)
                yield row

    def _rekeyed(self, name: str) -> Iterator[Row]:
        for row in self._of(name):
            new = self._lineage.regrouped(row) if self._has_old_key(name) else row
            if new is not None:
                yield new
