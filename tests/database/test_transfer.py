"""Databases are copied, saved, restored and merged whole, whatever happens on the way."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import datajoint as dj
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

from pipeline import populate, results
from pipeline.database import Database, connect, open_database
from pipeline.settings import ServerAddress, Settings
from pipeline.transfer import merge, operations
from pipeline.transfer.archive import Archive
from pipeline.transfer.check import BusyError
from pipeline.transfer.conflicts import ConflictError
from pipeline.transfer.manifest import ArchiveError
from pipeline.transfer.objects import ObjectStore
from pipeline.transfer.rows import insert_rows, line_of, read_rows, snapshot, tables_of
from schemas import encoding, experiment, recording, search, teaching, training
from schemas.stored import StoreError
from tests.tiny_experiment import environment, few_digits, plan, tiny_recording

pytestmark = pytest.mark.database

Made = Callable[[Path], Settings]


# -- what a database is ------------------------------------------------------------------------


OWN = {"schema_version", "worker"}  # of each database


def rows_by_table(connection: Any, settings: Settings) -> dict[str, list[str]]:
    """Every row as PostgreSQL writes it, its objects named as in a schema called X."""
    schema = settings.schema_name
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    names = {name for (name,) in connection.query(query, (schema,)) if name[0] != "~"}
    return {
        name: sorted(
            row.replace(schema, "X")
            for (row,) in connection.query(f'SELECT t::text FROM "{schema}"."{name}" AS t')
        )
        for name in names - OWN
    }


def objects_of(settings: Settings) -> dict[str, str]:
    """SHA-256 of every object, by its path in a schema called X."""
    root = settings.store_root()
    found = {}
    for path in ObjectStore(root).list_schema(settings.schema_name):
        name = path.replace(settings.schema_name, "X")
        found[name] = hashlib.sha256((root / path).read_bytes()).hexdigest()
    return found


def content_of(settings: Settings) -> tuple[dict[str, list[str]], dict[str, str]]:
    connection = connect(settings)
    try:
        return rows_by_table(connection, settings), objects_of(settings)
    finally:
        connection.close()


def n_rows(settings: Settings) -> int:
    return sum(map(len, content_of(settings)[0].values()))


def drop(settings: Settings) -> None:
    connection = connect(settings)
    try:
        connection.query(f'DROP SCHEMA IF EXISTS "{settings.schema_name}" CASCADE')
    finally:
        connection.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    with open_database(settings) as database:
        yield database


def fill() -> None:
    """A planned experiment, with values that are hard to carry."""
    plan(teachers=("none", "neural_model"))
    recording.Scan.add_without_trials(
        "ab", 3, species="Ж 'q' \\ %s \"d\" \n\t", area="\u2028 視覚 🧠"
    )
    recording.Scan.add_without_trials("Za", 3)
    settings = {"none": None, "deep": [{"ß": [1.5, -0.0, 1e-300, 2**53 + 1, True, "\\u0041"]}]}
    experiment.Experiment.insert1(
        {
            "experiment": "hard",
            "scale": "smoke",
            "title": "",
            "settings": settings,
            "added": "2026-02-28 23:59:59",
        }
    )
    encoding.FitConfig.insert1(
        {
            "fit_hash": "short",
            "batch_size": -(2**31),
            "learning_rate": 5e-324,
            "max_epochs": 2**31 - 1,
            "n_scans": 0,
            "scans": [],
            "config": {"x": 0.1 + 0.2, "y": 1.7976931348623157e308},
        }
    )


@pytest.fixture(scope="module")
def filled(new_settings: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database that no test changes."""
    settings = new_settings(tmp_path_factory.mktemp("filled"))
    with opened(settings):
        fill()
    yield settings
    drop(settings)


