"""A database and an archive of version 3 are brought up to date, and say what they said before."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroteach import results
from pipeline.database import migrations
from pipeline.database.connection import Connection
from pipeline.database.opening import Database, activation_lock, open_database
from pipeline.database.settings import Settings
from pipeline.query.provenance import provenance
from pipeline.query.rows import query
from pipeline.transfer import operations
from pipeline.workers import populate
from schemas import base, encoding, similarity, teacher_plan, teaching, training
from schemas import tables as registry
from schemas.catalogue import Catalogue

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("version3")]

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "version3"
LATER = (
    "imported_network",  # columns of results
    "distorted",
    "statistics",
    "part",
    "validation_accuracy",
    "validation_accuracy_sem",
)
RESULTS = {
    "accuracy": (),
    "noise": (),
    "adversarial": (),
    "superclass_errors": (),
    "activations": (),
    "encoders": (),
    "similarity": (),
    "spectra": (),
    "stability": (),
    "layers": ("tiny", "small"),
    "attack_checks": ("tiny", "small"),
    "differences": ("tiny", "small"),
}


@pytest.fixture(scope="class")
def restored(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """The whole database, from a backup of version 3."""
    settings = new_tables(tmp_path_factory.mktemp("version3"))
    with open_database(settings) as database:
        operations.restore_database(database, FIXTURE / "backup.zip")
        yield database
        database.connection.query(f'DROP SCHEMA "{settings.schema_name}" CASCADE')


def lines(text: str) -> list[list[Any]]:
    """Rows of a CSV in a fixed order, numbers as numbers."""
    return sorted([_value(v) for v in row] for row in csv.reader(io.StringIO(text)))


def _value(text: str) -> Any:
    try:
        return f"{float(text):.9g}"  # what is computed when it is read may differ in the last digit
    except ValueError:
        return text


def expected(name: str) -> list[list[Any]]:
    file = FIXTURE / "expected" / f"results_{name.replace('_', '-')}.csv"
    return lines(file.read_text())


def assert_says_the_same() -> None:
    for name, selected in RESULTS.items():
        found = getattr(results, name)(*selected)
        found = found.drop(columns=list(LATER), errors="ignore")
        if name == "differences":  # of what has been measured since, too
            found = found[~found["measure"].str.startswith("robustness to")]
        assert lines(found.to_csv(index=False)) == expected(name), name


class TestABackupOfVersion3:
    """Its database is open for these alone: there is one at a time in a process."""

    def test_a_backup_of_version_3_says_what_it_said(self, restored: Database) -> None:
        assert_says_the_same()

    def test_nothing_is_computed_again(self, restored: Database) -> None:
        progress = populate.progress()
        assert [(p.table, p.done) for p in progress] == [(p.table, p.total) for p in progress]
        assert sum(p.done for p in progress) > 100

    def test_the_hashes_of_settings_are_those_of_before(self, restored: Database) -> None:
        kinds = ("Encoder", "Fit", "Network", "Training", "Teacher")
        for table in (f"{kind}Config" for kind in kinds):
            column = query(table).columns[0]
            file = FIXTURE / "expected" / f"query_{table}.csv"
            with file.open(newline="") as opened:
                before = {row[column] for row in csv.DictReader(opened)}
            assert set(query(table)[column]) == before

    def test_teachers_are_made_of_what_they_name(self, restored: Database) -> None:
        """What a name stood for is a foreign key, and lineage leads through it."""
        assert {row["rsm"] for row in teaching.Teacher.Matrix.to_dicts()} == {"v1"}
        kinds = (teaching.Teacher.Source * teacher_plan.TeacherConfig).to_arrays("teacher")
        assert set(kinds) == {"neural_model", "shuffle"}
        assert set(teacher_plan.ScanGroup.Source.to_arrays("scan")) == {"lab-a"}
        assert set(encoding.FittedEncoder.Core.to_arrays("scan")) == {"sim-a", "sim-b"}
        plans = (similarity.StabilityPlan * similarity.SimilarityStability).to_dicts()
        planned = {(p["experiment"], p["scale"]) for p in plans}
        assert planned >= {("tiny", "smoke"), ("pair", "smoke")}
        node = provenance("Teacher", ["teacher = shuffle"])
        assert "PredictedResponses" in str(node.to_dict())

    def test_the_database_is_whole(self, restored: Database) -> None:
        report = operations.check_database(restored)
        assert report.problems == []


def test_a_database_of_version_3_is_brought_up_to_date(
    new_tables: Callable[[Path], Settings], tmp_path: Path
) -> None:
    settings = new_tables(tmp_path)
    with open_database(settings) as database:
        operations.restore_database(database, FIXTURE / "backup.zip")
        put_back_to_version_3(database)
    from pipeline.database.connection import DatabaseError

    with pytest.raises(DatabaseError, match="version 3, this program needs 4"):
        open_database(settings)
    with open_database(settings, create=False, any_version=True) as database:
        catalogue = base.schema.catalogue
        assert catalogue is not None
        assert migrations.current_version(catalogue) == 3
        for _ in range(2):  # the second time it finds everything done
            registry.activate_missing(catalogue)
            migrations.upgrade(catalogue, settings.store_root(), 3, lambda line: None)
    with open_database(settings) as database:
        assert_says_the_same()
        assert operations.check_database(database).problems == []
        progress = populate.progress()
        assert [p.done for p in progress] == [p.total for p in progress]
        database.connection.query(f'DROP SCHEMA "{settings.schema_name}" CASCADE')


STEPS = (  # in their order
    r'INSERT INTO \S+\."scan_group"',
    r'INSERT INTO \S+\."scan_group__member"',
    r'INSERT INTO \S+\."__teacher__source"',
    r'DROP TABLE .*"~~similarity_stability"',
    r'RENAME TO "~kept_similarity_stability"',
    r'RENAME TO "~kept_similarity_stability__population"',
    r'CREATE TABLE .*"__similarity_stability__population"',
    r'INSERT INTO \S+\."__similarity_stability__population"',
    r'DROP TABLE .*"~kept_similarity_stability__population"',
    r'DROP TABLE .*"~kept_similarity_stability"',
)


def test_an_upgrade_killed_before_any_step_is_completed_by_the_next(
    new_tables: Callable[[Path], Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_tables(tmp_path)
    with open_database(settings) as database:
        operations.restore_database(database, FIXTURE / "backup.zip")
        # A group that the migration has to make.
        group = (similarity.StabilityPlan & {"experiment": "pair"}).fetch1("scan_group")
        put_back_to_version_3(database)
        for table in ("scan_group__member", "scan_group"):
            database.connection.query(
                f'DELETE FROM "{settings.schema_name}"."{table}" WHERE scan_group = %s', (group,)
            )
    real = Connection.query
    for step in STEPS:

        def query(self: Connection, sql: str, *args: Any, step: str = step, **options: Any) -> Any:
            if re.search(step, sql, re.IGNORECASE):
                raise KeyboardInterrupt
            return real(self, sql, *args, **options)

        monkeypatch.setattr(Connection, "query", query)
        with pytest.raises(KeyboardInterrupt):
            bring_up_to_date(settings)
    monkeypatch.undo()
    bring_up_to_date(settings)
    with open_database(settings) as database:
        assert len(teacher_plan.ScanGroup.Member & {"scan_group": group}) == 2
        assert_says_the_same()
        assert operations.check_database(database).problems == []
        names = Catalogue(database.connection, settings.schema_name).names
        assert not [name for name in names if "kept" in name]
        database.connection.query(f'DROP SCHEMA "{settings.schema_name}" CASCADE')


def test_an_upgrade_that_was_stopped_is_backed_up_and_restored(
    new_tables: Callable[[Path], Settings], tmp_path: Path
) -> None:
    """Tables of this version that say they are of version 3."""
    stopped, empty = new_tables(tmp_path / "stopped"), new_tables(tmp_path / "empty")
    with open_database(stopped) as database:
        operations.restore_database(database, FIXTURE / "backup.zip")
        versions = f'"{stopped.schema_name}".schema_version'
        database.connection.query(f"UPDATE {versions} SET number = 3 WHERE number = 4")
    with open_database(stopped, create=False, any_version=True) as database:
        operations.backup_database(database, tmp_path / "backup.zip")
        database.connection.query(f'DROP SCHEMA "{stopped.schema_name}" CASCADE')
    with open_database(empty) as database:
        operations.restore_database(database, tmp_path / "backup.zip")
        assert_says_the_same()
        database.connection.query(f'DROP SCHEMA "{empty.schema_name}" CASCADE')


def bring_up_to_date(settings: Settings) -> None:
    with open_database(settings, create=False, any_version=True) as database:
        catalogue = base.schema.catalogue
        assert catalogue is not None
        version = migrations.current_version(catalogue) or 0
        with activation_lock(database.connection):
            registry.activate_missing(catalogue)
            migrations.upgrade(catalogue, settings.store_root(), version, lambda line: None)


def put_back_to_version_3(database: Database) -> None:
    """The tables as they were before the migration, with their rows."""
    connection, schema = database.connection, database.settings.schema_name
    stability = similarity.SimilarityStability().full_table_name
    population = similarity.SimilarityStability.Population().full_table_name
    plan = similarity.StabilityPlan().full_table_name
    # Which say that a column of JSON holds an array.
    comments = connection.query(
        "SELECT c.oid::regclass::text, a.attname, d.description FROM pg_description d "
        "JOIN pg_class c ON c.oid = d.objoid "
        "JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid "
        "WHERE c.oid IN (%s::regclass, %s::regclass) AND a.attname != 'scan_group'",
        (stability, population),
    ).fetchall()
    for new in (stability, population):
        connection.query(
            f'CREATE TABLE {new[:-1]}_3" AS SELECT p.experiment, p.scale, s.* FROM {new} s '
            f"JOIN {plan} p USING (scan_group)"
        )
        connection.query(f'ALTER TABLE {new[:-1]}_3" DROP COLUMN scan_group')
    connection.query(f"DROP TABLE {similarity.SimilarityStability().jobs.full_table_name}")
    connection.query(f"DROP TABLE {population}, {stability}")
    for new, key in ((stability, ""), (population, ", population")):
        name = new.rpartition('"."')[2].rstrip('"')
        connection.query(f'ALTER TABLE {new[:-1]}_3" RENAME TO "{name}"')
        connection.query(f"ALTER TABLE {new} ADD PRIMARY KEY (experiment, scale{key})")
    for table, column, comment in comments:
        connection.query(f'COMMENT ON COLUMN {table}."{column}" IS %s', (comment,))
    connection.query(
        f"ALTER TABLE {stability} ADD FOREIGN KEY (experiment, scale) "
        f'REFERENCES "{schema}".experiment (experiment, scale)'
    )
    for table in (
        similarity.StabilityPlan,
        teacher_plan.ScanGroup.Source,
        teaching.Teacher.Source,
        teaching.Teacher.Matrix,
        encoding.FittedEncoder.Core,
    ):
        connection.query(f"DROP TABLE {table().full_table_name}")
    for table in registry.all_tables():
        if issubclass(table, base.dj.Lookup) and "needs" in table.definition:
            connection.query(f"ALTER TABLE {table().full_table_name} DROP COLUMN needs")
    networks = training.TrainedNetwork().full_table_name
    connection.query(f"ALTER TABLE {networks} DROP COLUMN weights_epoch")
    connection.query(f'UPDATE "{schema}".schema_version SET number = 3 WHERE number = 4')


def test_an_experiment_of_version_3_is_imported(
    new_tables: Callable[[Path], Settings], tmp_path: Path
) -> None:
    settings = new_tables(tmp_path)
    with open_database(settings) as database:
        operations.import_archive(database, FIXTURE / "tiny.zip")
        assert not results.noise("tiny", "smoke").empty
        assert len(teaching.Teacher.Matrix()) == 1
        assert len(similarity.StabilityPlan()) == 1
        progress = populate.progress()
        assert [p.done for p in progress] == [p.total for p in progress]
        assert operations.check_database(database).problems == []
        database.connection.query(f'DROP SCHEMA "{settings.schema_name}" CASCADE')
