"""What brings the tables of an earlier version to this one, step by step.

Each migration has a number. It may be stopped anywhere and run again: it looks at what is there
and does what is missing. Columns that are added may be empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from upath import UPath

from pipeline.database.lineage import POPULATION, STABILITY, VERSION, Lineage, lineage_of
from schemas import base, tables, teacher_plan, teaching, training
from schemas.catalogue import Catalogue
from schemas.evaluations.base import EVALUATIONS
from schemas.experiment import Experiment
from schemas.objects import StoreError, check_path
from schemas.stored import CODECS
from schemas.worker import SchemaVersion, Worker

Report = Callable[[str], None]


@dataclass(frozen=True)
class Migration:
    """One step.

    Attributes
    ----------
    number : int
        The version of the tables after it.
    name : str
        What it does, for people.
    apply : callable
        Called with the connection, the root of the store, and what reports lines of text.
    """

    number: int
    name: str
    apply: Callable[[Any, UPath, Report], None]


def _columns_of_provenance(connection: Any, store: UPath, report: Report) -> None:
    for table in tables.all_tables():
        if "git_commit" in table.definition:
            _add_column(table, 'host = "" : varchar(64)', report)
            _add_column(table, 'computed_by = "" : varchar(64)', report)
    _add_column(training.TrainedNetwork.Epoch, "test_loss = null : float64", report)
    _add_column(Experiment, "priority = 5 : int16", report)
    _add_column(Experiment, 'added_by = "" : varchar(64)', report)


def _checksums_of_arrays(connection: Any, store: UPath, report: Report) -> None:
    for table, column in array_columns():
        for key, stored in _without_checksum(connection, table, column):
            check_path(stored["path"])
            try:
                content = (store / stored["path"]).read_bytes()
            except FileNotFoundError as error:
                raise StoreError(
                    f"{column} of {table.__name__} {key}: object {stored['path']} is missing; "
                    "take it from a backup, or delete the row"
                ) from error
            stored |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            quoted = connection.adapter.quote_identifier
            where = " AND ".join(f"{quoted(name)} = %s" for name in key)
            connection.query(
                f"UPDATE {table().full_table_name} SET {quoted(column)} = %s WHERE {where}",
                (json.dumps(stored), *key.values()),
            )
        report(f"checksums of {table.__name__}.{column}")


def _workers_by_number(connection: Any, store: UPath, report: Report) -> None:
    """No worker is running meanwhile, so that there is nothing in the table to keep."""
    if "pid_space" in Worker().heading.names:
        return
    Worker().drop_quick()
    assert base.schema.catalogue is not None
    tables.activate_missing(base.schema.catalogue)
    report(f"table {Worker.__name__}")


def _foreign_keys(connection: Any, store: UPath, report: Report) -> None:
    for table in tables.all_tables():
        if issubclass(table, base.dj.Lookup) and "needs" in table.definition:
            _add_column(table, 'needs = "" : varchar(16)', report)
        elif "git_commit" in table.definition:
            _add_column(table, "origins = null : json", report)
    for value in ("correlation", "alignment"):
        _add_column(EVALUATIONS["layers"].Layer, f"{value}_stimuli = null : float64", report)
    _widen(EVALUATIONS["layers"].Layer, "layer", "varchar(255)", report)
    _widen(EVALUATIONS["activations"].Config, "layer", "varchar(255)", report)
    for epochs in (training.TrainedNetwork.Epoch, training.TrainingProgress):
        _add_column(epochs, "validation_accuracy = null : float64", report)
        _add_column(epochs, "measures = null : json", report)
    _add_column(training.TrainedNetwork, "weights_epoch = null : int32", report)
    _add_column(training.TrainedNetwork, "lesson = null : <attach@main>", report)
    _add_column(teaching.Teacher, "responses = null : <npy@main>", report)
    _add_column(teaching.Teacher, "n_neurons = 0 : int32", report)
    _widen(training.TrainingConfig, "compared", "varchar(1024)", report)
    _widen(training.NetworkConfig, "architecture", "varchar(128)", report)
    _widen(teacher_plan.TeacherConfig, "teacher", "varchar(128)", report)
    catalogue = base.schema.catalogue
    assert catalogue is not None
    # Before the tables are replaced whose rows are read.
    found = lineage_of(lambda name: _plain_rows(connection, name))
    with base.transaction(connection):  # a group is there with its members, or not at all
        for name, rows in found.added.items():
            if rows:
                _table(name).insert(rows, skip_duplicates=True)
    for name, rows in found.added.items():
        report(f"{len(rows)} rows of {name}")
    _rekey_stability(connection, catalogue, found, report)


def _plain_rows(connection: Any, name: str) -> list[dict[str, Any]]:
    """Rows of a table as the database has them, with their settings read."""
    rows = connection.query(f"SELECT * FROM {_table(name).full_table_name}", as_dict=True)
    return [
        {k: json.loads(v) if k == "config" and isinstance(v, str) else v for k, v in row.items()}
        for row in rows.fetchall()
    ]


def _table(name: str) -> Any:
    return {table.__qualname__: table for table in tables.all_tables()}[name]()


_KEPT = "~kept_"  # begins the name of a table while its successor is filled


def _rekey_stability(connection: Any, catalogue: Catalogue, found: Lineage, report: Report) -> None:
    """Have the stability of similarity hang on scans instead of on an experiment.

    The old tables are renamed until their rows are in the new ones, so that none is lost.
    """
    adapter, schema = connection.adapter, catalogue.schema
    instances = [_table(name) for name in (STABILITY, POPULATION)]
    kept = {t.table_name: f"{_KEPT}{t.table_name.strip('_')}" for t in instances}
    if "experiment" in instances[0].heading.names:
        queue = instances[0].jobs
        if queue.table_name in catalogue.names:
            connection.query(f"DROP TABLE {queue.full_table_name}")
        _set_aside(connection, schema, kept)
        tables.activate_missing(catalogue)
    aside = {
        name: adapter.make_full_table_name(schema, other)
        for name, other in kept.items()
        if other in catalogue.names
    }
    if len(aside) == len(kept):
        with base.transaction(connection):
            for instance in (_table(name) for name in (STABILITY, POPULATION)):
                query = f"SELECT * FROM {aside[instance.table_name]}"
                for row in connection.query(query, as_dict=True).fetchall():
                    new = found.regrouped(row)
                    if new is not None:
                        _insert_plain(connection, instance, new)
    for old in reversed(aside.values()):  # the part first
        connection.query(f"DROP TABLE {old}")
    catalogue.forget()
    report(f"{STABILITY} by scans")


def _set_aside(connection: Any, schema: str, kept: dict[str, str]) -> None:
    """Give all of some tables names out of DataJoint's sight, or none of them."""
    adapter = connection.adapter
    full = {
        adapter.make_full_table_name(schema, name): adapter.make_full_table_name(schema, other)
        for name, other in kept.items()
    }
    if adapter.backend != "postgresql":
        renamed = ", ".join(f"{old} TO {new}" for old, new in full.items())
        connection.query(f"RENAME TABLE {renamed}")
        return
    with base.transaction(connection):
        for (name, other), old in zip(kept.items(), full, strict=True):
            _drop_indexes(connection, schema, name)
            connection.query(f"ALTER TABLE {old} RENAME TO {adapter.quote_identifier(other)}")


