"""Headings that are read at once are those that DataJoint reads, in far fewer statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from datajoint.codecs import get_codec
from datajoint.heading import Heading
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.database.connection import Connection
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from schemas import base, recording, tables, training
from schemas.catalogue import Catalogue
from schemas.model import Kind
from schemas.stored import CODECS
from tests.servers import mariadb_over_tcp
from tests.tiny_experiment import TEACHERS, environment, few_digits, tiny_experiment, tiny_recording

pytestmark = pytest.mark.database


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of the database meanwhile, in any session."""
    asked: list[str] = []
    real = Connection.query

    def query(self: Any, sql: str, *args: Any, **options: Any) -> Any:
        asked.append(sql)
        return real(self, sql, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", query)
        yield asked


def datajoints_own(table: Any) -> Heading:
    about = {"conn": table.connection, "database": table.database, "table_name": table.table_name}
    return Heading(table_info={**about, "context": None})


def check_headings() -> None:
    every = [table() for table in tables.all_tables()]
    every += [table().jobs for table in tables.queued_tables()]
    n_codecs = 0
    for table in every:
        ours, theirs = table.heading, datajoints_own(table)
        assert ours.names == theirs.names, table.table_name
        assert ours.primary_key == theirs.primary_key
        assert ours.table_status["comment"] == theirs.table_status["comment"]
        assert ours.indexes == theirs.indexes
        for name in theirs.names:
            own, expected = ours[name], theirs[name]
            assert own._replace(codec=None) == expected._replace(codec=None), (table, name)
            if expected.codec is None:
                assert own.codec is None
            else:
                n_codecs += 1
                other = CODECS.get(expected.codec.name, expected.codec.name)
                assert own.codec is get_codec(other), (table, name)
    assert n_codecs > 50


def test_headings_are_those_that_datajoint_reads(database: Database) -> None:
    check_headings()


def test_headings_are_those_that_datajoint_reads_on_mariadb(tmp_path: Path) -> None:
    with mariadb_over_tcp() as server:
        settings = server.settings(tmp_path, "catalogue")
        with open_database(settings):
            check_headings()
        with statements() as asked, open_database(settings) as database:
            assert len(asked) <= 40
            check_tables(database)


def check_tables(database: Database) -> None:
    """What there is to move, also of what MySQL has no types for."""
    refers = "FOREIGN KEY (experiment, scale) REFERENCES catalogue.experiment (experiment, scale)"
    database.connection.query(
        "CREATE TABLE catalogue.`~kept_rows` (experiment varchar(64), scale varchar(32), "
        f"PRIMARY KEY (experiment, scale), {refers})"
    )
    here = Catalogue(database.connection, "catalogue").tables
    assert set(here) == {table.__qualname__ for table in tables.all_tables()}
    assert here["FittedEncoder"].stored == ("encoder",)
    assert here["FittedEncoder"].kinds["encoder"] is Kind.file
    assert here["Scan"].kinds["simulated"] is Kind.boolean
    assert ("SharedCore", {n: n for n in here["SharedCore"].key}) in here[
        "SharedCore.Member"
    ].parents


def test_the_fixture_declares_what_opening_a_database_declares(
    database: Database, new_settings: Callable[[Path], Settings], tmp_path: Path
) -> None:
    replayed = Catalogue(database.connection, database.settings.schema_name)
    declared, names = replayed.tables, replayed.names
    database.close()
    other = new_settings(tmp_path / "other")
    open_database(other).close()
    with open_database(database.settings) as again:
        opened = Catalogue(again.connection, other.schema_name)
        found = {
            name: repr(table).replace(replayed.schema, opened.schema)
            for name, table in declared.items()
        }
        assert found == {name: repr(table) for name, table in opened.tables.items()}
        assert opened.names == names
        again.connection.query(f'DROP SCHEMA "{other.schema_name}" CASCADE')
    database.connection = open_database(database.settings).connection  # for the fixture to tidy


def test_origins_of_columns_are_known(database: Database) -> None:
    (teacher,) = (t for t in tables.all_tables() if t.__name__ == "Teacher")
    lineage = teacher().heading["scan_group"].lineage
    assert lineage == f"{database.settings.schema_name}.scan_group.scan_group"


def test_few_statements_open_a_database_and_say_how_far_it_is(with_tables: Settings) -> None:
    with statements() as asked, open_database(with_tables):
        assert len(asked) <= 40
        assert not tables.all_tables()[0]()
    with statements() as asked:
        result = CliRunner().invoke(app, ["status"], env=environment(with_tables))
    assert (result.exit_code, result.stderr.splitlines()[1:]) == (
        0,
        ["scans: none yet", "image sets: none yet"],
    )
    assert 0 < len(asked) <= 80
    assert "Reliability" in result.stdout


def test_few_statements_add_an_experiment_of_550_trainings(database: Database) -> None:
    recording.Scan.add(tiny_recording(), source="test")
    training.ImageSet.add(few_digits(), source="test")
    experiment = tiny_experiment(teachers=TEACHERS, seeds=tuple(range(138)))
    with statements() as asked:
        assert add_experiment(experiment, name="large", scale="smoke")
    assert len(training.TrainingPlan()) == 4 * 138
    print(len(asked))
    assert len(asked) <= 60
    with statements() as asked:
        assert not add_experiment(experiment, name="large", scale="smoke")
    print(len(asked))
    assert len(asked) <= 60


def test_what_is_declared_later_is_known_after_the_catalogue_forgot(database: Database) -> None:
    catalogue = base.schema.catalogue
    assert catalogue is not None and not tables.missing(catalogue)
    last = tables.all_tables()[-1]
    database.connection.query(f"DROP TABLE {last().full_table_name}")
    assert not tables.missing(catalogue)
    catalogue.forget()
    assert tables.missing(catalogue) == [last]
    tables.activate_missing(catalogue)
    assert not tables.missing(catalogue) and not last()


def test_of_a_schema_that_is_not_there_nothing_is_known(database: Database) -> None:
    assert Catalogue(database.connection, "nowhere").names == frozenset()
    assert Catalogue(database.connection, "nowhere").answers("scan") == {}
