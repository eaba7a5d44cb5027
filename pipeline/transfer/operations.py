"""What the commands do: copy, back up, restore and check databases, and pass on experiments."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.database import migrations
from pipeline.database.connection import locked
from pipeline.database.opening import Database, connect, open_database
from pipeline.database.settings import Settings
from pipeline.transfer import check as checking
from pipeline.transfer.archive import Archive, ArchiveSource
from pipeline.transfer.conflicts import Target
from pipeline.transfer.manifest import ArchiveError, Holds, Manifest
from pipeline.transfer.merge import MergeResult, merge
from pipeline.transfer.objects import ObjectStore, Progress, no_progress
from pipeline.transfer.rows import snapshot, tables_of
from pipeline.transfer.selection import rows_of_experiment
from pipeline.transfer.sources import DatabaseSource
from pipeline.transfer.writing import write_archive
from pipeline.workers.populate import release_lost_jobs
from schemas.catalogue import Catalogue
from schemas.tables import queued_tables

TRANSFER_LOCK = 0x6E657572  # "neur" in ASCII


def backup_database(
    database: Database, file: Path, *, overwrite: bool = False, on_progress: Progress = no_progress
) -> Manifest:
    """Write a whole database, with all objects that its rows name, into one file.

    Others may go on computing meanwhile: the file has the rows of the moment when it was begun.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is False.
    StoreError
        If an object is missing or damaged.
    """
    return _write(database, file, Holds(kind="database"), overwrite, on_progress)


def export_experiment(
    database: Database,
    experiment: str,
    file: Path,
    *,
    scale: str | None = None,
    overwrite: bool = False,
    on_progress: Progress = no_progress,
) -> Manifest:
    """Write an experiment, what was computed for it and all that this was made from into one file.

    Raises
    ------
    LookupError
        If there is no such experiment.
    FileExistsError
        If the file is there and ``overwrite`` is False.
    StoreError
        If an object is missing or damaged.
    """
    holds = Holds(kind="experiment", experiment=experiment, scale=scale)
    return _write(database, file, holds, overwrite, on_progress)


def _write(
    database: Database, file: Path, holds: Holds, overwrite: bool, on_progress: Progress
) -> Manifest:
    connection, schema = database.connection, database.settings.schema_name
    version = migrations.current_version(Catalogue(connection, schema))
    with snapshot(connection):
        wanted = None
        if holds.experiment is not None:
            wanted = rows_of_experiment(connection, schema, holds.experiment, holds.scale)
        source = DatabaseSource(connection, schema, _store(database.settings), wanted)
        return write_archive(
            source,
            file,
            holds=holds,
            schema_version=version or 0,
            overwrite=overwrite,
            on_progress=on_progress,
        )


def restore_database(
    database: Database, file: Path, *, on_progress: Progress = no_progress
) -> MergeResult:
    """Bring the whole database of an archive into an empty one, or one that this has begun to fill.

    Objects that were damaged are replaced by those of the archive.

    Raises
    ------
    ArchiveError
        If the file is no archive of a whole database, or is damaged, or of a newer version.
        Nothing is written.
    ConflictError
        If the database has rows that the archive lacks or has otherwise. Nothing is written.
    """
    with Archive(file) as archive:
        if archive.manifest.holds.kind != "database":
            raise ArchiveError(
                f"{file}: holds {archive.manifest.holds}; bring it in by `neuroteach import "
                "archive`"
            )
        return _bring(database, archive, exactly=True, keep=False, on_progress=on_progress)


def import_archive(
    database: Database,
    file: Path,
    *,
    keep_existing: bool = False,
    on_progress: Progress = no_progress,
) -> MergeResult:
    """Add what an archive holds to a database.

    Rows that are there with the same content stay as they are.

    Parameters
    ----------
    database : Database
    file : Path
    keep_existing : bool
        Leave rows that are there with other content, and their parts, as they are too.
    on_progress : callable

    Raises
    ------
    ArchiveError
        If the file is no archive, or is damaged, or of a newer version. Nothing is written.
    ConflictError
        If the database has a row with other content. Nothing is written.
    """
    with Archive(file) as archive:
        return _bring(database, archive, exactly=False, keep=keep_existing, on_progress=on_progress)


def _bring(
    database: Database, archive: Archive, *, exactly: bool, keep: bool, on_progress: Progress
) -> MergeResult:
    if archive.manifest.schema_version > migrations.LATEST:
        raise ArchiveError(
            f"{archive.file}: its tables are of version {archive.manifest.schema_version}, newer "
            f"than this program, which knows {migrations.LATEST}; install a newer neuroteach"
        )
    tables = tables_of(database.connection, database.settings.schema_name)
    archive.verify(tables, on_progress=on_progress)
    source = ArchiveSource(archive, tables)
    target = _target(database.connection, database.settings)
    with writing_alone(target.connection, target.schema):
        return merge(source, target, exactly=exactly, keep_existing=keep, on_progress=on_progress)


def copy_database(
    source: Settings, target: Settings, *, on_progress: Progress = no_progress
) -> MergeResult:
    """Copy a whole database and its objects into an empty one, or one that this has begun to fill.

    The tables of this process are bound to neither afterwards.

    Parameters
    ----------
    source, target : Settings
        Their databases, schemas and stores count. If the store is the same and the schemas have
        the same name, both databases use the same objects from then on.
    on_progress : callable

    Raises
    ------
    ValueError
        If both are the same.
    DatabaseError
        If one cannot be opened.
    ConflictError
        If the target has rows that the source lacks or has otherwise. Nothing is written.
    StoreError
        If an object is missing, damaged or cannot be written. No row is written.
    """
    if is_same_database(source, target) and source.schema_name == target.schema_name:
        raise ValueError(
            f"{target.database_for_display}, schema {target.schema_name}: is the database that is "
            "to be copied; name another one, or another schema by --to-schema"
        )
    with open_database(source, create=False):
        pass  # it is there, before anything is made elsewhere
    with open_database(target):
        pass  # its tables are declared
    connection = connect(target)
    try:
        with open_database(source, create=False) as opened, snapshot(opened.connection):
            rows = DatabaseSource(opened.connection, source.schema_name, _store(source))
            with writing_alone(connection, target.schema_name):
                return merge(
                    rows, _target(connection, target), exactly=True, on_progress=on_progress
                )
    finally:
        connection.close()


def check_database(database: Database, **options: Any) -> checking.Report:
    """:func:`pipeline.transfer.check.check` of an open database."""
    settings, connection = database.settings, database.connection
    with contextlib.ExitStack() as alone:
        if options.get("remove_orphans"):
            for table in queued_tables():
                release_lost_jobs(table())  # what the dead have reserved is not being computed
            alone.enter_context(writing_alone(connection, settings.schema_name))
        return checking.check(connection, settings.schema_name, _store(settings), **options)


@contextlib.contextmanager
def writing_alone(connection: Any, schema: str) -> Iterator[None]:
    """Until it ends nobody else brings objects of this schema, or removes those without a row.

    Raises
    ------
    BusyError
        If somebody is doing so, or if the session that keeps others from it is lost meanwhile.
    """
    number = zlib.crc32(schema.encode()) - 2**31
    lock, release = {
        "postgresql": (
            f"SELECT pg_try_advisory_lock({TRANSFER_LOCK}, {number})",
            f"SELECT pg_advisory_unlock({TRANSFER_LOCK}, {number})",
        ),
        "mysql": (
            f"SELECT GET_LOCK('neuroteach-{schema}', 0)",
            f"SELECT RELEASE_LOCK('neuroteach-{schema}')",
        ),
    }[connection.adapter.backend]
    (alone,) = connection.query(lock).fetchone()
    if not alone:
        raise checking.BusyError(
            f"schema {schema}: another copy, restore, import or removal of orphans is under way; "
            "run this again when it has ended"
        )
    lost = checking.BusyError(
        "the database server ended the session that kept others from writing; no row was written; "
        "run this again, which goes on with what was copied"
    )
    with locked(connection, release, lost):
        yield


def is_same_database(one: Settings, other: Settings) -> bool:
    """Whether two settings name the same database of the same server."""
    folders = one.embedded_folder, other.embedded_folder
    if folders[0] is not None and folders[1] is not None:
        return os.path.realpath(folders[0]) == os.path.realpath(folders[1])
    if folders != (None, None):
        return False
    a, b = one.server_address, other.server_address
    return (a.backend, a.host, a.port, a.database) == (b.backend, b.host, b.port, b.database)


def _target(connection: Any, settings: Settings) -> Target:
    return Target(connection, settings.schema_name, _store(settings))


def _store(settings: Settings) -> ObjectStore:
    return ObjectStore(settings.store_root())
