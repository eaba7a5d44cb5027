"""The roles of docker/compose.yaml, made by its script in a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from pipeline.database.settings import Settings

pytestmark = pytest.mark.database

DOCKER = Path(__file__).resolve().parents[2] / "docker"
DATABASE = "neuroteach_lab"  # not the one of the image: the script takes what it is told


@dataclass(frozen=True)
class Server:
    """A server whose roles were made as the postgres image does it."""

    environment: dict[str, str]  # of the image, for scripts in docker-entrypoint-initdb.d
    made: subprocess.CompletedProcess[str]
    log: Path
    settings_of: Callable[..., Settings]

    def run_script(self, **changes: str) -> subprocess.CompletedProcess[str]:
        return _run_script({**self.environment, **changes})

    def password(self, role: str) -> str:
        return (Path(self.environment["SECRETS"]) / f"database-{role}").read_text()

    def query(self, user: str, password: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        session = psycopg2.connect(
            host=self.environment["PGHOST"],
            port=self.environment["PGPORT"],
            dbname=self.environment["POSTGRES_DB"],
            user=user,
            password=password,
        )
        session.autocommit = True
        try:
            with session.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            session.close()

    def as_role(self, role: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.query(f"neuroteach_{role}", self.password(role), sql, *values)

    def as_superuser(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        environment = self.environment
        return self.query(environment["POSTGRES_USER"], environment["PGPASSWORD"], sql, *values)


def _run_script(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOCKER / "database" / "roles.sh"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own: roles belong to a whole server."""
    from pipeline.database.binaries import find_binaries
    from pipeline.database.embedded import EmbeddedPostgres

    root = Path(tempfile.mkdtemp(prefix="neuroteach-tests-"))
    subprocess.run([DOCKER / "make-secrets.sh", root / "secrets"], check=True, capture_output=True)
    postgres = EmbeddedPostgres(root / "database", durable=False)
    started = postgres.start()
    environment = {
        "PATH": f"{find_binaries().folder}:{os.environ['PATH']}",
        "PGHOST": str(started.socket_folder),
        "PGPORT": str(started.port),
        "PGPASSWORD": started.password,
        "POSTGRES_USER": started.user,
        "POSTGRES_DB": DATABASE,
        "SECRETS": str(root / "secrets"),
    }

    def settings_of(role: str, home: Path) -> Settings:
        password = (root / "secrets" / f"database-{role}").read_text()
        return Settings(
            home=home,
            database=f"postgresql://neuroteach_{role}@/{DATABASE}"
            f"?host={quote(environment['PGHOST'], safe='')}&port={started.port}",
            database_password=password,
            store=home / "store",
            device="cpu",
        )

    try:
        created = ["createdb", "--username", started.user, DATABASE]
        subprocess.run(created, env=environment, check=True, capture_output=True)
        made = _run_script(environment)
        yield Server(environment, made, root / "database" / "postgres.log", settings_of)
    finally:
        postgres.stop(force=True)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def with_tables(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The same after the admin's `neuroteach init`."""
    from pipeline.database.opening import open_database

    with open_database(server.settings_of("admin", tmp_path_factory.mktemp("admin"))):
        pass
    return server


def test_script_makes_three_roles_that_can_do_nothing_to_the_server(server: Server) -> None:
    assert server.made.returncode == 0, server.made.stderr
    roles = server.as_superuser(
        "SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication "
        "FROM pg_roles WHERE rolname LIKE %s ORDER BY rolname",
        "neuroteach\\_%",
    )
    names = ["neuroteach_admin", "neuroteach_reader", "neuroteach_worker"]
    assert roles == [(name, True, False, False, False, False) for name in names]


@pytest.mark.parametrize("role", ["admin", "worker", "reader"])
def test_each_role_has_its_own_password(server: Server, role: str) -> None:
    assert server.as_role(role, "SELECT current_user") == [(f"neuroteach_{role}",)]
    for wrong in {"admin", "worker", "reader", "superuser"} - {role}:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            server.query(f"neuroteach_{role}", server.password(wrong), "SELECT 1")


def test_passwords_are_kept_out_of_the_output_and_the_log(server: Server) -> None:
    server.as_superuser("ALTER SYSTEM SET log_statement = 'all'")
    server.as_superuser("SELECT pg_reload_conf()")
    try:
        again = server.run_script()
    finally:
        server.as_superuser("ALTER SYSTEM RESET log_statement")
        server.as_superuser("SELECT pg_reload_conf()")
    assert again.returncode != 0 and "already exists" in again.stderr
    log = server.log.read_text()
    assert "log_statement" in log  # so statements were logged until the script said otherwise
    said = again.stdout + again.stderr + server.made.stdout + server.made.stderr + log
    for role in ("admin", "worker", "reader"):
        assert server.password(role) not in said


def test_missing_password_is_said_and_nothing_is_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "database-admin").write_text("hush")
    (tmp_path / "database-worker").touch()
    refused = server.run_script(SECRETS=str(tmp_path))
    assert refused.returncode == 1
    assert f"{tmp_path}/database-worker: missing or empty" in refused.stderr
    assert "hush" not in refused.stderr


