"""Bring all of a source into a database, or nothing: objects first, then all rows at once.

A row is in the database only after its objects are in the store, whenever the process is killed.
What an interrupted run has brought is found again and left as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.transfer.conflicts import ByContent, ConflictError, Exactly, Fate, Policy, Target
from pipeline.transfer.objects import (
    Progress,
    Reference,
    Tally,
    in_threads,
    missing,
    no_progress,
    path_with_schema,
    references_in,
    references_of,
    store_errors,
    with_schema,
)
from pipeline.transfer.rows import (
    INSTALL,
    Row,
    RowError,
    described,
    digest_of,
    insert_rows,
    key_of,
    read_rows,
    tables_of,
)
from pipeline.transfer.sources import Source
from schemas.model import Table


@dataclass
class MergeResult:
    """What was brought, and what was there already.

    Attributes
    ----------
    tables : int
    rows, rows_present : int
    objects, objects_present : int
    bytes : int
        Of the objects that were brought.
    seconds : float
    kept : list of str
        Rows that differ from the source's and were left as they are.
    renamed : tuple of (str, str) or None
        Schema of the source and of the target, if they differ.
    unrelated : int
        Objects in the target's folders that belong to no row, if it was to be the same exactly.
    """

    tables: int = 0
    rows: int = 0
    rows_present: int = 0
    objects: int = 0
    objects_present: int = 0
    bytes: int = 0
    seconds: float = 0.0
    kept: list[str] = field(default_factory=list)
    renamed: tuple[str, str] | None = None
    unrelated: int = 0


def merge(
    source: Source,
    target: Target,
    *,
    exactly: bool,
    keep_existing: bool = False,
    on_progress: Progress = no_progress,
) -> MergeResult:
    """Bring all rows of a source and their objects into a database.

    Every object is read back from the store, and every row from the database, before the rows are
    there for others.

    Parameters
    ----------
    source : Source
    target : Target
        Its tables are there already.
    exactly : bool
        Refuse a database that has any row that the source lacks or has otherwise. If False, rows
        of the same content but of other times and files are left as they are.
    keep_existing : bool
        Leave rows of other content as they are too, with their parts, and say so, instead of
        refusing. Only if ``exactly`` is False.
    on_progress : callable

    Raises
    ------
    ConflictError
        If the database has rows that stand against it. Nothing is written.
    StoreError
        If an object is missing, damaged or cannot be written. No row is written.
    """
    started = time.perf_counter()
    merging = _Merging(source, target, on_progress)

    def policy() -> Policy:
        if exactly:
            return Exactly(target)
        return ByContent(source, target, keep_existing=keep_existing)

    with target.connection.transaction:
        if exactly:
            merging.refuse_other_tables(policy())
        references = merging.compare(policy())
    merging.bring_objects(references)
    with target.connection.transaction:
        # Once more, since others may have written meanwhile.
        merging.bring_rows(policy(), set(references))
        merging.read_back()
    result = merging.result
    if exactly:
        result.unrelated = len(set(target.store.list_schema(target.schema)) - set(references))
    result.seconds = time.perf_counter() - started
    return result


class _Merging:
    def __init__(self, source: Source, target: Target, on_progress: Progress) -> None:
        self.source, self.target, self.on_progress = source, target, on_progress
        self._here = {t.name: t for t in tables_of(target.connection, target.schema)}
        self._pairs: list[tuple[Table, Table]] = []
        for theirs in source.tables:
            if theirs.name not in self._here:
                if next(source.rows(theirs), None) is None:
                    continue
                raise RowError(f"{theirs.name}: the target database has no such table; {INSTALL}")
            ours = self._here[theirs.name]
            if lacking := sorted(set(theirs.kinds) - set(ours.kinds)):
                raise RowError(
                    f"{theirs.name}: the target database has no column {lacking[0]}; {INSTALL}"
                )
            self._pairs.append((theirs, ours.restricted(theirs.kinds)))
        self._expected: dict[str, dict[str, bytes]] = {}
        renamed = None if source.schema == target.schema else (source.schema, target.schema)
        self.result = MergeResult(tables=len(self._pairs), renamed=renamed)

    def _rows(self, theirs: Table) -> Iterator[Row]:
        old, new = self.source.schema, self.target.schema
        return (with_schema(theirs, row, old, new) for row in self.source.rows(theirs))

    def refuse_other_tables(self, policy: Policy) -> None:
        """Refuse rows in tables that the source does not have."""
        for name in set(self._here) - {theirs.name for theirs, _ in self._pairs}:
            policy.begin(self._here[name])
            policy.end(self._here[name])

    def compare(self, policy: Policy) -> dict[str, Reference]:
        """Refuse what may not be merged; returns objects that are to be there, by their paths."""
        references: dict[str, Reference] = {}
        for theirs, ours in self._pairs:
            policy.begin(ours)
            for row in self._rows(theirs):
                if policy.fate(ours, row) in (Fate.new, Fate.identical):
                    for reference in references_of(ours, row):
                        self._refuse_other(reference, references)
                        references[reference.path] = reference
            policy.end(ours)
        for reference in references_in(self.target.connection, self._here.values()):
            self._refuse_other(reference, references)
        return references

    @staticmethod
    def _refuse_other(reference: Reference, references: dict[str, Reference]) -> None:
        """Refuse that an object be replaced by that of another row."""
        other = references.get(reference.path)
        if other is not None and not other.agrees_with(reference):
            raise ConflictError(
                f"{other.owner} and {reference.owner} name the same object, {reference.path}, with "
                "different content; no row was written"
            )

    def bring_objects(self, references: dict[str, Reference]) -> None:
        """Copy the objects that are not in the target's store as they must be."""
        total = sum(r.size or r.at_least for r in references.values())
        tally = Tally("objects", total, self.on_progress)
        for copied, size in in_threads(self._bring_object, references.values()):
            if copied:
                self.result.objects += 1
                self.result.bytes += size
            else:
                self.result.objects_present += 1
            tally.add(size)

    def _bring_object(self, reference: Reference) -> tuple[bool, int]:
        """Whether an object had to be copied, and its size."""
        with store_errors():
            return self._brought(reference)

    def _brought(self, reference: Reference) -> tuple[bool, int]:
        store = self.target.store
        original = path_with_schema(reference.path, self.target.schema, self.source.schema)
        there = store.listed(reference.path)
        if there is not None and not reference.problem_of_size(there.size):
            found = store.digest(reference.path, named=reference.hash is not None)
            if found is not None and not reference.problem(found):
                if reference.has_checksum:
                    return False, found.size
                given = self.source.digest(original)  # older rows say no checksum
                if given is not None and given.sha256 == found.sha256:
                    return False, found.size
        try:
            content = self.source.open(original)
        except FileNotFoundError:
            raise missing(reference) from None
        with content as file:
            return True, store.put(reference.path, file, reference).size

    def bring_rows(self, policy: Policy, objects: set[str]) -> None:
        """Insert the rows that are not there, in the caller's transaction."""
        for done, (theirs, ours) in enumerate(self._pairs):
            self.on_progress("rows", done, len(self._pairs))
            policy.begin(ours)
            rows = self._new_rows(theirs, ours, policy, objects)
            self.result.rows += insert_rows(self.target.connection, ours, rows)
            policy.end(ours)
        self.on_progress("rows", len(self._pairs), len(self._pairs))

    def _new_rows(
        self, theirs: Table, ours: Table, policy: Policy, objects: set[str]
    ) -> Iterator[Row]:
        expected = self._expected.setdefault(ours.name, {})
        for row in self._rows(theirs):
            fate = policy.fate(ours, row)
            if fate is Fate.kept:
                self.result.kept.append(described(ours, row))
            elif fate is not Fate.new:
                self.result.rows_present += 1
            elif not objects.issuperset(r.path for r in references_of(ours, row)):
                raise ConflictError(
                    f"{described(ours, row)}: was there and has gone; others write to this "
                    "database, so run this again when they are done"
                )
            else:
                expected[key_of(ours, row)] = digest_of(row)
                yield row

    def read_back(self) -> None:
        """Compare what was inserted with the source; in the transaction, so that it is undone."""
        for _, ours in self._pairs:
            expected = self._expected[ours.name]
            if not expected:
                continue
            rows = read_rows(self.target.connection, ours)
            found = {key_of(ours, row): digest_of(row) for row in rows}
            for key, digest in expected.items():
                if found.get(key) != digest:
                    raise RowError(
                        f"{ours.name} {key}: is read back as something else than was written; no "
                        "row was kept"
                    )
