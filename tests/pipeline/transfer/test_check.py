"""What a check finds, and orphans."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.opening import connect
from pipeline.database.settings import Settings
from pipeline.transfer import check as checking
from pipeline.transfer import operations
from pipeline.transfer.check import BusyError
from schemas import recording
from schemas import reliability as reliability_tables
from tests.pipeline.transfer.content import (
    objects_of,
    old_orphan,
    opened,
)

pytestmark = pytest.mark.database


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
        jobs = reliability_tables.Reliability().jobs
        jobs.refresh()
        database.connection.query(f"UPDATE {jobs.full_table_name} SET status = 'reserved'")
        with pytest.raises(BusyError, match="computations are under way"):
            operations.check_database(database, remove_orphans=True)
    assert (restored.store_root() / old).exists()


def test_what_the_dead_had_reserved_is_not_being_computed(restored: Settings) -> None:
    old_orphan(restored, "_hash", "abcdefghijklmnopqrstuvwxyz")
    with opened(restored) as database:
        jobs = reliability_tables.Reliability().jobs
        jobs.refresh()
        # The session of a process that is gone.
        other = connect(restored)
        session = other.connection_id
        other.close()
        database.connection.query(
            f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = {session}, "
            "reserved_time = CURRENT_TIMESTAMP"
        )
        assert operations.check_database(database, remove_orphans=True).removed == 1
        assert len(jobs.pending) == len(jobs) > 0


def test_an_orphan_that_gets_a_row_during_the_check_stays(
    restored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects are read for hours, and its row was not there when the check began."""
    look = checking._check_objects
    with opened(restored) as database:
        old = old_orphan(restored, "_schema", "scan/scan=ab/responses_x.npy")
        gone = old_orphan(restored, "_schema", "scan/scan=ab/responses_y.npy")
        renewed = old_orphan(restored, "_schema", "scan/scan=ab/responses_z.npy")
        before = objects_of(restored)

        def meanwhile(*arguments: Any) -> None:
            look(*arguments)
            table = recording.Scan().full_table_name
            meta = json.dumps({"path": old, "dtype": "float32", "shape": [0]})
            database.connection.query(
                f"UPDATE {table} SET responses = %s WHERE scan = 'ab'", (meta,)
            )
            os.utime(Path(restored.store_root() / renewed))

        monkeypatch.setattr(checking, "_check_objects", meanwhile)
        report = operations.check_database(database, remove_orphans=True)
    assert (report.removed, report.young) == (1, 1)
    left = {gone.replace(restored.schema_name, "X")}
    assert set(before) - set(objects_of(restored)) == left


def test_a_path_of_two_rows_that_say_different_things_is_a_problem(restored: Settings) -> None:
    with opened(restored) as database:
        table = recording.Scan().full_table_name
        path = recording.Scan & {"scan": "sim"}
        meta = json.dumps(path.fetch1("responses")._meta | {"sha256": "0" * 64})
        database.connection.query(f"UPDATE {table} SET responses = %s WHERE scan = 'ab'", (meta,))
        problems = operations.check_database(database, quick=True).problems
    said = [p.problem for p in problems if p.kind == "checksum"]
    assert len(said) == 1 and "is said to be something else by Scan (scan=" in said[0]


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


def test_nothing_is_removed_after_the_session_with_the_lock_was_lost(
    restored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = old_orphan(restored, "_hash", "abcdefghijklmnopqrstuvwxyz")
    other = connect(restored)
    look = checking._check_objects
    try:
        with opened(restored) as database:

            def meanwhile(*arguments: Any) -> None:
                look(*arguments)
                other.query(f"SELECT pg_terminate_backend({database.connection.connection_id})")

            monkeypatch.setattr(checking, "_check_objects", meanwhile)
            with pytest.raises(BusyError, match="run this again"):
                operations.check_database(database, remove_orphans=True)
            assert (restored.store_root() / old).exists()
            monkeypatch.undo()
            assert operations.check_database(database, remove_orphans=True).removed == 1
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