@pytest.fixture(scope="module")
def saved(filled: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("saved") / "all.zip"
    with opened(filled) as database:
        operations.backup_database(database, file)
    return file


@pytest.fixture
def empty(settings: Settings) -> Iterator[Settings]:
    """Another home, store and schema."""
    yield settings
    drop(settings)


def restore(settings: Settings, file: Path) -> Any:
    with opened(settings) as database:
        return operations.restore_database(database, file)


def altered(file: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(file.read_bytes())
    change(content)
    new = file.with_name("altered.zip")
    new.write_bytes(content)
    return new


# -- rows --------------------------------------------------------------------------------------


HARD_VALUES: list[dict[str, Any]] = [
    {"number": 2**62, "day": "1999-12-31"},
    {"number": 1, "day": "1999-12-31", "document": {}},
    {
        "number": -(2**63),
        "day": "2026-01-01",
        "f64": 0.1 + 0.2,
        "f32": np.float32(0.1),
        "exact": "-12345678.9001",
        "short": "ab ",
        "long": "Ж\u2028🧠'\"\\%s\x01" * 90,
        "yes": False,
        "moment": "2026-01-01 10:11:12.000001",
        "small": -(2**15),
        "raw": bytes(range(256)),
        "document": {"b": [None, 1, 1.0, 1e22, "\u0001"], "a": {}},
    },
]


def test_values_of_every_type_survive_to_the_bit(settings: Settings) -> None:
    """Also of types that no table here has, and a JSON null beside none."""
    connection = connect(settings)
    names = [f"{settings.schema_name}_{which}" for which in ("one", "two")]
    try:
        for name in names:
            schema = dj.Schema(name, connection=connection)

            @schema
            class Values(dj.Manual):
                definition = """
                    number : int64
                    day    : date
                    ---
                    f64 = null    : float64
                    f32 = null    : float32
                    exact = null  : decimal(12, 4)
                    short = null  : char(8)
                    long = null   : varchar(2000)
                    yes = null    : bool
                    moment = null : datetime(6)
                    small = null  : int16
                    raw = null    : bytes
                    document = null : json
                """

            if name == names[0]:
                for row in HARD_VALUES:
                    Values.insert1(row)
                table = Values().full_table_name
                connection.query(f"UPDATE {table} SET document = 'null' WHERE number = 1")
        (one,), (two,) = (tables_of(connection, name) for name in names)
        with snapshot(connection):
            rows = list(read_rows(connection, one))
        assert insert_rows(connection, two, json.loads(json.dumps(rows))) == len(HARD_VALUES)
        with snapshot(connection):
            assert list(map(line_of, read_rows(connection, two))) == list(map(line_of, rows))
        stored = [
            connection.query(f"SELECT t::text FROM {table.sql} AS t ORDER BY number").fetchall()
            for table in (one, two)
        ]
        assert stored[0] == stored[1]
        assert len({text for (text,) in stored[0]}) == len(HARD_VALUES)
    finally:
        for name in names:
            connection.query(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
        connection.close()


def test_rows_are_in_the_order_of_their_bytes_and_all_of_one_moment(empty: Settings) -> None:
    with opened(empty) as database:
        names = ["b", "B", "a", "ä", "Z", "z_1", "z-1", "視"]
        for name in names:
            search.Search.insert1(
                dict(search=name, title="", sampler_seed=0, settings={}, added="2026-01-01")
            )
        connection = database.connection
        table = next(t for t in tables_of(connection, empty.schema_name) if t.name == "Search")
        with snapshot(connection):
            rows = read_rows(connection, table)
            found = [next(rows)["search"]]
            other = connect(empty)
            other.query(f"DELETE FROM {table.sql}")
            other.close()
            found += [row["search"] for row in rows]
        assert found == sorted(names, key=str.encode)


# -- backup and restore ------------------------------------------------------------------------


def test_a_restored_database_is_the_one_that_was_saved(
    filled: Settings, saved: Path, new_settings: Made, tmp_path: Path
) -> None:
    """In the very schema that was wiped, so that nothing is renamed."""
    mine = new_settings(tmp_path)
    with opened(mine) as database:
        fill()
        file = tmp_path / "all.zip"
        manifest = operations.backup_database(database, file)
    before = content_of(mine)
    drop(mine)
    shutil.rmtree(mine.home / "store")
    result = restore(mine, file)
    try:
        assert content_of(mine) == before
        assert result.rows == manifest.n_rows == sum(map(len, before[0].values()))
        assert result.objects == len(before[1]) == len(manifest.objects)
        assert result.renamed is None
        with opened(mine) as database:
            assert recording.Scan.load({"scan": "sim"}).responses.sum() > 0
            assert operations.check_database(database).problems == []
    finally:
        drop(mine)


def test_in_a_schema_of_another_name_only_the_names_of_objects_differ(
    filled: Settings, saved: Path, empty: Settings
) -> None:
    result = restore(empty, saved)
    assert content_of(empty) == content_of(filled)
    assert result.renamed == (filled.schema_name, empty.schema_name)
    with opened(empty) as database:
        report = operations.check_database(database)
        np.testing.assert_array_equal(
            recording.Scan.load({"scan": "sim"}).responses, tiny_recording().responses
        )
    assert (report.problems, report.young) == ([], 0)
    assert report.objects == len(objects_of(empty))


def test_restoring_again_changes_nothing(saved: Path, empty: Settings) -> None:
    first = restore(empty, saved)
    before = content_of(empty)
    assert first.unrelated == 0
    old_orphan(empty, "_hash", "abcdefghijklmnopqrstuvwxyz")
    again = restore(empty, saved)
    assert (again.rows, again.objects, again.unrelated) == (0, 0, 1)
    assert (again.rows_present, again.objects_present) == (first.rows, first.objects)
    assert content_of(empty)[0] == before[0]


def test_a_database_with_other_rows_is_refused_and_stays_as_it_is(
    saved: Path, empty: Settings
) -> None:
    with opened(empty) as database:
        for name, message in (
            ("mine", r"Scan \(mine\): .* no row was written"),
            ("Za", r"Scan \(scan=Za\): .* other content"),
        ):
            recording.Scan.add_without_trials(name, 5)
            before = content_of(empty)
            with pytest.raises(ConflictError, match=message):
                operations.restore_database(database, saved)
            assert content_of(empty) == before
            (recording.Scan & {"scan": name}).delete_quick()


def test_damaged_and_lost_objects_are_put_back(saved: Path, empty: Settings) -> None:
    restore(empty, saved)
    before = content_of(empty)
    root = Path(empty.store_root())
    lost, short, bad = sorted(root.glob("_schema/*/scan/**/*.npy"))[:3]
    lost.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    assert content_of(empty) != before
    assert restore(empty, saved).objects == 3
    assert content_of(empty) == before


@pytest.fixture(scope="module")
def untouched(new_settings: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An empty database, in which nothing is ever written."""
    settings = new_settings(tmp_path_factory.mktemp("untouched"))
    yield settings
    drop(settings)


@pytest.mark.parametrize("part", [0.2, 0.99])
def test_of_a_file_that_was_cut_short_nothing_is_written(
    saved: Path, untouched: Settings, part: float
) -> None:
    def cut(content: bytearray) -> None:
        del content[int(part * len(content)) :]

    with pytest.raises(ArchiveError, match="cut short"):
        restore(untouched, altered(saved, cut))
    assert (n_rows(untouched), objects_of(untouched)) == (0, {})


@pytest.mark.parametrize("entry", ["rows/Scan.jsonl", "objects/"])
def test_of_a_file_with_one_other_byte_nothing_is_written(
    saved: Path, untouched: Settings, entry: str
) -> None:
    with zipfile.ZipFile(saved) as archive:
        info = next(i for i in archive.infolist() if i.filename.startswith(entry))
        place = info.header_offset + len(info.FileHeader()) + info.compress_size // 2

    def flip(content: bytearray) -> None:
        content[place] ^= 0x10

    with pytest.raises(ArchiveError, match=entry):
        restore(untouched, altered(saved, flip))
    assert (n_rows(untouched), objects_of(untouched)) == (0, {})


def test_tables_of_a_newer_version_are_refused(
    saved: Path, untouched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import migrations

    with opened(untouched) as database:
        monkeypatch.setattr(migrations, "LATEST", migrations.LATEST - 1)
        with pytest.raises(ArchiveError, match="newer than this program"):
            operations.restore_database(database, saved)
        with pytest.raises(ArchiveError, match="newer than this program"):
            operations.import_archive(database, saved)
    assert (n_rows(untouched), objects_of(untouched)) == (0, {})


def test_a_backup_names_nobody_s_password_and_no_folder(saved: Path, filled: Settings) -> None:
    with zipfile.ZipFile(saved) as archive:
        manifest = archive.read("manifest.json").decode()
    assert str(filled.home) not in manifest
    assert "postgresql" not in manifest
    assert json.loads(manifest)["holds"] == {
        "kind": "database",
        "experiment": None,
        "scale": None,
    }


def test_a_backup_that_finds_an_object_missing_names_it_and_leaves_no_file(
    empty: Settings, saved: Path, tmp_path: Path
) -> None:
    restore(empty, saved)
    next(Path(empty.store_root()).glob("_schema/*/image_set/**/train_images_*.npy")).unlink()
    with (
        opened(empty) as database,
        pytest.raises(StoreError, match=r"ImageSet \(image_set=digits\) train_images: .* missing"),
    ):
        operations.backup_database(database, tmp_path / "new.zip")
    assert not list(tmp_path.glob("*new.zip*"))


def test_rows_of_an_earlier_version_get_the_defaults_of_their_new_columns(
    saved: Path, empty: Settings, tmp_path: Path
) -> None:
    new = ("priority", "added_by")
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        manifest = json.loads(old.read("manifest.json"))
        rows = [json.loads(line) for line in old.open("rows/Experiment.jsonl")]
        assert rows[0]["priority"] == 5
        for row in rows:
            for name in new:
                del row[name]
        content = b"".join(map(line_of, rows))
        table = manifest["tables"]["Experiment"]
        table.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name in new:
            del table["columns"][name]
        manifest["schema_version"] = 0
        for name in old.namelist():
            archive.writestr(name, old.read(name))
        for name, changed in (
            ("rows/Experiment.jsonl", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            archive.NameToInfo.pop(name)
            archive.filelist = [i for i in archive.filelist if i.filename != name]
            archive.writestr(name, changed)
    result = restore(empty, tmp_path / "old.zip")
    assert result.rows == sum(map(len, content_of(empty)[0].values()))
    with opened(empty):
        rows = experiment.Experiment.to_dicts()
    assert {(row["priority"], row["added_by"]) for row in rows} == {(5, "")}
    assert restore(empty, tmp_path / "old.zip").rows == 0


# -- copy --------------------------------------------------------------------------------------


def test_a_copy_to_a_second_server_and_back_is_the_same(
    filled: Settings, new_settings: Made, tmp_path: Path
) -> None:
    from pipeline.embedded_postgres import EmbeddedPostgres

    there = Settings(
        home=tmp_path / "there",
        database=f"embedded:{tmp_path / 'there' / 'database'}",
        store=tmp_path / "there" / "store",
        schema_name="elsewhere",
        device="cpu",
    )
    back = new_settings(tmp_path / "back")
    try:
        out = operations.copy_database(filled, there)
        assert content_of(there) == content_of(filled)
        home = operations.copy_database(there, back)
        assert content_of(back) == content_of(filled)
        assert out.rows == home.rows > 0
        assert out.bytes == home.bytes > 0
    finally:
        EmbeddedPostgres(tmp_path / "there" / "database").stop(force=True)
        drop(back)


def test_a_database_is_not_copied_to_itself(filled: Settings, tmp_path: Path) -> None:
    elsewhere = filled.model_copy(update={"store": tmp_path, "home": tmp_path})
    with pytest.raises(ValueError, match="is the database that is to be copied"):
        operations.copy_database(filled, elsewhere)


def test_a_copy_within_the_store_has_objects_of_its_own(filled: Settings, empty: Settings) -> None:
    target = empty.model_copy(update={"store": filled.store})
    operations.copy_database(filled, target)
    assert content_of(target) == content_of(filled)
    with opened(target) as database:
        assert operations.check_database(database).problems == []


def killed_copy(source: Settings, target: Settings, function: str, n: int) -> int:
    """Status of a process that kills itself at its n-th call of a function while it copies."""
    owner, _, name = function.rpartition(".")
    plain, calls = getattr(PLACES[owner], name), itertools.count(1)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*args, **kwargs)

    child = os.fork()
    if child == 0:
        try:
            setattr(PLACES[owner], name, deadly)
            operations.copy_database(source, target)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


PLACES: dict[str, Any] = {"os": os, "merge": merge, "merging": merge._Merging}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    ("function", "n"),
    [
        ("os.replace", 1),  # an object was written and gets no name
        ("os.replace", 9),
        ("merge.insert_rows", 1),  # all objects are there
        ("merge.insert_rows", 20),  # some tables are
        ("merging.read_back", 1),  # all rows are, but for nobody else
    ],
)
def test_a_copy_that_was_killed_left_no_row_and_goes_on(
    filled: Settings, empty: Settings, function: str, n: int
) -> None:
    assert killed_copy(filled, empty, function, n) == -signal.SIGKILL
    # The server notices within moments that its client is gone.
    deadline = time.monotonic() + 10
    while n_rows(empty) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert n_rows(empty) == 0
    left = {p for p in objects_of(empty) if not p.endswith(".part")}
    if function != "os.replace":
        assert left == set(objects_of(filled))  # rows come only when all objects are there
    result = operations.copy_database(filled, empty)
    assert result.objects_present == len(left)
    rows, objects = content_of(empty)
    assert rows == content_of(filled)[0]
    assert {p: d for p, d in objects.items() if not p.endswith(".part")} == objects_of(filled)
    with opened(empty) as database:
        report = operations.check_database(
            database, remove_orphans=True, orphan_age=timedelta(seconds=-60)
        )
    assert report.problems == []
    assert report.removed == len(objects) - len(objects_of(filled))
    assert content_of(empty) == content_of(filled)


# -- check -------------------------------------------------------------------------------------


@pytest.fixture
def restored(saved: Path, empty: Settings) -> Settings:
    restore(empty, saved)
    return empty


def old_orphan(settings: Settings, section: str, name: str) -> str:
    path = f"{section}/{settings.schema_name}/{name}"
    file = Path(settings.store_root() / path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"nobody's")
    os.utime(file, (time.time() - 7200,) * 2)
    return path


def test_a_check_names_row_column_and_path_of_all_that_is_wrong(restored: Settings) -> None:
    root = Path(restored.store_root())

    def stored(column: str) -> Path:
        return next(root.glob(f"_schema/*/scan/scan=sim/{column}_*.npy"))

    stored("responses").unlink()
    stored("tier").write_bytes(stored("tier").read_bytes()[:-3])
    damaged = bytearray(stored("image_index").read_bytes())
    damaged[-1] ^= 1
    stored("image_index").write_bytes(damaged)
    orphans = [
        old_orphan(restored, "_schema", "scan/scan=gone/responses_x.npy"),
        old_orphan(restored, "_hash", "abcdefghijklmnopqrstuvwxyz"),
    ]
    with opened(restored) as database:
        quick = operations.check_database(database, quick=True)
        report = operations.check_database(database)
    found = {(p.kind, p.row, p.column) for p in report.problems}
    row = "Scan (scan=sim)"
    expected = {("missing", row, "responses"), ("size", row, "tier"), ("orphan", "", "")}
    assert found == expected | {("checksum", row, "image_index")}
    assert {(p.kind, p.row, p.column) for p in quick.problems} == expected
    assert sorted(p.path for p in report.problems if p.kind == "orphan") == sorted(orphans)
    for problem in report.problems:
        if problem.row:
            assert f"/scan=sim/{problem.column}_" in problem.path


def test_orphans_are_removed_once_they_are_old(restored: Settings) -> None:
    before = objects_of(restored)
    old = old_orphan(restored, "_schema", "scan/scan=gone/responses_x.npy")
    young = old_orphan(restored, "_schema", "scan/scan=new/responses_y.npy")
    os.utime(Path(restored.store_root() / young))
    kept = Path(restored.store_root() / "_checkpoints" / restored.schema_name / "half.pt")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    os.utime(kept, (0, 0))
    with opened(restored) as database:
        report = operations.check_database(database, remove_orphans=True)
    assert (report.removed, report.young, report.problems) == (1, 1, [])
    assert kept.exists()
    assert set(objects_of(restored)) - set(before) == {young.replace(restored.schema_name, "X")}
    assert not (restored.store_root() / old).exists()


def test_orphans_stay_while_something_is_being_computed(restored: Settings) -> None:
    old = old_orphan(restored, "_hash", "abcdefghijklmnopqrstuvwxyz")
    with opened(restored) as database:
        jobs = recording.Reliability().jobs
        jobs.refresh()
        database.connection.query(f"UPDATE {jobs.full_table_name} SET status = 'reserved'")
        with pytest.raises(BusyError, match="computations are under way"):
            operations.check_database(database, remove_orphans=True)
    assert (restored.store_root() / old).exists()


def test_orphans_stay_if_no_row_names_anything(untouched: Settings) -> None:
    """As in another database than the one whose objects these are."""
    old = old_orphan(untouched, "_hash", "abcdefghijklmnopqrstuvwxyz")
    try:
        with (
            opened(untouched) as database,
            pytest.raises(ValueError, match="is this the right database"),
        ):
            operations.check_database(database, remove_orphans=True)
        assert (untouched.store_root() / old).exists()
    finally:
        (untouched.store_root() / old).unlink()


def test_nobody_removes_orphans_or_brings_rows_while_another_does(
    saved: Path, untouched: Settings
) -> None:
    other = connect(untouched)
    try:
        with opened(untouched) as database:
            with operations.writing_alone(other, untouched.schema_name):
                for act in (
                    lambda: operations.check_database(database, remove_orphans=True),
                    lambda: operations.restore_database(database, saved),
                ):
                    with pytest.raises(BusyError, match="is under way"):
                        act()
                assert operations.check_database(database).problems == []
            operations.check_database(database, remove_orphans=True)
    finally:
        other.close()


def test_older_rows_without_checksums_are_counted_and_checked_as_far_as_can_be(
    restored: Settings,
) -> None:
    file = next(Path(restored.store_root()).glob("_schema/*/scan/scan=sim/responses_*.npy"))
    with opened(restored) as database:
        table = recording.Scan().full_table_name
        database.connection.query(
            f"UPDATE {table} SET responses = responses - 'size' - 'sha256' WHERE scan = 'sim'"
        )
        report = operations.check_database(database)
        assert (report.unchecked, report.problems) == (1, [])
        file.write_bytes(file.read_bytes()[:200])
        report = operations.check_database(database)
    assert [(p.kind, p.column) for p in report.problems] == [("size", "responses")]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command line with settings in the environment."""
    from pipeline.cli import app

    def run(settings: Settings, *arguments: str, **variables: str) -> Any:
        for name, value in (environment(settings) | variables).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, arguments)

    return run


def test_the_command_check_prints_what_is_wrong_and_fails(
    restored: Settings, command: Callable[..., Any]
) -> None:
    whole = command(restored, "database", "check")
    assert (whole.exit_code, whole.stdout) == (0, ""), whole.stderr
    assert "no problems" in whole.stderr
    next(Path(restored.store_root()).glob("_schema/*/scan/scan=sim/pupil_*.npy")).unlink()
    found = command(restored, "database", "check", "--quick", "--format", "json")
    assert found.exit_code == 1, found.stderr
    (problem,) = json.loads(found.stdout)
    assert (problem["kind"], problem["row"], problem["column"]) == (
        "missing",
        "Scan (scan=sim)",
        "pupil",
    )


def test_the_commands_backup_and_restore_say_what_they_did(
    filled: Settings, empty: Settings, command: Callable[..., Any], tmp_path: Path
) -> None:
    file = str(tmp_path / "all.zip")
    done = command(filled, "database", "backup", file)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert f"{n_rows(filled)} rows and {len(objects_of(filled))} objects" in done.stderr
    assert command(filled, "database", "backup", file).exit_code == 1
    done = command(empty, "database", "restore", file)
    assert done.exit_code == 0, done.stderr
    assert f"schema {filled.schema_name} is {empty.schema_name} here" in done.stderr
    assert content_of(empty) == content_of(filled)


def test_the_command_copy_takes_the_password_from_a_file_and_shows_none(
    filled: Settings, empty: Settings, command: Callable[..., Any], tmp_path: Path
) -> None:
    secret = ServerAddress.from_url(empty.database).password
    assert secret is not None
    password = secret.get_secret_value()
    (tmp_path / "password").write_text(f"{password}\n")
    without = empty.database.replace(f":{password}@", "@")
    assert without != empty.database
    done = command(
        filled,
        *("database", "copy", "--to", without, "--to-schema", empty.schema_name),
        *("--to-store", str(empty.store)),
        NEUROTEACH_TARGET_PASSWORD_FILE=str(tmp_path / "password"),
    )
    assert done.exit_code == 0, done.stderr
    assert password not in done.output
    assert content_of(empty) == content_of(filled)
    refused = command(filled, "database", "copy", "--to", without)
    assert refused.exit_code == 2
    assert "--to-store" in refused.output
    nonsense = command(filled, "database", "copy", "--to", "x://y:secret@z", "--to-store", "same")
    assert nonsense.exit_code == 1
    assert "--to: expected" in nonsense.stderr
    assert "secret" not in nonsense.output


# -- experiments -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def laboratory(new_settings: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with two finished experiments, one of which is to be passed on."""
    settings = new_settings(tmp_path_factory.mktemp("laboratory"))
    with opened(settings):
        plan(teachers=("none", "neural_model"))
        plan("other", teachers=("neural_data",), seeds=(7,))
        recording.Scan.add_without_trials("unused", 3)
        result = populate.populate()
        assert result.failures == []
    yield settings
    drop(settings)


@pytest.fixture(scope="module")
def passed_on(laboratory: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("passed-on") / "tiny.zip"
    with opened(laboratory) as database:
        operations.export_experiment(database, "tiny", file)
    return file


def frames() -> dict[str, pd.DataFrame]:
    kinds = ("accuracy", "noise", "encoders", "similarity", "stability", "spectra", "differences")
    return {kind: getattr(results, kind)("tiny", None) for kind in kinds}


def test_another_laboratory_gets_the_same_results(
    laboratory: Settings, passed_on: Path, empty: Settings
) -> None:
    with opened(laboratory):
        expected = frames()
    with opened(empty) as database:
        operations.import_archive(database, passed_on)
        found = frames()
        for kind, frame in expected.items():
            assert len(frame), kind
            assert_frame_equal(found[kind], frame, obj=kind)
        assert operations.check_database(database).problems == []
        # Nothing is left to be computed, so that all is there that anything was made from.
        assert set(populate.populate().computed.values()) == {0}
        assert training.TrainedNetwork.load(training.TrainedNetwork.keys()[0]) is not None


def test_what_the_experiment_was_not_made_from_stays_at_home(
    passed_on: Path, empty: Settings
) -> None:
    with opened(empty) as database:
        operations.import_archive(database, passed_on)
        assert set(experiment.Experiment.to_arrays("experiment")) == {"tiny"}
        assert set(recording.Scan.to_arrays("scan")) == {"sim"}
        assert set(experiment.Seed.to_arrays("seed")) == {0}
        kinds = set(teaching.TeacherConfig.to_arrays("teacher"))
        assert kinds == {"none", "neural_model"}
        assert operations.check_database(database).young == 0


def test_what_is_referred_to_by_name_comes_along(empty: Settings, tmp_path: Path) -> None:
    from pipeline.transfer.selection import rows_of_experiment
    from schemas.teaching import Rsm, TeacherConfig, TeacherPlan

    with opened(empty) as database:
        plan()
        stimuli = np.arange(4 * 64, dtype=np.float32).reshape(4, 1, 8, 8)
        from regularized_training.teachers import SimilarityTeacher
        from regularized_training.teachers import TeacherConfig as Config

        Rsm.add("given", SimilarityTeacher("rsm", stimuli, np.eye(4, dtype=np.float32)), source="x")
        Rsm.add(
            "unused", SimilarityTeacher("rsm", stimuli + 1, np.eye(4, dtype=np.float32)), source="x"
        )
        teacher = TeacherConfig.add(Config(kind="rsm", rsm="given"))
        (group,) = teaching.ScanGroup.to_arrays("scan_group")[:1]
        key = {"experiment": "tiny", "scale": "smoke"}
        TeacherPlan.insert1({**key, "teacher_hash": teacher, "scan_group": group})
        training.Superclasses.insert1({"image_set": "digits", "superclasses": ["a"] * 10})
        recording.Scan.add_without_trials("partner", 3)
        recording.Scan.add_without_trials("stranger", 3)
        fit = dict(batch_size=1, learning_rate=0.1, max_epochs=1, n_scans=2, config={})
        encoding.FitConfig.insert1({"fit_hash": "f" * 16, "scans": ["sim", "partner"], **fit})
        planned = encoding.FitPlan.fetch1("KEY")
        encoding.FitPlan.insert1({**planned, "fit_hash": "f" * 16})
        connection, schema = database.connection, empty.schema_name
        with snapshot(connection):
            wanted = rows_of_experiment(connection, schema, "tiny", "smoke")
            chosen = {
                table.name: [row for row in read_rows(connection, table) if wanted(table, row)]
                for table in tables_of(connection, schema)
            }
    assert [row["rsm"] for row in chosen["Rsm"]] == ["given"]
    assert [row["scan"] for row in chosen["Scan"]] == ["partner", "sim"]
    assert len(chosen["Superclasses"]) == 1
    assert len(chosen["StimulusSet"]) == 2


def test_an_unknown_experiment_is_refused(laboratory: Settings, tmp_path: Path) -> None:
    with opened(laboratory) as database, pytest.raises(LookupError, match="tiny"):
        operations.export_experiment(database, "none", tmp_path / "none.zip")
    assert list(tmp_path.iterdir()) == []


def test_what_both_laboratories_have_is_joined(passed_on: Path, empty: Settings) -> None:
    """They imported the same scan and images, at other times and from other files."""
    with opened(empty) as database:
        recording.Scan.add(tiny_recording(), source="another file")
        training.ImageSet.add(few_digits(), source="another file")
        before = objects_of(empty)
        result = operations.import_archive(database, passed_on)
        assert result.kept == []
        assert recording.Scan.fetch1("source") == "another file"
        assert set(objects_of(empty)) >= set(before)
        assert operations.check_database(database).problems == []
        assert operations.check_database(database).young == 0
        again = operations.import_archive(database, passed_on)
    assert (again.rows, again.objects) == (0, 0)
    assert again.rows_present == result.rows + result.rows_present


def test_a_row_of_other_content_is_refused_or_kept_with_its_parts(
    passed_on: Path, empty: Settings
) -> None:
    with opened(empty) as database:
        operations.import_archive(database, passed_on)
        key = training.TrainedNetwork.keys()[0]
        where = " AND ".join(f"{k} = '{v}'" for k, v in key.items())
        table = training.TrainedNetwork().full_table_name
        epochs = training.TrainedNetwork.Epoch().full_table_name
        database.connection.query(f"UPDATE {table} SET test_accuracy = 0.125 WHERE {where}")
        database.connection.query(f"DELETE FROM {epochs} WHERE {where}")
        plan_key = {"experiment": "tiny", "scale": "smoke"}
        (training.TrainedNetwork & key).fetch1("test_accuracy")
        before = content_of(empty)
        with pytest.raises(ConflictError, match="TrainedNetwork .* has another test_accuracy"):
            operations.import_archive(database, passed_on)
        assert content_of(empty) == before
        result = operations.import_archive(database, passed_on, keep_existing=True)
        assert len(result.kept) == 2  # the network and its epoch
        assert result.rows == 0
        assert (training.TrainedNetwork & key).fetch1("test_accuracy") == 0.125
        assert len(training.TrainedNetwork.Epoch & key) == 0
        assert len(experiment.Experiment & plan_key) == 1
        problems = operations.check_database(database).problems
    assert [(p.kind, p.problem) for p in problems] == [
        ("parts", "has no rows in TrainedNetwork.Epoch")
    ]


def test_another_scan_of_the_same_name_is_refused_whatever_is_asked(
    passed_on: Path, empty: Settings
) -> None:
    """What was computed from it elsewhere would stand beside what it was not computed from."""
    with opened(empty) as database:
        recording.Scan.add_without_trials("sim", 10)
        before = content_of(empty)
        for keep in (False, True):
            with pytest.raises(ConflictError, match=r"Scan \(scan=sim\): has another .* no row"):
                operations.import_archive(database, passed_on, keep_existing=keep)
        assert content_of(empty) == before


def test_an_experiment_is_no_backup(passed_on: Path, untouched: Settings) -> None:
    with pytest.raises(ArchiveError, match="neuroteach import archive"):
        restore(untouched, passed_on)
    assert n_rows(untouched) == 0


# -- object stores -----------------------------------------------------------------------------


@pytest.fixture
def in_bucket(empty: Settings, object_store: str) -> Settings:
    settings = Settings.model_validate(
        {
            **{k: v for k, v in empty if k not in ("store", "schema_name")},
            "schema": empty.schema_name,
            "store": f"s3://bucket-{empty.schema_name.replace('_', '-')}/a/prefix",
            "store_endpoint": object_store,
            "store_access_key": "access",
            "store_secret_key": "secret",
        }
    )
    root = settings.store_root()
    root.fs.mkdir(str(root.path).split("/")[0])
    return settings


def test_a_bucket_and_a_folder_hold_the_same(
    filled: Settings, in_bucket: Settings, new_settings: Made, tmp_path: Path
) -> None:
    operations.copy_database(filled, in_bucket)
    assert content_of(in_bucket) == content_of(filled)
    again = operations.copy_database(filled, in_bucket)
    assert (again.rows, again.objects) == (0, 0)
    root = in_bucket.store_root()
    # Another schema's, whose name begins like this one's.
    root.fs.pipe_file(f"{root.path}/_schema/{in_bucket.schema_name}_2/scan/its.npy", b"x")
    lost, short = sorted(root.fs.find(f"{root.path}/_schema/{in_bucket.schema_name}"))[:2]
    size = root.fs.size(short)
    with opened(in_bucket) as database:
        file = tmp_path / "bucket.zip"
        operations.backup_database(database, file)
        root.fs.rm_file(lost)
        root.fs.pipe_file(short, b"x" * size)
        root.fs.pipe_file(f"{root.path}/_schema/{in_bucket.schema_name}/scan/lost.npy", b"x")
        report = operations.check_database(database, orphan_age=timedelta(seconds=-60))
        assert sorted(p.kind for p in report.problems) == ["checksum", "missing", "orphan"]
        operations.check_database(database, remove_orphans=True, orphan_age=timedelta(seconds=-60))
        assert operations.restore_database(database, file).objects == 2
        assert operations.check_database(database).problems == []
    assert content_of(in_bucket) == content_of(filled)
    back = new_settings(tmp_path / "back")
    try:
        operations.copy_database(in_bucket, back)
        assert content_of(back) == content_of(filled)
    finally:
        drop(back)
    with Archive(file) as archive:
        assert len(archive.manifest.objects) == len(objects_of(filled))
