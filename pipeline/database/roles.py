"""Who may do what in a shared database: the SQL that makes an admin, a worker or a reader.

An admin owns the tables. A worker reads and writes rows, and can neither drop nor alter a table. A
reader reads. Whoever has no role gets in nowhere. No password stands in the SQL.
"""

from __future__ import annotations

import enum
import re
from typing import Any

import psycopg2.extensions

from pipeline.database.settings import Settings, SettingsError


class Role(enum.StrEnum):
    """What a user may do."""

    admin = "admin"
    worker = "worker"
    reader = "reader"


# REFERENCES lets people have tables of their own, in a schema of their own, that refer to these.
ROWS = {Role.worker: "SELECT, INSERT, UPDATE, DELETE, REFERENCES", Role.reader: "SELECT"}
# Of a table that a user may only SELECT from, PostgreSQL does not say which columns are its key.
_POSTGRES_ROWS = {Role.worker: ROWS[Role.worker], Role.reader: "SELECT, REFERENCES"}
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,30}")


def grant(role: Role, user: str, settings: Settings) -> list[str]:
    """Statements that give a user a role in the schema of these settings, in place of another.

    To be run by a superuser of the server: first for an admin, then for workers and readers.

    Parameters
    ----------
    role : Role
    user : str
        Made if there is none of this name; without a password, so that it cannot be used yet.
    settings : Settings

    Raises
    ------
    SettingsError
        If the database is embedded, which is one person's, or the user's name will not do.
    """
    if settings.embedded_folder is not None:
        raise SettingsError(
            "an embedded database is one person's and has no other users; set NEUROTEACH_DATABASE "
            "to a server"
        )
    if not _USER.fullmatch(user):
        raise SettingsError(
            f"user: {user!r}, expected up to 31 small letters, digits, '_', '-' and '.', with a "
            "letter first"
        )
    address = settings.server_address
    if address.backend == "postgresql":
        assert address.database is not None
        return _postgres(role, user, address.database, settings.schema_name)
    return _mysql(role, user, settings.schema_name)


def _postgres(role: Role, user: str, database: str, schema: str) -> list[str]:
    u, d, s = (f'"{_quoted(name)}"' for name in (user, database, schema))
    statements = [
        "DO $$ BEGIN "
        f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') THEN "
        f"CREATE ROLE {u} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE; END IF; END $$",
        # By default everyone with an account may connect to every database.
        f"REVOKE ALL ON DATABASE {d} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {d} TO {u}",
    ]
    if role is Role.admin:
        return [*statements, *_handed_over(u, s)]
    rows = _POSTGRES_ROWS[role]
    return [
        *statements,
        f"CREATE SCHEMA IF NOT EXISTS {s}",
        # The schema's owner could grant itself what is revoked here.
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_namespace WHERE "
        f"nspname = '{schema}' AND nspowner = '{u}'::regrole) THEN RAISE EXCEPTION "
        f"'{user} is the admin of {schema}; make another user its admin first'; END IF; END $$",
        f"REVOKE ALL ON SCHEMA {s} FROM {u}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {s} FROM {u}",
        _of_later_tables(schema, f"REVOKE ALL ON TABLES FROM {u}"),
        f"GRANT USAGE ON SCHEMA {s} TO {u}",
        f"GRANT {rows} ON ALL TABLES IN SCHEMA {s} TO {u}",
        _of_later_tables(schema, f"GRANT {rows} ON TABLES TO {u}"),
    ]


def _of_later_tables(schema: str, change: str) -> str:
    """A change of rights on the tables that the owner of the schema will make."""
    return (
        "DO $$ BEGIN EXECUTE (SELECT format("
        f"'ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA \"{_quoted(schema)}\" {change}', "
        f"nspowner::regrole) FROM pg_namespace WHERE nspname = '{schema}'); END $$"
    )


def _handed_over(user: str, schema: str) -> list[str]:
    """The schema and what is in it, if there is any yet, become the user's."""
    return [
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"ALTER SCHEMA {schema} OWNER TO {user}",
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT c.oid::regclass AS name FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'S') "
        f"AND n.nspname = '{schema.strip(chr(34))}' LOOP "
        f"EXECUTE format('ALTER TABLE %s OWNER TO {user}', t.name); END LOOP; END $$",
    ]


def _mysql(role: Role, user: str, schema: str) -> list[str]:
    # In a grant "_" would stand for any character, and so for other schemas.
    pattern = schema.replace("_", "\\_")
    who, tables = f"'{user}'@'%'", f"`{pattern}`.*"
    rows = "ALL PRIVILEGES" if role is Role.admin else ROWS[role]
    return [
        # Locked until it has a password: MySQL would let anyone in who knows its name.
        f"CREATE USER IF NOT EXISTS {who} ACCOUNT LOCK",
        # What an earlier role gave; MySQL refuses to revoke where nothing was granted.
        f"GRANT SELECT ON {tables} TO {who}",
        f"REVOKE ALL PRIVILEGES ON {tables} FROM {who}",
        f"GRANT {rows} ON {tables} TO {who}",
        # Shows whose sessions are there, which tells the jobs of dead workers from those of others.
        f"REVOKE PROCESS ON *.* FROM {who}"
        if role is Role.reader
        else f"GRANT PROCESS ON *.* TO {who}",
    ]


def apply(connection: Any, statements: list[str]) -> None:
    """Run statements as they stand: a per cent sign in them is no parameter."""
    for statement in statements:
        with connection._conn.cursor() as cursor:
            cursor.execute(statement)


def set_password(connection: Any, user: str, password: str) -> None:
    """Give a user a password, which PostgreSQL never sees: it is sent a verifier of it."""
    if connection.adapter.backend == "postgresql":
        verifier = psycopg2.extensions.encrypt_password(
            password, user, scope=connection._conn, algorithm="scram-sha-256"
        )
        connection.query(f'ALTER ROLE "{_quoted(user)}" PASSWORD %s', (verifier,))
        return
    statement = "ALTER USER %s@'%%' IDENTIFIED BY %s ACCOUNT UNLOCK"
    connection.query(statement, (user, password))


def _quoted(name: str) -> str:
    return name.replace('"', '""')
