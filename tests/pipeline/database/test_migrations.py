"""Tables of an earlier version: refused, brought up to date after a backup, and used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from neuroteach import results
from pipeline.cli.main import app
from pipeline.database import migrations
from pipeline.database.opening import Database, DatabaseError, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.selection import ALL, Selection
from pipeline.results.encoders import experiments
from pipeline.workers import populate
from schemas import reliability as reliability_tables
from schemas import tables as registry
from schemas import training
from schemas.catalogue import Catalogue
from schemas.experiment import Experiment
from schemas.worker import SchemaVersion, Worker
from tests.pipeline.database.test_version3 import put_back_to_version_3
from tests.tiny_experiment import environment, plan

pytestmark = pytest.mark.database


def columns(table: Any, database: Database) -> set[str]:
    rows = database.connection.query(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s",
        (database.settings.schema_name, table.table_name),
    )
    return {name for (name,) in rows}


@pytest.fixture
def old(with_tables: Settings) -> Settings:
    """A database with rows, made to look as before there were versions."""
    with open_database(with_tables) as database:
        plan()
        populate.populate(Selection("tiny"))
        put_back_to_version_3(database)
        query = database.connection.query
        for table in registry.all_tables():
            name = table().full_table_name
            if "git_commit" in table.definition:
                for column in ("host", "computed_by", "origins"):
                    query(f"ALTER TABLE {name} DROP COLUMN {column}")
        query(f"ALTER TABLE {Experiment().full_table_name} DROP COLUMN priority")
        query(f"ALTER TABLE {Experiment().full_table_name} DROP COLUMN added_by")
        epochs = training.TrainedNetwork.Epoch().full_table_name
        query(f"ALTER TABLE {epochs} DROP COLUMN test_loss")
        for table, column in migrations.array_columns():
            name = table().full_table_name
            query(f"UPDATE {name} SET {column} = {column}::jsonb - 'sha256' - 'size'")
        workers = Worker().full_table_name
        query(f"ALTER TABLE {workers} DROP COLUMN pid_space")
        query(f"ALTER TABLE {workers} ALTER COLUMN worker TYPE char(32)")
        query(f"DROP TABLE {SchemaVersion().full_table_name}")
    return with_tables


def upgrade(settings: Settings, *options: str) -> str:
    done = CliRunner().invoke(app, ["database", "upgrade", *options], env=environment(settings))
    assert done.exit_code == 0, done.output
    return done.output


def test_an_old_database_is_refused_then_brought_up_to_date(old: Settings) -> None:
    with pytest.raises(DatabaseError, match="of version 0, this program needs .*database upgrade"):
        open_database(old)

    assert "nothing was changed" in upgrade(old, "--dry-run")
    with pytest.raises(DatabaseError, match="of version 0"):
        open_database(old)

    said = upgrade(old)
    (backup,) = (old.home / "backups").iterdir()
    assert str(backup) in said.replace("\n", "")
    with open_database(old) as database:
        assert columns(reliability_tables.Reliability, database) == set(
            reliability_tables.Reliability().heading.names
        )
        assert reliability_tables.Reliability.fetch1("host") == ""
        assert "pid_space" in columns(Worker, database)
        assert Worker().heading["worker"].type == "bigint"
        assert results.accuracy()["gap"].isna().all(), "nobody knows the loss of old epochs"
        assert experiments(ALL)["priority"].tolist() == [5]
        for table, column in migrations.array_columns():
            for (stored,) in database.connection.query(
                f"SELECT {column} FROM {table().full_table_name} WHERE {column} IS NOT NULL"
            ):
                assert len(stored["sha256"]) == 64 and stored["size"] > 0
        # What is computed from now on is complete.
        (training.TrainedNetwork & "seed = 0").delete(prompt=False)
        assert populate.populate().computed["TrainedNetwork"] == 1
        assert results.accuracy()["gap"].notna().all()
        assert training.TrainedNetwork.fetch1("host")
    assert "which is the latest here" in upgrade(old)


def test_a_new_database_has_the_latest_version_and_every_column_of_its_definition(
    database: Database,
) -> None:
    catalogue = Catalogue(database.connection, database.settings.schema_name)
    version = migrations.current_version(catalogue)
    assert version == migrations.LATEST
    assert [m.number for m in migrations.MIGRATIONS] == list(range(1, migrations.LATEST + 1))


def test_a_database_of_a_newer_program_is_refused(database: Database, settings: Settings) -> None:
    migrations.stamp(migrations.LATEST + 1, "of the future")
    database.close()
    with pytest.raises(DatabaseError, match="newer than this program.*install a newer neuroteach"):
        open_database(settings)
    again = open_database(settings, any_version=True)
    database.connection = again.connection


def test_tables_that_were_half_declared_are_completed(
    database: Database, settings: Settings
) -> None:
    """As by one who was killed while he made them."""
    last = registry.all_tables()[-1]
    database.connection.query(f"DROP TABLE {last().full_table_name}")
    database.close()
    again = open_database(settings)
    assert last().is_declared
    database.connection = again.connection


def test_an_upgrade_stopped_in_the_middle_goes_on(
    old: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = json.dumps, []

    def stop_after_two(value: Any, *args: Any, **kwargs: Any) -> str:
        if isinstance(value, dict) and "sha256" in value:
            done.append(value)
            if len(done) == 3:
                raise KeyboardInterrupt
        return real(value, *args, **kwargs)

    monkeypatch.setattr(migrations.json, "dumps", stop_after_two)
    command = ["database", "upgrade", "--no-backup"]
    assert CliRunner().invoke(app, command, env=environment(old)).exit_code != 0
    monkeypatch.undo()
    with pytest.raises(DatabaseError, match="of version 1"):
        open_database(old)
    upgrade(old, "--no-backup")
    with open_database(old) as database:
        catalogue = Catalogue(database.connection, old.schema_name)
        assert migrations.current_version(catalogue) == migrations.LATEST
