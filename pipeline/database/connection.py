"""A session of the database server: encrypted as asked, alive for hours, mended when it breaks."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import psycopg2
import pymysql

from pipeline.database.binaries import without_variables_of_postgres
from pipeline.database.settings import ServerAddress
from schemas.base import dj

log = logging.getLogger("neuroteach")

PATIENCE = 180.0  # seconds for which a lost server is waited for
CONNECT_TIMEOUT = 10  # seconds
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 3.0  # seconds between attempts
# A machine that does not answer for some 25 s is gone: the server ends the session of a client that
# was switched off, and a client notices that its server was. Without this it takes two hours.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_USER_TIMEOUT = 25_000  # milliseconds: the same for who was sent something and does not confirm it
_TRIES = 10  # of a query whose session is lost each time
FAILURES = (dj.DataJointError, psycopg2.Error, pymysql.err.Error)
# What MySQL and MariaDB say last in a session that they end: shutdown, killed, idle for too long.
_MYSQL_ENDS = (1053, 1927, 4031)

Lost = dj.errors.LostConnectionError


class ServerGoneError(dj.errors.LostConnectionError):
    """The database server was waited for in vain."""


class DatabaseError(RuntimeError):
    """The database cannot be reached or used; says which and what to do."""


class Connection(dj.Connection):
    """A session that survives a restart of its server.

    DataJoint 2.3 asks a dead PostgreSQL session for a cursor before it would notice the loss, and
    keeps the number of the lost session. Inside a transaction the loss is an error, ``Lost``: what
    was written before it is gone. So is every query that follows until the transaction is ended,
    since DataJoint does not always pass the error on.

    Parameters
    ----------
    address : ServerAddress
    config : datajoint.settings.Config
    patience : float
        Seconds for which a server that was there is waited for.

    Attributes
    ----------
    session : int
        Number that the server gave to the session.
    connected_at : float
        When it began, as of ``time.monotonic()``.
    closed : bool
        Whether :meth:`close` was called.
    worker : int or None
        In whose name jobs are reserved; in the session's, if None.
    on_reconnect : callable
        Called with this connection when a lost session was replaced.
    before_commit : callable
        Called with this connection at the end of each transaction; may raise to undo it.
    """

    session: int
    connected_at: float
    closed = False
    worker: int | None = None
    _in_transaction: bool

    def __init__(self, address: ServerAddress, config: Any, *, patience: float = PATIENCE) -> None:
        self.address = address
        self.patience = patience
        self._gone = False  # waited for in vain: whoever tidies up does not wait again
        self.on_reconnect: Callable[[Connection], None] = lambda connection: None
        self.before_commit: Callable[[Connection], None] = lambda connection: None
        super().__init__(
            quote(address.host, safe="/"),  # for display; DataJoint would split it at a colon
            address.user,
            "",  # the address has it
            address.port,
            use_tls=False,  # likewise
            database_name=address.database,
            backend=address.backend,
            config_override=config,
        )

    def connect(self) -> None:
        """Open a session."""
        self._conn = open_session(self.address, self.adapter)
        self.session = self.adapter.get_connection_id(self._conn)
        self.connected_at = time.monotonic()
        self._is_closed = False

    @property
    def connection_id(self) -> int:
        """What DataJoint writes into the jobs that it reserves."""
        return self.session if self.worker is None else self.worker

    @connection_id.setter
    def connection_id(self, session: int) -> None:
        self.session = session

    @property
    def session_is_open(self) -> bool:
        """Whether the session was not seen to be lost."""
        if self.adapter.backend == "postgresql":
            return not self._conn.closed
        return bool(self._conn.open)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended; it may have been lost.

        DataJoint sends the server a query each time, whose answer changes nothing.
        """
        return self._in_transaction

    def query(self, *args: Any, **kwargs: Any) -> Any:
        """Execute SQL; a lost session is replaced first.

        A query whose answer was lost is executed again, so it must do no harm the second time.
        """
        kwargs["reconnect"] = False
        for losses in range(_TRIES):
            if self.session_is_open:
                try:
                    return super().query(*args, **kwargs)
                except psycopg2.errors.RestrictViolation as error:
                    # What PostgreSQL 18 says in place of a violated foreign key.
                    raise dj.errors.IntegrityError(*error.args) from error
                except FAILURES as error:
                    if error.args and error.args[0] in _MYSQL_ENDS:
                        self._conn.close()
                    if self.session_is_open:
                        raise  # the query is at fault
            if self._in_transaction:
                raise Lost("The connection was lost during a transaction; start it again.")
            if losses:
                time.sleep(min(_FIRST_WAIT * 2 ** (losses - 1), _LONGEST_WAIT))
            self._reconnect()
        raise Lost(f"the connection was lost {_TRIES} times during a query")

    def commit_transaction(self) -> None:
        """Make the transaction's changes visible, or undo them if this may not be."""
        try:
            if self.in_transaction:
                self.before_commit(self)
            super().commit_transaction()
        except BaseException:
            self.cancel_transaction()
            raise

    def cancel_transaction(self) -> None:
        """Undo what the transaction changed; if it was lost, the server has done so."""
        try:
            super().cancel_transaction()
        except Lost:
            self._in_transaction = False

    def close(self) -> None:
        """End the session; nothing opens another."""
        super().close()
        self.closed = True
        # Tables still hold this connection, and a query would reconnect.
        self.__dict__["query"] = _refuse

    def give_up(self, reason: str) -> ServerGoneError:
        """What to raise once the server was waited for in vain; nothing waits for it again."""
        self._gone = True
        return ServerGoneError(
            f"the database server was not there for {self.patience:.0f} s ({reason}); run this "
            "again when it is back: computations resume from their checkpoints"
        )

    def _reconnect(self) -> None:
        patience = 0.0 if self._gone else self.patience
        deadline, wait = time.monotonic() + patience, _FIRST_WAIT
        told = self._gone
        while True:
            try:
                self.connect()
            except Exception as error:  # each driver has its own
                if time.monotonic() > deadline:
                    raise self.give_up(one_line(error)) from error
                if not told:
                    log.warning(
                        "the database server does not answer; waiting up to %.0f s", self.patience
                    )
                    told = True
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                self._gone = False
                self.on_reconnect(self)
                if told:
                    log.warning("the database server is back")
                return


