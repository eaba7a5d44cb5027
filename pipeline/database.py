"""Open the database: embedded or a server, every table bound, nothing left behind on failure."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from pipeline.settings import ServerAddress, Settings, load_settings
from schemas import base

if TYPE_CHECKING:
    from pipeline.embedded_postgres import EmbeddedPostgres

# One number for all users of a database, so that they wait for one another: "neurteac" in ASCII.
ACTIVATION_LOCK = 0x6E65757274656163
MYSQL_LOCK_TIMEOUT = 300  # seconds


class DatabaseError(RuntimeError):
    """The database cannot be reached or used; says which and what to do."""


class Database:
    """An open database with every table bound to it; use it in a ``with`` statement.

    Attributes
    ----------
    settings : Settings
    connection : datajoint.Connection
    """

    def __init__(self, settings: Settings, instance: Any) -> None:
        self.settings = settings
        self.connection = instance.connection

    def close(self) -> None:
        """Close the session. An embedded server stays up for the next one."""
        base.deactivate()
        self.connection.close()
        self.connection.query = _refuse  # tables still hold it, and a query would reconnect

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_database(settings: Settings | None = None, *, create: bool = True) -> Database:
    """Connect, start the embedded server if need be, and bind all tables.

    Parameters
    ----------
    settings : Settings, optional
        From the environment by default.
    create : bool
        Declare missing tables; False for users who may not.

    Raises
    ------
    DatabaseError
        If the server cannot be reached or the tables are not there and may not be made.

    Examples
    --------
    >>> from pipeline.database import open_database
    >>> with open_database() as database:  # doctest: +SKIP
    ...     print(Scan())
    """
    settings = settings or load_settings()
    settings.store.mkdir(parents=True, exist_ok=True)
    server = embedded_server(settings)
    if server is not None:
        instance = server.connected(
            lambda s: _instance(
                settings,
                ServerAddress(
                    backend="postgresql",
                    host=str(s.socket_folder),
                    port=s.port,
                    user=s.user,
                    password=s.password,
                    database=s.database,
                ),
            )
        )
    else:
        instance = _instance(settings, ServerAddress.from_url(settings.database))
    try:
        reconnecting(instance.connection, on_reconnect=keep_reservations)
        with activation_lock(instance.connection):
            base.activate(instance.connection, settings.schema_name, create=create)
    except BaseException as error:
        instance.connection.close()
        if isinstance(error, base.dj.DataJointError):
            raise DatabaseError(
                f"{settings.database_for_display}: tables of schema {settings.schema_name!r} "
                f"cannot be used ({_one_line(error)})"
            ) from error
        raise
    base.configure(
        device=choose_device(settings.device),
        checkpoints=settings.checkpoints,
    )
    return Database(settings, instance)


def _refuse(*args: object, **kwargs: object) -> None:
    raise DatabaseError("the database was closed; call pipeline.database.open_database() again")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def embedded_server(settings: Settings) -> EmbeddedPostgres | None:
    """The embedded server of these settings, running or not; None if they name another."""
    if settings.embedded_folder is None:
        return None
    from pipeline.embedded_postgres import EmbeddedPostgres  # only on systems that can run it

    return EmbeddedPostgres(settings.embedded_folder)


def choose_device(device: str) -> str:
    """``auto`` as the GPU if there is one, else the CPU; anything else as it is."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _instance(settings: Settings, address: ServerAddress) -> Any:
    import datajoint as dj

    # A Unix socket folder needs no encryption; a server is asked for it and may decline.
    use_tls = False if address.host.startswith("/") else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No datajoint.json found")  # nor is one wanted
            instance = dj.Instance(
                address.host,
                address.user,
                address.password,
                address.port,
                use_tls=use_tls,
                backend=address.backend,
                **({"database__name": address.database} if address.database else {}),
            )
    except Exception as error:
        raise DatabaseError(
            f"{settings.database_for_display}: cannot connect ({_one_line(error)}); "
            "check NEUROTEACH_DATABASE and that the server is up"
        ) from error
    instance.config.safemode = False
    instance.config.stores = {
        "default": "main",
        "main": {"protocol": "file", "location": str(settings.store)},
    }
    return instance


@contextlib.contextmanager
def activation_lock(connection: Any) -> Iterator[None]:
    """One session at a time declares tables: sessions that race to declare them crash."""
    if connection.adapter.backend == "postgresql":
        connection.query(f"SELECT pg_advisory_lock({ACTIVATION_LOCK})")
        release = f"SELECT pg_advisory_unlock({ACTIVATION_LOCK})"
    else:
        connection.query(f"SELECT GET_LOCK('neuroteach', {MYSQL_LOCK_TIMEOUT})")
        release = "SELECT RELEASE_LOCK('neuroteach')"
    try:
        yield
    finally:
        connection.query(release)


def keep_reservations(connection: Any, lost: int) -> None:
    """Carry the jobs that a lost session of this process had reserved over to its new one."""
    for table in base.queued_tables():
        if table._connection is not connection:
            continue  # not bound yet, so nothing is reserved
        connection.query(
            f"UPDATE {table().jobs.full_table_name} SET connection_id = %s, "
            "reserved_time = CURRENT_TIMESTAMP(3) "
            "WHERE status = 'reserved' AND connection_id = %s",
            (connection.connection_id, lost),
        )


def reconnecting(
    connection: Any,
    *,
    attempts: int = 5,
    wait: float = 0.5,
    on_reconnect: Callable[[Any, int], None] = lambda connection, lost: None,
) -> None:
    """Make a connection survive a restart of its PostgreSQL server.

    DataJoint 2.3 asks the dead connection for a cursor before it would notice the loss, and keeps
    the number of the lost session. Inside a transaction the loss is an error: what was written
    before it is gone.
    """
    import psycopg2

    if connection.adapter.backend != "postgresql":
        return
    # DataJoint translates some of the driver's errors into its own, and lets others through.
    failures = (base.dj.DataJointError, psycopg2.Error)
    lost_connection = base.dj.errors.LostConnectionError
    plain: Callable[..., Any] = connection.query

    def reconnect() -> None:
        for attempt in range(attempts):
            try:
                connection.connect()
            except failures:
                if attempt + 1 == attempts:
                    raise
                time.sleep(wait)
            else:
                lost = connection.connection_id
                connection.connection_id = connection.adapter.get_connection_id(connection._conn)
                on_reconnect(connection, lost)
                return

    def query(*args: Any, **kwargs: Any) -> Any:
        if not connection._conn.closed:
            try:
                return plain(*args, reconnect=False, **kwargs)
            except failures:
                if not connection._conn.closed:
                    raise  # the query is at fault
        if connection._in_transaction:
            connection._in_transaction = False
            raise lost_connection("The connection was lost during a transaction; start it again.")
        reconnect()
        return plain(*args, reconnect=False, **kwargs)

    connection.query = query
