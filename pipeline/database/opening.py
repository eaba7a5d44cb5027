"""Open the database: embedded or a server, every table bound, nothing left behind on failure."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg2

from pipeline.database import migrations
from pipeline.database.connection import (
    FAILURES,
    PATIENCE,
    Connection,
    DatabaseError,
    Lost,
    locked,
    one_line,
)
from pipeline.database.settings import ServerAddress, Settings, load_settings
from schemas import base, tables
from schemas.catalogue import Catalogue
from schemas.laboratory import without_variables_of_datajoint

if TYPE_CHECKING:
    from pipeline.database.embedded import EmbeddedPostgres

log = logging.getLogger("neuroteach")

# One number for all users of a database, so that they wait for one another: "neurteac" in ASCII.
ACTIVATION_LOCK = 0x6E65757274656163
LOCK_TIMEOUT = 300  # seconds


class Database:
    """An open database with every table bound to it; use it in a ``with`` statement.

    Attributes
    ----------
    settings : Settings
    connection : Connection
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self.settings = settings
        self.connection = connection

    def close(self) -> None:
        """Close the session. An embedded server stays up for the next one."""
        if base.schema.connection is self.connection:  # and not one that was opened since
            tables.deactivate()
        self.connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_opened: Database | None = None  # last; the tables are bound to it until it is closed


def open_database(
    settings: Settings | None = None,
    *,
    create: bool = True,
    any_version: bool = False,
    patience: float = PATIENCE,
) -> Database:
    """Connect, start the embedded server if need be, and bind all tables.

    Tables are bound to one database at a time.

    Parameters
    ----------
    settings : Settings, optional
        From the environment by default.
    create : bool
        Declare tables where there are none; False for users who may not.
    any_version : bool
        Take tables of an earlier version as they are, to bring them up to date.
    patience : float
        Seconds for which a server that fails later is waited for.

    Raises
    ------
    DatabaseError
        If the server cannot be reached, or the tables are of another version, or are not there
        and may not be made, or if another database is open in this process.

    Examples
    --------
    >>> from pipeline.database.opening import open_database
    >>> with open_database() as database:  # doctest: +SKIP
    ...     print(Scan())
    """
    global _opened
    settings = settings or load_settings()
    _require_same(settings)
    connection = connect(settings, patience=patience)
    try:
        with _quiet():
            _bind(connection, settings, create=create, any_version=any_version)
    except BaseException as error:
        tables.deactivate()
        connection.close()
        if isinstance(error, FAILURES):
            advice = "; whoever owns the schema can make them by `neuroteach init`"
            raise DatabaseError(
                f"{settings.database_for_display}: tables of schema {settings.schema_name!r} "
                f"cannot be used ({one_line(error)})"
                f"{'' if isinstance(error, Lost) else advice}{settings.variables_heeded}"
            ) from error
        raise
    base.configure(
        device=settings.device,
        user=connection.get_user().split("@")[0],
        checkpoints=settings.checkpoints,
        images=settings.images_folder,
        alive=settings.worker_alive,
    )
    _opened = Database(settings, connection)
    return _opened


def _require_same(settings: Settings) -> None:
    """Refuse a second database, whose tables would take the place of those in use."""
    if _opened is None or _opened.connection.closed:
        return

    def place(of: Settings) -> tuple[str, str, str]:
        return of.database_for_display, of.schema_name, str(of.store)

    here, asked = place(_opened.settings), place(settings)
    if here != asked:
        name = "{}, schema {!r}, store {}".format
        raise DatabaseError(
            f"{name(*here)} is open in this process, so {name(*asked)} cannot be; close the first "
            "(`with neuroteach.open_database() as database:` does so at its end, or "
            "`database.close()`), or open the other one in a process of its own"
        )