def _drop_indexes(connection: Any, schema: str, table: str) -> None:
    """PostgreSQL has one name space for the indexes of all tables, and theirs are needed anew."""
    rows = connection.query(
        "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND tablename = %s "
        "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        (schema, table),
    ).fetchall()
    for (index,) in rows:
        connection.query(f"DROP INDEX {connection.adapter.make_full_table_name(schema, index)}")


def _insert_plain(connection: Any, table: Any, row: dict[str, Any]) -> None:
    """Insert a row as the database had it; nothing if it is there."""
    quoted = ", ".join(map(connection.adapter.quote_identifier, row))
    values = [json.dumps(v) if isinstance(v, dict | list) else v for v in row.values()]
    again = connection.adapter.skip_duplicates_clause(table.full_table_name, table.primary_key)
    connection.query(
        f"INSERT INTO {table.full_table_name} ({quoted}) "
        f"VALUES ({', '.join(['%s'] * len(row))}){again}",
        tuple(values),
    )


def _widen(table: Any, column: str, type_: str, report: Report) -> None:
    """Make room in a text column; nothing is lost, and nothing happens the second time."""
    adapter, name = table.connection.adapter, table().full_table_name
    quoted = adapter.quote_identifier(column)
    change = (
        f"ALTER COLUMN {quoted} TYPE {type_}"
        if adapter.backend == "postgresql"
        else f"MODIFY {quoted} {type_} NOT NULL"
    )
    table.connection.query(f"ALTER TABLE {name} {change}")
    report(f"column {column} of {table.__name__}")


