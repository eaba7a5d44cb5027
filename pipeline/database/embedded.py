"""A private PostgreSQL server for one person: nothing to install, no account, no open port.

`EmbeddedPostgres` keeps the server of one data root. It listens on a Unix socket only and lives
on, as a daemon, when the program that started it ends, so that the next program finds it warm.

    ROOT/pg18/          data folder, named for the major version that made it and has to read it
    ROOT/password       password of the database user, readable by its owner only
    ROOT/pgpass         the same as libpq's passfile, once someone asked for a URL
    ROOT/server.lock    held while a server is made, started or stopped
    ROOT/server.alive   locked by the server and its children for as long as one of them lives
    ROOT/postgres.log   what the server says

``pg_ctl`` makes the daemon. It neither waits for it nor stops it, for two reasons: it believes
``postmaster.pid``, whose number may belong to a stranger after a crash and would be signalled, and
it looks only ten times a second, which is longer than a start or a stop takes. See
`pipeline.database.postmaster` for how a server is found instead.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg2
from filelock import FileLock, Timeout
from pydantic import SecretStr

from pipeline.database.binaries import (
    EmbeddedPostgresError,
    PostgresBinaries,
    find_binaries,
    without_variables_of_postgres,
)
from pipeline.database.postmaster import (
    DYING_GRACE,
    POLL,
    PORT,
    Postmaster,
    claim,
    comes_true,
    end_processes,
    find_postmaster,
    is_held,
    open_private,
)
from pipeline.database.settings import ServerAddress

Result = TypeVar("Result")

USER = DATABASE = "neuroteach"
_UNFINISHED = "initdb-"
_SOCKET_PATH_LIMIT = 103  # bytes; Linux takes 107, macOS 103

_LOCK_TIMEOUT = 240.0  # seconds; longer than a start or stop may take
_START_TIMEOUT = 120.0  # recovery after a crash included
_STOP_TIMEOUT = 60.0
_LEFTOVER_TIMEOUT = 30.0
_ANSWER_TIMEOUT = 30.0
_CLAIM_TIMEOUT = 5.0
_SESSION_GRACE = 0.5  # a session that was closed or killed a moment ago is still listed
_LOG_LIMIT = 10_000_000  # bytes
_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")  # of PostgreSQL's protocol; one byte answers it

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    # systemd removes a user's shared memory at logout, and containers have little of it.
    "dynamic_shared_memory_type": "mmap",
    # Ends the query of a client that was killed, so that it does not hold the server up.
    "client_connection_check_interval": "5s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Server:
    """What a client needs to connect; the socket folder takes the place of the host."""

    socket_folder: Path
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    @property
    def address(self) -> ServerAddress:
        """The same as clients of any server take it."""
        return ServerAddress(
            backend="postgresql",
            host=str(self.socket_folder),
            port=self.port,
            user=self.user,
            password=SecretStr(self.password),
            database=self.database,
            ours=True,
        )


@dataclass(frozen=True)
class StopResult:
    """`stopped`: no server runs now. `sessions`: those that kept it up, or were cut by force."""

    stopped: bool
    sessions: int

    def __str__(self) -> str:
        if self.stopped:
            return "the database is stopped"
        return f"the database stays up: {self.sessions} other session(s) are open"


@dataclass(frozen=True)
class Status:
    """`sessions` is None where no server runs or it does not answer."""

    running: bool
    data_folder: Path | None
    socket_folder: Path | None
    pid: int | None
    sessions: int | None


class EmbeddedPostgres:
    """The PostgreSQL server whose data live in `root`; making this object touches nothing.

    Parameters
    ----------
    root : Path
        Data root, for example ``~/.neuroteach/database``; made when missing.
    durable : bool
        False gives up safety against power failure for speed: for tests. Holds for a server that
        is started, not for one that runs already.
    settings : mapping, optional
        More of PostgreSQL's own for a server that is started, such as ``listen_addresses``.

    Raises
    ------
    EmbeddedPostgresError
        From every method that cannot do its work; the message says what to do.
    """

    def __init__(
        self, root: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.root = Path(root).expanduser().resolve()
        self.durable = durable
        self._settings = dict(settings or {})
        self._lock = FileLock(self.root / "server.lock", timeout=_LOCK_TIMEOUT, mode=0o600)
        self._alive = self.root / "server.alive"

    def start(self) -> Server:
        """Make the database where there is none, start its server where none runs, and wait."""
        with self._locked():
            data = self._data_folder() or self._initialise()
            server = self._await_ready(data)
            if server is None:
                self._launch(data)
                server = self._await_ready(data, launched=True)
            if server is None:
                raise EmbeddedPostgresError(f"the server ended at once: {self._log_tail()}")
            return server

    def connected(self, connect: Callable[[Server], Result]) -> Result:
        """Start, and return ``connect(server)``; no one can stop the server in between."""
        with self._locked():
            return connect(self.start())

    def stop(self, force: bool = False, *, wait: bool = True) -> StopResult:
        """Stop the server unless other sessions are open; with `force`, cut them off.

        Close your own sessions first: they count too. Without `wait` the server may still be
        writing when this returns; the next start waits for that.
        """
        data = self._data_folder()
        if data is None:
            return StopResult(stopped=True, sessions=0)
        with self._locked():
            sessions = 0
            if force:
                sessions = self.status().sessions or 0
            elif (server := self._await_ready(data)) is not None:
                sessions = self._count_sessions(server, _SESSION_GRACE)
                if sessions:
                    return StopResult(stopped=False, sessions=sessions)
            self._shut_down(data, wait)
            return StopResult(stopped=True, sessions=sessions)

    def running(self) -> bool:
        """Whether a server process works in the data folder; waits for no lock."""
        data = self._data_folder()
        return data is not None and find_postmaster(data) is not None

    def status(self) -> Status:
        """What runs now; waits for no lock."""
        data = self._data_folder()
        postmaster = find_postmaster(data) if data else None
        if postmaster is None:
            return Status(False, data, None, None, None)
        sessions = None
        if postmaster.state == "ready":
            with suppress(EmbeddedPostgresError):
                sessions = self._count_sessions(self._server(postmaster))
        return Status(True, data, postmaster.socket_folder, postmaster.process.pid, sessions)

    def passfile(self, server: Server) -> Path:
        """File from which psql and its kin take the password; written anew."""
        fields = (server.socket_folder, server.port, server.database, server.user, server.password)
        line = ":".join(str(f).replace("\\", "\\\\").replace(":", "\\:") for f in fields)
        path = self.root / "pgpass"
        self._write_private(path, line)
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock.acquire(poll_interval=POLL)
        except Timeout:
            raise EmbeddedPostgresError(
                f"another process has held {self._lock.lock_file} for {_LOCK_TIMEOUT:.0f} s. "
                "See which one with: lsof " + self._lock.lock_file
            ) from None
        except OSError as error:
            raise EmbeddedPostgresError(
                f"the folder of the database, {self.root}, cannot be made or written "
                f"({error.strerror}); set NEUROTEACH_HOME to a folder that you may write to"
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    # ----------------------------------------------------------------- data folder and password

    def _data_folder(self) -> Path | None:
        """The newest data folder; the version that made it is the version that must read it."""
        folders = [f for f in self.root.glob("pg*") if f.name.removeprefix("pg").isdecimal()]
        for folder in folders:
            if (owner := folder.stat().st_uid) != os.geteuid():
                raise EmbeddedPostgresError(
                    f"{folder} belongs to user number {owner} and you are {os.geteuid()}. Run as "
                    "its owner, or choose another folder for the database"
                )
        made = [folder for folder in folders if (folder / "PG_VERSION").exists()]
        return max(made, key=_major, default=None)

    def _initialise(self) -> Path:
        """Make the database in a temporary folder, then give it its name: all of it or nothing."""
        binaries = find_binaries()
        self._sweep_unfinished()
        password = self.root / "password"
        if not password.exists():
            self._write_private(password, secrets.token_urlsafe(24))
        with tempfile.TemporaryDirectory(
            prefix=_UNFINISHED, dir=self.root, ignore_cleanup_errors=True
        ) as unfinished:
            data = Path(unfinished) / "data"
            options = ["-D", str(data), f"--username={USER}", f"--pwfile={password}"]
            options += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            options += ["--no-instructions"] + ([] if self.durable else ["--no-sync"])
            # A random password of 192 bits is not found by trying, however fast one try is.
            options += ["--set", "scram_iterations=1"] if binaries.major >= 16 else []
            binaries.run("initdb", *options, folder=Path(unfinished))
            self._run_single_user(binaries, data, f"CREATE DATABASE {DATABASE}")
            return data.rename(self.root / f"pg{binaries.major}")

    def _sweep_unfinished(self) -> None:
        """Remove what a killed start left behind; its initdb may still be at work."""
        for unfinished in self.root.glob(f"{_UNFINISHED}*"):

            def removed(folder: Path = unfinished) -> bool:
                end_processes(folder, signal.SIGKILL)
                shutil.rmtree(folder, ignore_errors=True)
                return not folder.exists()  # a child that initdb has just made may be seen late

            if not comes_true(removed, _LEFTOVER_TIMEOUT):
                raise EmbeddedPostgresError(f"{unfinished} cannot be removed: do so by hand")

    def _run_single_user(self, binaries: PostgresBinaries, data: Path, statement: str) -> None:
        settings = {"exit_on_error": "on", "log_checkpoints": "off"}
        settings |= {} if self.durable else _NOT_DURABLE
        options = ["--single", "-D", str(data), *_options(settings), "postgres"]
        binaries.run("postgres", *options, folder=data, stdin=statement)

    def _write_private(self, path: Path, line: str) -> None:
        unfinished = path.with_name(f"{path.name}.new")
        unfinished.unlink(missing_ok=True)
        with open_private(unfinished, os.O_EXCL) as file:
            file.write(line.encode() + b"\n")
        unfinished.rename(path)

    # -------------------------------------------------------------------- what runs at the moment

    def _await_ready(self, data: Path, launched: bool = False) -> Server | None:
        """The server once it takes connections; None once none runs.

        One that was just `launched` has not said yet who it is.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while (postmaster := find_postmaster(data)) or (launched and is_held(self._alive)):
            if postmaster is not None and postmaster.state == "ready":
                server = self._server(postmaster)
                if _answers(server):
                    return server
                # Killed this instant, it looks alive a little longer.
                deadline = min(deadline, time.monotonic() + DYING_GRACE)
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"the server of {self.root} does not answer. Stop it by force, then start it "
                    f"again; {self._log_tail()}"
                )
            time.sleep(POLL)
        return None

    def _server(self, postmaster: Postmaster) -> Server:
        if not postmaster.socket_folder.exists():
            raise EmbeddedPostgresError(
                f"the server runs (process {postmaster.process.pid}) but its socket folder "
                f"{postmaster.socket_folder} was removed. Stop it by force, then start it again"
            )
        _require_private(postmaster.socket_folder)
        try:
            password = (self.root / "password").read_text().strip()
        except FileNotFoundError:
            raise EmbeddedPostgresError(
                f"{self.root / 'password'} is missing. Stop the server by force: the next start "
                "makes a new password"
            ) from None
        return Server(postmaster.socket_folder, postmaster.port, USER, password, DATABASE)

    def _count_sessions(self, server: Server, grace: float = 0.0) -> int:
        """Client sessions beside the one that asks; asks again for `grace` seconds if there are."""
        try:
            with without_variables_of_postgres():
                connection = psycopg2.connect(
                    host=str(server.socket_folder),
                    port=server.port,
                    user=server.user,
                    password=server.password,
                    dbname=server.database,
                    connect_timeout=10,
                )
        except psycopg2.OperationalError as error:
            raise EmbeddedPostgresError(
                f"the server of {self.root} refuses a connection: {str(error).strip()}"
            ) from error
        deadline = time.monotonic() + grace
        with closing(connection), connection.cursor() as cursor:
            connection.autocommit = True  # one transaction would see one frozen list
            while True:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
                (sessions,) = cursor.fetchone() or (0,)
                if not sessions or time.monotonic() >= deadline:
                    return int(sessions)
                time.sleep(POLL)

    # ------------------------------------------------------------------------------ start and stop

    def _launch(self, data: Path) -> None:
        """Start the server as a daemon: own session, nobody's child, no pipe to its starter."""
        binaries = self._binaries_for(data)
        sockets = self._make_socket_folder()
        self._sweep_unfinished()
        with claim(self._alive, data, _CLAIM_TIMEOUT) as alive:
            # No server lives, so these are left from a crash. PostgreSQL itself would take any
            # process that now has the old number for a rival.
            for stale in (data / "postmaster.pid", *sockets.glob(".s.PGSQL.*")):
                stale.unlink(missing_ok=True)
            if not (self.root / "password").exists():
                password = secrets.token_urlsafe(24)
                statement = f"ALTER ROLE {USER} PASSWORD '{password}'"
                self._run_single_user(binaries, data, statement)
                self._write_private(self.root / "password", password)
            log = self.root / "postgres.log"
            if log.exists() and log.stat().st_size > _LOG_LIMIT:
                log.rename(log.with_suffix(".log.old"))
            settings = _SETTINGS | {"unix_socket_directories": str(sockets), "port": str(PORT)}
            settings |= {} if self.durable else _NOT_DURABLE
            settings |= self._settings
            # Relative paths, because a shell of pg_ctl's expands what is in its double quotes. The
            # server keeps the open file, and with it the lock on it.
            options = ["-D", ".", "-l", f"../{log.name}", "-o", shlex.join(_options(settings))]
            options += ["-p", binaries.program("postgres"), "--silent", "--no-wait"]
            binaries.run("pg_ctl", "start", *options, folder=data, pass_fds=(alive.fileno(),))

    def _binaries_for(self, data: Path) -> PostgresBinaries:
        major = _major(data)
        try:
            return find_binaries(major)
        except EmbeddedPostgresError as error:
            raise EmbeddedPostgresError(
                f"the data in {data} were made by PostgreSQL {major}, and only {major} can read "
                f"them, but {error}. To begin an empty database instead, move {data} away"
            ) from None

    def _socket_folders(self) -> list[Path]:
        """Where a short private folder may be, the same at every start so that clients reconnect.

        Not below XDG_RUNTIME_DIR, and below TMPDIR only where /tmp is closed: both may vanish with
        the login or the batch job that started the server.
        """
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        name = f"neuroteach-{os.geteuid()}-{digest}"
        return [Path("/tmp") / name, Path(tempfile.gettempdir()) / name]

    def _make_socket_folder(self) -> Path:
        places = self._socket_folders()
        for folder in places:
            path_length = len(os.fsencode(folder / f".s.PGSQL.{PORT}"))
            if os.access(folder.parent, os.W_OK | os.X_OK) and path_length <= _SOCKET_PATH_LIMIT:
                with suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                _require_private(folder)
                return folder
        raise EmbeddedPostgresError(
            f"no place for the server's socket: {places[0].parent} and {places[1].parent} are "
            f"not writable or too long. Set TMPDIR to a writable folder with a short path"
        )

    def _log_tail(self, lines: int = 12) -> str:
        log = self.root / "postgres.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join([f"the end of {log} is:", *text.splitlines()[-lines:]])

    def _shut_down(self, data: Path, wait: bool) -> None:
        def ends() -> bool:
            found = find_postmaster(data)
            return found is None or found.state == "stopping"

        patience = _CLAIM_TIMEOUT  # for what a killed server left behind
        if (postmaster := find_postmaster(data)) is not None:
            with suppress(psutil.NoSuchProcess):
                postmaster.process.send_signal(signal.SIGINT)  # ends sessions, writes a checkpoint
            if not wait and comes_true(ends, _CLAIM_TIMEOUT):
                return
            patience = _STOP_TIMEOUT
        claim(self._alive, data, patience).close()
        for folder in self._socket_folders():
            with suppress(OSError):
                folder.rmdir()


def _major(data: Path) -> int:
    return int(data.name.removeprefix("pg"))


def _options(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _require_private(folder: Path) -> None:
    """Raise unless `folder` is a real folder of ours alone: anyone may make names in /tmp."""
    facts = folder.lstat()
    if (
        not stat.S_ISDIR(facts.st_mode)
        or facts.st_uid != os.geteuid()
        or stat.S_IMODE(facts.st_mode) & 0o077
    ):
        raise EmbeddedPostgresError(
            f"{folder} should be a folder of user number {os.geteuid()} with mode 0700, but is "
            f"{stat.filemode(facts.st_mode)} of user number {facts.st_uid}. It may be a trap set "
            "by someone else: remove it, or have it removed, and start again"
        )


def _answers(server: Server) -> bool:
    """Whether the server answers at its socket; cheaper than a session.

    A process that was killed this instant still lets others connect, and answers nothing.
    """
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(_ANSWER_TIMEOUT)
        client.connect(str(server.socket_folder / f".s.PGSQL.{server.port}"))
        client.sendall(_SSL_REQUEST)
        return bool(client.recv(1))
    return False
