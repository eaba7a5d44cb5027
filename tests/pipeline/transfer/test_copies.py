"""Copies, also those that were killed."""

from __future__ import annotations

import itertools
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.settings import Settings
from pipeline.transfer import merge, operations
from pipeline.transfer.rows import RowError
from tests.pipeline.transfer.content import (
    Made,
    content_of,
    drop,
    n_rows,
    objects_of,
    opened,
)

pytestmark = pytest.mark.database


def test_a_copy_to_a_second_server_and_back_is_the_same(
    filled: Settings, new_tables: Made, tmp_path: Path
) -> None:
    from pipeline.database.embedded import EmbeddedPostgres

    there = Settings(
        home=tmp_path / "there",
        database=f"embedded:{tmp_path / 'there' / 'database'}",
        store=tmp_path / "there" / "store",
        schema_name="elsewhere",
        device="cpu",
    )
    back = new_tables(tmp_path / "back")
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


def test_a_table_that_only_the_source_has_stays_there_unless_it_has_rows(
    restored: Settings, new_tables: Made, tmp_path: Path
) -> None:
    """As one of a package that was installed there once."""
    target = new_tables(tmp_path / "target")
    stray = f'"{restored.schema_name}".stray'
    with opened(restored) as database:
        database.connection.query(f"CREATE TABLE {stray} (number int PRIMARY KEY)")
    try:
        operations.copy_database(restored, target)
        with opened(restored) as database:
            database.connection.query(f"INSERT INTO {stray} VALUES (1)")
        with pytest.raises(RowError, match="Stray: the target .* no such table; install the pack"):
            operations.copy_database(restored, target)
    finally:
        drop(target)


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