MIGRATIONS = (
    Migration(1, "columns: who computed a row and where, priorities", _columns_of_provenance),
    Migration(2, "checksums of arrays", _checksums_of_arrays),
    Migration(3, "workers that are known by a number of their own", _workers_by_number),
    Migration(VERSION, "foreign keys in place of names; settings that may grow", _foreign_keys),
)
LATEST = MIGRATIONS[-1].number


def current_version(catalogue: Catalogue) -> int | None:
    """Version of the tables in a schema; 0 before versions were kept, None without any tables.

    Versions come before all other tables, so that one who is killed while he makes them leaves a
    version or nothing that counts.
    """
    names = {name for name in catalogue.names if not name.startswith("~")}
    if SchemaVersion.table_name in names:
        connection = catalogue.connection
        table = connection.adapter.make_full_table_name(catalogue.schema, SchemaVersion.table_name)
        (latest,) = connection.query(f"SELECT MAX(number) FROM {table}").fetchone()
        if latest is not None:
            return int(latest)
    return 0 if names - {SchemaVersion.table_name} else None


def pending(version: int) -> list[Migration]:
    """Migrations that a database of this version still lacks."""
    return [migration for migration in MIGRATIONS if migration.number > version]


def stamp(number: int, name: str) -> None:
    """Record that the tables, which are bound, have reached a version."""
    SchemaVersion.insert1(
        {
            "number": number,
            "name": name[:64],
            "package_version": base.code_version()["package_version"],
            "applied": base.now(),
        },
        skip_duplicates=True,
    )


def upgrade(catalogue: Catalogue, store: UPath, version: int, report: Report) -> None:
    """Bring bound tables up from a version, recording each step when it is done.

    Callers hold the activation lock, have declared missing tables and saved a backup.
    """
    for migration in pending(version):
        report(f"{migration.number}: {migration.name}")
        migration.apply(catalogue.connection, store, report)
        catalogue.forget()
        tables.activate(catalogue, create=False)
        stamp(migration.number, migration.name)


def array_columns() -> Iterator[tuple[Any, str]]:
    """Every table and column that holds arrays in the store."""
    for table in tables.all_tables():
        for name, attribute in table().heading.attributes.items():
            if attribute.codec is not None and attribute.codec.name == CODECS["npy"]:
                yield table, name


def _without_checksum(
    connection: Any, table: Any, column: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    quoted = connection.adapter.quote_identifier
    key = table().primary_key
    names = ", ".join(quoted(name) for name in (*key, column))
    for *values, stored in connection.query(
        f"SELECT {names} FROM {table().full_table_name} WHERE {quoted(column)} IS NOT NULL"
    ).fetchall():
        described = json.loads(stored) if isinstance(stored, str) else stored
        if "sha256" not in described:
            yield dict(zip(key, values, strict=True)), described


def _add_column(table: Any, definition: str, report: Report) -> None:
    connection, instance = table.connection, table()
    adapter = connection.adapter
    name, sql, _, comment = base.dj.declare.compile_attribute(definition, False, [], {}, adapter)
    if name in instance.heading.names:
        return
    connection.query(f"ALTER TABLE {instance.full_table_name} ADD COLUMN {sql}")
    statement = adapter.column_comment_ddl(instance.full_table_name, name, comment or "")
    if statement:
        connection.query(statement)
    report(f"column {name} of {table.__name__}")
