"""Schemas that tests use one after the other: all tables, no rows.

To declare all tables takes seconds, to empty those that a test wrote to a few milliseconds.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from pipeline.database.connection import Connection
from pipeline.database.opening import open_database
from pipeline.database.settings import Settings

_TABLES = """
SELECT relname, pg_relation_size(c.oid) > 0 FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %(schema)s AND relkind = 'r'
"""
# Whatever changes, adds or removes a part of a table leaves another version of a row in one of the
# catalogues. Rows of pg_class and pg_description have others for reasons that are no concern here.
_STRUCTURE = """
WITH s AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = %(schema)s),
r AS (SELECT c.* FROM pg_class c JOIN s ON c.relnamespace = s.oid)
SELECT (SELECT (nspowner, nspacl)::text FROM s), (
    SELECT (count(*), sum(hashtext((oid, relname, relowner, relkind, relacl, relnatts, relchecks,
        relhasindex, relhasrules, relhastriggers, relrowsecurity, reloptions)::text)))::text FROM r
), (
    SELECT (count(*), sum(a.xmin::text::bigint))::text
    FROM pg_attribute a JOIN r ON attrelid = r.oid
), (
    SELECT (count(*), sum(a.xmin::text::bigint))::text FROM pg_attrdef a JOIN r ON adrelid = r.oid
), (
    SELECT (count(*), sum(i.xmin::text::bigint))::text FROM pg_index i JOIN r ON indrelid = r.oid
), (
    SELECT (count(*), sum(t.xmin::text::bigint))::text FROM pg_trigger t JOIN r ON tgrelid = r.oid
), (
    SELECT (count(*), sum(p.xmin::text::bigint))::text FROM pg_policy p JOIN r ON polrelid = r.oid
), (
    SELECT (count(*), sum(c.xmin::text::bigint))::text
    FROM pg_constraint c JOIN s ON connamespace = s.oid
), (
    SELECT (count(*), sum(p.xmin::text::bigint))::text FROM pg_proc p JOIN s ON pronamespace = s.oid
), (
    SELECT (count(*), sum(t.xmin::text::bigint))::text FROM pg_type t JOIN s ON typnamespace = s.oid
), (
    SELECT (count(*), sum(e.xmin::text::bigint))::text
    FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid JOIN s ON typnamespace = s.oid
), (
    SELECT (count(*), sum(hashtext(replace(description, nspname, 'X'))))::text
    FROM pg_description d JOIN r ON objoid = r.oid CROSS JOIN s
)
"""
_COMMENTS = """
UPDATE pg_description SET description = replace(description, %(before)s, %(schema)s)
WHERE classoid = 'pg_class'::regclass AND description LIKE '%%' || %(before)s || '%%'
AND objoid IN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
               WHERE nspname = %(schema)s)
"""
_FILLED = ("schema_version", "~lineage")  # where an empty database has rows


class SchemaPool:
    """Declares all tables by the statements that declared them first, or hands on emptied ones.

    Parameters
    ----------
    first : Settings
        Of an empty schema, in which they are declared as users do, and which stays.
    """

    def __init__(self, first: Settings) -> None:
        self.first = first.schema_name
        self.script = _recorded(first)
        self._session = psycopg2.connect(first.database)
        self._spare: list[str] = []
        self._structure: dict[str, tuple[Any, ...]] = {}  # of a schema of this name, as it was made

    def close(self) -> None:
        """End the session; the schemas stay."""
        self._session.close()

    def declare(self, settings: Settings) -> None:
        """Give the schema of these settings, which is not there, all tables and no rows."""
        schema = settings.schema_name
        if settings.store.protocol != "s3":
            settings.store.mkdir(parents=True, exist_ok=True)  # as who makes the tables does
        with self._session as session, session.cursor() as cursor:
            if not self._spare:
                cursor.execute(self.script.replace(self.first.encode(), schema.encode()))
                self._structure[schema] = self._structure_of(cursor, schema)
                return
            before = self._spare.pop()
            self._rename(cursor, before, schema)
            for table in _FILLED:
                cursor.execute(
                    sql.SQL("TRUNCATE {new}; INSERT INTO {new} SELECT * FROM {first}").format(
                        new=sql.Identifier(schema, table), first=sql.Identifier(self.first, table)
                    )
                )
            cursor.execute(
                sql.SQL("UPDATE {} SET lineage = replace(lineage, {}, {})").format(
                    sql.Identifier(schema, "~lineage"), sql.Literal(self.first), sql.Literal(schema)
                )
            )

    def take_back(self, settings: Settings) -> None:
        """Empty the schema for the next one; drop it, if anything but rows was changed."""
        schema = settings.schema_name
        made = self._structure.get(schema)
        with self._session as session, session.cursor() as cursor:
            cursor.execute(_TABLES, {"schema": schema})
            names = [sql.Identifier(schema, name) for name, _ in cursor]
            if made is None or not names or self._structure_of(cursor, schema) != made:
                drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE")
                cursor.execute(drop.format(sql.Identifier(schema)))
                return
            # Waits for whoever still writes, as dropping it would.
            cursor.execute(sql.SQL("LOCK {} IN EXCLUSIVE MODE").format(sql.SQL(", ").join(names)))
            cursor.execute(_TABLES, {"schema": schema})
            written = [name for name, has_pages in cursor if has_pages and name not in _FILLED]
            cursor.execute("SET LOCAL session_replication_role = replica")  # in whatever order
            for name in written:
                cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, name)))
            spare = f"spare_{uuid.uuid4().hex[:12]}"
            self._rename(cursor, schema, spare)
        self._spare.append(spare)

    def _rename(self, cursor: Any, before: str, after: str) -> None:
        rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
        cursor.execute(rename.format(sql.Identifier(before), sql.Identifier(after)))
        cursor.execute(_COMMENTS, {"before": before, "schema": after})
        self._structure[after] = self._structure.pop(before)

    @staticmethod
    def _structure_of(cursor: Any, schema: str) -> tuple[Any, ...]:
        cursor.execute(_STRUCTURE, {"schema": schema})
        found: tuple[Any, ...] = cursor.fetchone()
        return found


def _recorded(settings: Settings) -> bytes:
    """The statements that declare all tables in an empty schema."""
    sent: list[bytes] = []
    query = Connection.query

    def recording(self: Connection, text: str, args: Any = (), *more: Any, **options: Any) -> Any:
        done = query(self, text, args, *more, **options)
        if text.split(maxsplit=1)[0].upper() in ("CREATE", "ALTER", "COMMENT", "INSERT"):
            with contextlib.closing(self._conn.cursor()) as cursor:
                sent.append(cursor.mogrify(text, args or None))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", recording)
        open_database(settings).close()
    return b";\n".join(sent)
