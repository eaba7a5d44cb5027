"""Encrypted connections: asked for, insisted on, and refused where the server is another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.database import embedded as embedded_postgres
from pipeline.database.binaries import PostgresBinaries
from pipeline.database.embedded import EmbeddedPostgres, Server
from pipeline.database.opening import DatabaseError, connect
from pipeline.database.settings import Settings
from tests.servers import free_port

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("servers")]

# The embedded server never leaves its socket, so its binaries know no TLS.
WITH_TLS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def certificate(folder: Path, name: str) -> None:
    """A certificate for this name that signs itself, NAME.crt, and its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (folder / f"{name}.key").chmod(0o600)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("localhost", "elsewhere"):
        certificate(folder, name)
    return folder


@pytest.fixture(scope="module")
def server(
    certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, int]]:
    if not WITH_TLS:
        pytest.skip("no PostgreSQL of the system is installed here, whose binaries know TLS")
    binaries = PostgresBinaries(WITH_TLS[-1].parent, int(WITH_TLS[-1].parts[-3]))
    port = free_port()
    made = EmbeddedPostgres(
        tmp_path_factory.mktemp("tls") / "database",
        durable=False,
        settings={
            "listen_addresses": "localhost",
            "port": str(port),
            "ssl": "on",
            "ssl_cert_file": str(certificates / "localhost.crt"),
            "ssl_key_file": str(certificates / "localhost.key"),
        },
    )
    # No longer than it takes: the server of all other tests may be started meanwhile.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedded_postgres, "find_binaries", lambda major=None: binaries)
        started = made.start()
    yield started, port
    made.stop(force=True)


def settings_at(server: tuple[Server, int], home: Path, host: str, query: str) -> Settings:
    s, port = server
    return Settings(
        home=home,
        database=f"postgresql://{s.user}:{quote(s.password)}@{host}:{port}/{s.database}{query}",
        store=home / "store",
        device="cpu",
    )


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_a_connection_is_encrypted(
    server: tuple[Server, int], certificates: Path, tmp_path: Path, mode: str
) -> None:
    root = quote(str(certificates / "localhost.crt"), safe="")
    query = f"?sslmode={mode}" + (f"&sslrootcert={root}" if "verify" in mode else "")
    connection = connect(settings_at(server, tmp_path, "localhost", query))
    asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert connection.query(asked).fetchone() == (True,)
    connection.close()


@pytest.mark.parametrize(
    "host, authority, said",
    [
        ("127.0.0.1", "localhost", "does not match host name"),
        ("localhost", "elsewhere", "certificate verify failed"),
        ("localhost", "missing", "does not exist"),
    ],
)
def test_a_server_that_is_not_the_one_asked_for_is_refused(
    server: tuple[Server, int],
    certificates: Path,
    tmp_path: Path,
    host: str,
    authority: str,
    said: str,
) -> None:
    root = quote(str(certificates / f"{authority}.crt"), safe="")
    query = f"?sslmode=verify-full&sslrootcert={root}"
    with pytest.raises(DatabaseError, match=f"cannot connect .*{said}") as info:
        connect(settings_at(server, tmp_path, host, query))
    assert server[0].password not in str(info.value)


def test_a_server_without_encryption_is_refused_by_who_insists_on_it(
    settings: Settings, tmp_path: Path
) -> None:
    from tests.servers import postgres_over_tcp

    with postgres_over_tcp() as plain:
        url = plain.url(plain.user, plain.password, "?sslmode=require")
        with pytest.raises(DatabaseError, match="server does not support SSL"):
            connect(settings.model_copy(update={"database": url}))
        url = plain.url(plain.user, plain.password, "?sslmode=prefer")
        connect(settings.model_copy(update={"database": url})).close()
