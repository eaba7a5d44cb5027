"""Rows of every type, read and written as they are."""

from __future__ import annotations

import json
from typing import Any

import datajoint as dj
import numpy as np
import pytest

from pipeline.database.opening import connect
from pipeline.database.settings import Settings
from pipeline.transfer import operations
from pipeline.transfer.rows import (
    RowError,
    insert_rows,
    line_of,
    read_rows,
    snapshot,
    tables_of,
)
from schemas import search
from schemas import tables as registry
from tests.pipeline.transfer.content import (
    opened,
)

pytestmark = pytest.mark.database


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


def test_a_type_that_is_not_moved_is_named_and_hinders_no_check(empty: Settings) -> None:
    with opened(empty) as database:
        name = f'"{empty.schema_name}".strange'
        database.connection.query(f"CREATE TABLE {name} (number int PRIMARY KEY, who uuid)")
        with snapshot(database.connection):
            tables = {t.name: t for t in tables_of(database.connection, empty.schema_name)}
            strange = tables["Strange"]
            assert list(read_rows(database.connection, strange.restricted(["number"]))) == []
            with pytest.raises(RowError, match=r"Strange\.who: is of type uuid, .* as varchar or"):
                list(read_rows(database.connection, strange))
        assert operations.check_database(database).problems == []


def test_what_runs_now_and_the_version_stay_where_they_are(empty: Settings) -> None:
    with opened(empty) as database:
        names = {t.name for t in tables_of(database.connection, empty.schema_name)}
    everything = {table.__qualname__ for table in registry.all_tables()}
    assert everything - names == {"SchemaVersion", "Worker", "FitProgress", "TrainingProgress"}


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
