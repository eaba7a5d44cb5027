"""Database servers as they are on a cluster: over TCP, with users of their own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pymysql
import pytest

from pipeline.database.embedded import EmbeddedPostgres
from pipeline.database.settings import Settings


@dataclass(frozen=True)
class SharedServer:
    """A server on the loopback interface, and its superuser."""

    backend: str
    port: int
    user: str
    password: str
    database: str = ""

    def url(self, user: str, password: str, query: str = "") -> str:
        """Address for a user, as in NEUROTEACH_DATABASE."""
        path = f"/{self.database}" if self.database else ""
        return f"{self.backend}://{user}:{password}@127.0.0.1:{self.port}{path}{query}"

    @property
    def superuser(self) -> str:
        return self.url(self.user, self.password)

    def settings(self, home: Path, schema: str, url: str = "") -> Settings:
        """Settings with the address of a user, by default of the superuser."""
        return Settings(
            home=home,
            database=url or self.superuser,
            store=home / "store",
            schema_name=schema,
            device="cpu",
        )


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def postgres_over_tcp() -> Iterator[SharedServer]:
    """PostgreSQL as it runs on a cluster: passwords for all, nothing but loopback."""
    root = Path(tempfile.mkdtemp(prefix="neuroteach-tcp-"))
    port = free_port()
    server = EmbeddedPostgres(
        root / "database",
        durable=False,
        settings={"listen_addresses": "127.0.0.1", "port": str(port)},
    )
    s = server.start()
    try:
        yield SharedServer("postgresql", port, s.user, s.password, s.database)
    finally:
        server.stop(force=True)
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def mariadb_over_tcp() -> Iterator[SharedServer]:
    """MariaDB; where none is installed, the test is skipped."""
    program, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if program is None or install is None:
        pytest.skip("no MariaDB is installed here")
    root = Path(tempfile.mkdtemp(prefix="neuroteach-maria-"))
    data, sock, port = root / "data", root / "sock", free_port()
    # In one folder for temporary tables two servers take each other's away.
    options = ["--no-defaults", f"--datadir={data}", f"--tmpdir={root}", "--user=root"]
    subprocess.run(
        [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options, f"--socket={sock}", f"--port={port}",
             "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                session = pymysql.connect(unix_socket=str(sock), user="root", autocommit=True)
                break
            except pymysql.Error:
                assert time.monotonic() < deadline, (root / "log").read_text()
                time.sleep(0.1)
        with contextlib.closing(session), session.cursor() as cursor:
            cursor.execute("CREATE USER 'boss'@'%' IDENTIFIED BY 'boss-secret'")
            cursor.execute("GRANT ALL PRIVILEGES ON *.* TO 'boss'@'%' WITH GRANT OPTION")
        yield SharedServer("mysql", port, "boss", "boss-secret")
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def object_store() -> Iterator[str]:
    """Address of an S3 server, a process of its own that keeps everything in memory."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def can_connect(server: SharedServer, user: str, password: str) -> bool:
    """Whether the server lets a user in."""
    try:
        if server.backend == "postgresql":
            psycopg2.connect(server.url(user, password)).close()
        else:
            pymysql.connect(
                host="127.0.0.1", port=server.port, user=user, password=password
            ).close()
    except (psycopg2.Error, pymysql.Error):
        return False
    return True


def cut_session(settings: Settings, pid: int) -> None:
    """End another's database session, as a restart of the server would."""
    with contextlib.closing(psycopg2.connect(settings.database)) as other:
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert cursor.fetchone() == (True,)


def embedded_settings(home: Path) -> Settings:
    """Settings of an embedded database of its own, in a home folder."""
    return Settings(
        home=home,
        database=f"embedded:{home / 'database'}",
        store=home / "store",
        device="cpu",
    )