def test_script_leaves_nothing_half_made(server: Server) -> None:
    server.as_superuser("CREATE DATABASE half")
    server.as_superuser("ALTER ROLE neuroteach_admin RENAME TO set_aside")
    try:
        failed = server.run_script(POSTGRES_DB="half")
        assert failed.returncode != 0  # for the worker is there, after the admin has been made
        found = server.as_superuser("SELECT 1 FROM pg_roles WHERE rolname = 'neuroteach_admin'")
        assert found == []
    finally:
        server.as_superuser("ALTER ROLE set_aside RENAME TO neuroteach_admin")
        server.as_superuser("DROP DATABASE half")


def test_strangers_do_not_get_in(server: Server) -> None:
    server.as_superuser("CREATE ROLE stranger LOGIN PASSWORD 'known'")
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        server.query("stranger", "known", "SELECT 1")


def test_worker_writes_rows_and_not_tables(with_tables: Server, tmp_path: Path) -> None:
    from pipeline.database.opening import open_database
    from schemas.experiment import Seed

    with open_database(with_tables.settings_of("worker", tmp_path)):
        Seed.insert1({"seed": 11})
        assert len(Seed & {"seed": 11}) == 1
        (Seed & {"seed": 11}).delete(prompt=False)
        assert len(Seed & {"seed": 11}) == 0
    for sql in ("DROP TABLE neuroteach.seed", "CREATE TABLE neuroteach.mine (a int)"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            with_tables.as_role("worker", sql)


def test_worker_computes(with_tables: Server, tmp_path: Path) -> None:
    from pipeline.database.opening import open_database
    from pipeline.workers import populate

    with open_database(with_tables.settings_of("worker", tmp_path)):
        assert populate.populate().failures == []


def test_reader_sees_rows_with_their_keys_and_changes_none(
    with_tables: Server, tmp_path: Path
) -> None:
    from pipeline.database.opening import open_database
    from pipeline.workers import populate
    from schemas.experiment import Seed

    with open_database(with_tables.settings_of("reader", tmp_path), create=False):
        assert Seed.primary_key == ["seed"]
        assert populate.progress()
    for sql in (
        "INSERT INTO neuroteach.seed VALUES (12)",
        "DELETE FROM neuroteach.seed",
        "DROP TABLE neuroteach.seed",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            with_tables.as_role("reader", sql)


@pytest.mark.parametrize("role", ["worker", "reader"])
def test_rights_are_those_of_database_grant(with_tables: Server, role: str, tmp_path: Path) -> None:
    from pipeline.database.roles import Role, grant

    other = f"another_{role}"
    settings = with_tables.settings_of("admin", tmp_path)
    for statement in grant(Role(role), other, settings):
        with_tables.as_superuser(statement.replace("%", "%%"))
    rights = "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
    ours, theirs = (
        set(with_tables.as_superuser(rights + "WHERE grantee = %s", user))
        for user in (f"neuroteach_{role}", other)
    )
    assert ours and ours == theirs
