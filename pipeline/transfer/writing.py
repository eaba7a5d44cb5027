"""Write rows and their objects into one file."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pipeline.transfer.archive import Archive
from pipeline.transfer.manifest import (
    MANIFEST,
    Holds,
    Manifest,
    ObjectEntry,
    TableEntry,
    object_name,
    rows_name,
)
from pipeline.transfer.objects import (
    MEND,
    ObjectStore,
    Progress,
    Reference,
    Tally,
    hashed,
    in_threads,
    missing,
    no_progress,
    references_of,
    store_errors,
)
from pipeline.transfer.rows import line_of, types_of
from pipeline.transfer.sources import DatabaseSource
from predictive_model.exporters.whole import written_whole
from schemas.base import code_version
from schemas.model import Table
from schemas.objects import StoreError

# Bytes of an object of a bucket that is read before its turn; larger ones are read in theirs.
FETCHED_AHEAD = 2**24
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content makes the same entries


def write_archive(
    source: DatabaseSource,
    file: Path,
    *,
    holds: Holds,
    schema_version: int,
    overwrite: bool = False,
    on_progress: Progress = no_progress,
) -> Manifest:
    """Write all of a source to a file, or nothing. It is read back before it gets its name.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is False.
    StoreError
        If an object is missing or damaged.
    """
    with written_whole(file, overwrite=overwrite) as temporary:
        with zipfile.ZipFile(temporary, "x") as archive:
            references: dict[str, Reference] = {}
            tables = {t.name: _write_rows(archive, source, t, references) for t in source.tables}
            objects = _write_objects(archive, source.store, references, on_progress)
            manifest = Manifest(
                schema_version=schema_version,
                **code_version(),
                created=datetime.now(UTC).replace(microsecond=0),
                schema=source.schema,
                holds=holds,
                tables=tables,
                objects=objects,
            )
            text = manifest.model_dump_json(by_alias=True, indent=1)
            archive.writestr(_entry(MANIFEST, zipfile.ZIP_DEFLATED), text)
        with temporary.open("rb+") as whole:
            os.fsync(whole.fileno())
        with Archive(temporary) as written:
            written.verify(source.tables, on_progress=on_progress)
    return manifest


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = compression
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def _write_rows(
    archive: zipfile.ZipFile,
    source: DatabaseSource,
    table: Table,
    references: dict[str, Reference],
) -> TableEntry:
    digest, n, size = hashlib.sha256(), 0, 0
    entry = _entry(rows_name(table.name), zipfile.ZIP_DEFLATED)
    with archive.open(entry, "w", force_zip64=True) as file:
        for row in source.rows(table):
            line = line_of(row)
            file.write(line)
            digest.update(line)
            n, size = n + 1, size + len(line)
            for reference in references_of(table, row):
                other = references.setdefault(reference.path, reference)
                if not other.agrees_with(reference):
                    raise StoreError(
                        f"{reference.path}: {other.owner} and {reference.owner} say "
                        f"different things of this object; {MEND}"
                    )
    return TableEntry(
        columns=types_of(table), key=table.key, rows=n, size=size, sha256=digest.hexdigest()
    )


def _write_objects(
    archive: zipfile.ZipFile,
    store: ObjectStore,
    references: dict[str, Reference],
    on_progress: Progress,
) -> dict[str, ObjectEntry]:
    tally = Tally("objects", sum(r.size or r.at_least for r in references.values()), on_progress)

    def opened(reference: Reference) -> tuple[Reference, BinaryIO]:
        try:
            with store_errors():
                content = store.open(reference.path)
                if store.is_local or (reference.size or reference.at_least) > FETCHED_AHEAD:
                    return reference, content
                with content:
                    return reference, io.BytesIO(content.read())
        except FileNotFoundError:
            raise missing(reference) from None

    found = {}
    ordered = sorted(references.values(), key=lambda reference: reference.path)
    for reference, content in in_threads(opened, ordered):
        entry = _entry(object_name(reference.path), zipfile.ZIP_STORED)
        with store_errors(), content, archive.open(entry, "w", force_zip64=True) as file:
            digest = hashed(content, file, named=reference.hash is not None)
        if problem := reference.problem(digest):
            raise StoreError(f"{reference.owner}: the object {reference.path} {problem}; {MEND}")
        found[reference.path] = ObjectEntry(size=digest.size, sha256=digest.sha256)
        tally.add(digest.size)
    return found