@contextlib.contextmanager
def locked(connection: Connection, release: str, lost: Exception) -> Iterator[None]:
    """Keep a lock that the session has taken to the end, and release it by a statement.

    Raises
    ------
    Exception
        `lost`, if the session was lost, and its lock with it.
    """
    on_reconnect = connection.on_reconnect

    def refuse(_: Connection) -> None:
        raise lost

    connection.on_reconnect = refuse
    try:
        yield
    finally:
        connection.on_reconnect = on_reconnect
        # A lost session has lost its lock too.
        with contextlib.suppress(Exception):
            connection.query(release)


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())


def _refuse(*args: object, **kwargs: object) -> None:
    raise DatabaseError("the database was closed; call neuroteach.open_database() again")


def open_session(address: ServerAddress, adapter: Any) -> Any:
    """A session of the driver, psycopg2 or PyMySQL, in autocommit mode."""
    if address.backend == "postgresql":
        return _open_postgres(address, adapter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how DataJoint calls PyMySQL
        return _open_mysql(address, adapter)


def _open_postgres(address: ServerAddress, adapter: Any) -> Any:
    socket = address.host.startswith("/")
    secret = address.password
    with without_variables_of_postgres() if address.ours else contextlib.nullcontext():
        session = psycopg2.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            # Without one libpq looks into its own variables and files.
            password=secret.get_secret_value() if secret is not None else None,
            **({"passfile": address.passfile} if address.passfile else {}),
            dbname=address.database,
            connect_timeout=CONNECT_TIMEOUT,
            application_name="neuroteach",
            client_encoding="utf8",
            # A Unix socket needs no encryption; a server is asked for it and may decline.
            **({"sslmode": "disable"} if socket else {"sslmode": "prefer", **address.tls}),
            **({} if socket else {**_KEEPALIVE, "tcp_user_timeout": _USER_TIMEOUT}),
        )
    session.autocommit = True
    adapter._register_numpy_adapters()
    # Times have no zone in the tables. A server may end sessions that are idle within transactions,
    # as one of ours is while it reads objects of a store; and it may compile what looks expensive,
    # which of many small questions in one statement takes longer than to answer them.
    settings = {
        "TIME ZONE": "'UTC'",
        "idle_in_transaction_session_timeout =": "0",
        "jit =": "off",
    }
    if not socket:
        settings |= {f"tcp_{name} =": str(value) for name, value in _KEEPALIVE.items()}
        settings["tcp_user_timeout ="] = str(_USER_TIMEOUT)
    with session.cursor() as cursor:
        cursor.execute("; ".join(f"SET {name} {value}" for name, value in settings.items()))
    return session


def _open_mysql(address: ServerAddress, adapter: Any) -> Any:
    mode = address.tls.get("sslmode", "prefer")
    files = {"sslrootcert": "ca", "sslcert": "cert", "sslkey": "key"}
    options: Mapping[str, Any] = {
        **{mine: address.tls[name] for name, mine in files.items() if name in address.tls},
        "check_hostname": mode == "verify-full",
        **({} if mode.startswith("verify") else {"verify_mode": "none"}),
    }
    secret = address.password

    def connect(use_tls: Any) -> Any:
        return adapter.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=secret.get_secret_value() if secret is not None else "",
            charset="utf8mb4",
            use_tls=use_tls,
        )

    try:
        session = connect(dict(options) if mode != "disable" else False)
    except pymysql.err.OperationalError as error:
        # From 2000 on the client says that there is no encrypted way to the server; below that the
        # server was reached and refused.
        if mode != "prefer" or error.args[0] < 2000:
            raise
        session = connect(False)
    with session.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
    return session
