"""All tables: in the order of computation, without torch, and leaving others' tables alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from datajoint.builtin_codecs.npy import NpyCodec
from datajoint.codecs import get_codec

from pipeline.database.opening import Database
from schemas import base, recording, tables
from tests.tiny_experiment import tiny_recording

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.database
def test_every_table_comes_after_all_that_it_is_computed_from(database: Database) -> None:
    graph = database.connection.dependencies
    graph.load()
    place = {table().full_table_name: i for i, table in enumerate(tables.queued_tables())}
    of_master: dict[str, set[str]] = {}
    for table in tables.all_tables():
        master = table._master if issubclass(table, base.dj.Part) else table
        above = networkx.ancestors(graph, table().full_table_name)
        of_master.setdefault(master().full_table_name, set()).update(above)
    n_orders = 0
    for name, i in place.items():
        for other in of_master[name] & set(place) - {name}:
            assert place[other] < i, (other, name)
            n_orders += 1
    assert n_orders > 20


def test_among_tables_that_build_on_the_same_those_that_take_long_come_last() -> None:
    names = [table.__name__ for table in tables.computed_tables()]
    after_training = names[names.index("TrainedNetwork") + 1 :]
    long = [t.__name__ for t in tables.computed_tables() if t.takes_long]
    assert "AdversarialDistance" in long
    shortest = [name for name in after_training if name not in long]
    assert after_training == shortest + long
    queued = {table.__name__ for table in tables.queued_tables()}
    assert queued - set(names) == {"SearchResult"}


def test_references_are_read_as_datajoint_reads_them() -> None:
    lines = """
        -> TrainedNetwork  # which one
        -> [nullable] Seed.proj(other="seed")
        ->ScanGroup.Member\t
        ---
        number = 3 : int32  # -> Scan is no reference
    """
    assert tables._REFERENCE.findall(lines) == ["TrainedNetwork", "Seed", "ScanGroup.Member"]


def test_tables_are_loaded_without_torch() -> None:
    script = (
        "import sys\n"
        "from schemas import tables\n"
        "tables.load()\n"
        "assert len(tables.all_tables()) > 40\n"
        "assert tables.queued_tables()\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_codecs_of_datajoint_stay_its_own() -> None:
    tables.load()
    assert type(get_codec("npy")) is NpyCodec
    assert get_codec("attach").__class__.__module__.startswith("datajoint.")
    assert get_codec("hash").__class__.__module__.startswith("datajoint.")


@pytest.mark.database
def test_another_schema_in_the_process_keeps_its_codecs(database: Database) -> None:
    dj = base.dj
    name = f"{database.settings.schema_name}_other"
    schema = dj.Schema(name, connection=database.connection)
    try:

        class Picture(dj.Manual):
            definition = """
                picture : int32
                ---
                pixels  : <npy@main>
            """

        pictures: Any = schema(Picture)
        pictures.insert1({"picture": 1, "pixels": np.eye(3)})
        recording.Scan.add(tiny_recording(), source="test")
        assert type(pictures().heading["pixels"].codec) is NpyCodec
        assert np.array_equal(np.asarray(pictures.fetch1("pixels")), np.eye(3))
        (theirs,) = database.connection.query(
            f"SELECT pixels FROM {pictures().full_table_name}"
        ).fetchone()
        (ours,) = database.connection.query(
            f"SELECT responses FROM {recording.Scan().full_table_name}"
        ).fetchone()
        assert "sha256" in ours and "sha256" not in theirs
    finally:
        database.connection.query(f'DROP SCHEMA "{name}" CASCADE')