def connect(settings: Settings, *, patience: float = PATIENCE) -> Connection:
    """A connection that no table is bound to yet; an embedded server is started for it.

    Raises
    ------
    DatabaseError
        If the server cannot be reached.
    """
    server = embedded_server(settings)
    with _quiet():
        if server is None:
            return _connected(settings, settings.server_address, patience)
        return server.connected(lambda s: _connected(settings, s.address, patience))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """DataJoint logs each connection and each column of one of our types, to standard output."""
    logger = logging.getLogger("datajoint")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _bind(connection: Connection, settings: Settings, *, create: bool, any_version: bool) -> None:
    """Bind the tables if they are of this version; declare what is missing, if it may be."""
    catalogue = Catalogue(connection, settings.schema_name)
    version = migrations.current_version(catalogue)
    if settings.store.protocol != "s3":
        if settings.store_is_shared and version is not None and not settings.store.is_dir():
            raise DatabaseError(
                f"store: {settings.store} is not there; is it mounted on this machine? If it was "
                "lost, make the folder and take what was in it from a backup"
            )
        settings.store.mkdir(parents=True, exist_ok=True)
    if version is not None and version != migrations.LATEST and not any_version:
        # Others may be about to make the tables, or to bring them up to date.
        with activation_lock(connection):
            catalogue.forget()
            version = migrations.current_version(catalogue)
        if version is not None and version != migrations.LATEST:
            _refuse_version(settings, version)
    # Whoever declared them first may have been killed before the end.
    missing = tables.missing(catalogue)
    if create and (version is None or missing):
        try:
            _declare(connection, catalogue)
            return
        except base.dj.DataJointError as error:
            others = {t.__module__.partition(".")[0] for t in missing} - {"schemas"}
            if version is None or any(t.__module__.startswith("schemas.") for t in missing):
                raise
            log.warning(
                "%s: tables %s are not in this database, and cannot be made by you (%s); whoever "
                "owns the schema makes them by `neuroteach init` with the package installed",
                ", ".join(sorted(others)),
                ", ".join(sorted(t.__qualname__ for t in missing)),
                one_line(error),
            )
    if version is None:
        raise base.dj.DataJointError("there are none")
    tables.activate(catalogue, create=False)


def _declare(connection: Connection, catalogue: Catalogue) -> None:
    with activation_lock(connection):  # for those who declare; readers wait for nobody
        catalogue.forget()
        new = migrations.current_version(catalogue) is None
        made = functools.partial(migrations.stamp, migrations.LATEST, "made")
        tables.activate(catalogue, stamp=made if new else None)


def require_store(database: Database) -> None:
    """Refuse to compute with an empty store, where others have put what the rows refer to.

    Raises
    ------
    DatabaseError
    """
    store = database.settings.store
    if store.protocol == "s3" or any(store.iterdir()):
        return
    if any(table() for table, _ in migrations.array_columns()):
        raise DatabaseError(
            f"store: {store} is empty, and the database has arrays in it; is it mounted on this "
            "machine, and does NEUROTEACH_STORE name the folder that the others use?"
        )


def _refuse_version(settings: Settings, version: int) -> None:
    found = f"{settings.database_for_display}: the tables of schema {settings.schema_name!r} are "
    if version > migrations.LATEST:
        raise DatabaseError(
            f"{found}of version {version}, newer than this program, which knows "
            f"{migrations.LATEST}; install a newer neuroteach"
        )
    raise DatabaseError(
        f"{found}of version {version}, this program needs {migrations.LATEST}; run `neuroteach "
        "database upgrade`, which saves a backup first"
    )


def embedded_server(settings: Settings) -> EmbeddedPostgres | None:
    """The embedded server of these settings, running or not; None if they name another."""
    if settings.embedded_folder is None:
        return None
    from pipeline.database.embedded import EmbeddedPostgres  # only on systems that can run it

    return EmbeddedPostgres(settings.embedded_folder)


def _connected(settings: Settings, address: ServerAddress, patience: float) -> Connection:
    with without_variables_of_datajoint():
        config = base.dj.settings.Config()
    config.loglevel = "ERROR"  # first, since every change sets the logger's level to it
    config.safemode = False
    config.stores = {"default": "main", "main": settings.store_for_datajoint()}
    try:
        return Connection(address, config, patience=patience)
    except Exception as error:  # each driver has its own
        raise DatabaseError(
            f"{settings.database_for_display}: cannot connect ({one_line(error)}); "
            f"check NEUROTEACH_DATABASE and that the server is up{settings.variables_heeded}"
        ) from error


@contextlib.contextmanager
def activation_lock(connection: Connection) -> Iterator[None]:
    """One session at a time declares tables: sessions that race to declare them crash.

    Raises
    ------
    DatabaseError
        If another has not ended within five minutes, or if the session that holds the lock is
        lost meanwhile.
    """
    if connection.adapter.backend == "postgresql":
        connection.query(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
        try:
            connection.query(f"SELECT pg_advisory_lock({ACTIVATION_LOCK})")
            taken = True
        except psycopg2.errors.LockNotAvailable:
            taken = False
        finally:
            connection.query("SET lock_timeout TO DEFAULT")
        release = f"SELECT pg_advisory_unlock({ACTIVATION_LOCK})"
    else:
        lock = f"SELECT GET_LOCK('neuroteach', {LOCK_TIMEOUT})"
        taken = connection.query(lock).fetchone() == (1,)
        release = "SELECT RELEASE_LOCK('neuroteach')"
    if not taken:
        raise DatabaseError(
            f"another process has been making or upgrading tables for {LOCK_TIMEOUT} s; "
            "run this again when it has ended"
        )
    lost = DatabaseError(
        "the database server ended the session while tables were made or upgraded; run this again"
    )
    with locked(connection, release, lost):
        yield
