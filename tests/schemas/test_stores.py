"""Objects in a folder and in S3: missing, cut short, altered, unwritable, outside of the store."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datajoint.hash_registry import compute_hash
from upath import UPath

from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.workers import populate
from predictive_model import files
from predictive_model.checkpoint import load_checkpoint, save_checkpoint
from schemas import encoding, objects, recording, stored, training
from schemas import reliability as reliability_tables
from schemas import tables as registry
from schemas.objects import StoreError
from tests.tiny_experiment import job_states, plan, tiny_recording, wait_for_checkpoint

pytestmark = pytest.mark.database


@pytest.fixture(params=["folder", "s3"])
def opened(request: pytest.FixtureRequest, with_tables: Settings) -> Iterator[Database]:
    """An open database whose store is a folder, and one whose store is in a bucket."""
    in_bucket = request.param == "s3"
    with open_database(
        request.getfixturevalue("settings_with_bucket") if in_bucket else with_tables
    ) as database:
        yield database


@pytest.fixture
def responses(opened: Database) -> UPath:
    """Object of the responses of a scan."""
    recording.Scan.add(tiny_recording(), source="test")
    return opened.settings.store_root() / recording.Scan.fetch1("responses").path


def load() -> np.ndarray:
    return np.asarray(recording.Scan.load({"scan": "sim"}).responses)


def test_an_array_comes_back_and_its_row_says_what_was_written(responses: UPath) -> None:
    assert np.array_equal(load(), tiny_recording().responses)
    meta = recording.Scan.fetch1("responses")._meta
    content = responses.read_bytes()
    assert meta["size"] == len(content)
    assert objects.damage(content, meta) == ""


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda content: None, "the object is missing"),
        (lambda content: content[:-10], r"the object has \d+ bytes, expected \d+"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "another checksum"),
        (lambda content: b"", "the object has 0 bytes"),
    ],
    ids=["missing", "truncated", "altered", "empty"],
)
def test_a_damaged_array_is_an_error_that_names_row_and_object(
    responses: UPath, damage: Any, said: str
) -> None:
    content = damage(responses.read_bytes())
    responses.unlink()
    if content is not None:
        responses.write_bytes(content)
    with pytest.raises(StoreError, match=said) as info:
        load()
    message = str(info.value)
    assert "responses of scan (scan=sim), object _schema/" in message
    assert responses.name in message
    assert "neuroteach database check" in message


def test_damaged_weights_name_the_row(opened: Database) -> None:
    plan()
    populate.populate()
    (stored_at,) = opened.connection.query(
        f"SELECT weights FROM {training.TrainedNetwork().full_table_name}"
    ).fetchone()
    weights = opened.settings.store_root() / stored_at["path"]
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    key = training.TrainedNetwork.fetch1("KEY")
    with pytest.raises(StoreError, match="weights of __trained_network .image_set=digits.*_hash/"):
        training.TrainedNetwork.load(key)
    weights.write_bytes(content)
    assert training.TrainedNetwork.load(key) is not None


def test_a_computation_on_a_damaged_object_fails_and_is_mended(
    opened: Database, responses: UPath
) -> None:
    plan()
    content = responses.read_bytes()
    responses.unlink()
    result = populate.populate()
    assert any("responses of scan (scan=sim)" in failure.message for failure in result.failures)
    assert len(encoding.FittedEncoder()) == len(reliability_tables.Reliability()) == 0
    responses.write_bytes(content)
    populate.retry_failures()
    assert populate.populate().failures == []
    assert len(encoding.FittedEncoder()) == 1


def test_a_fit_killed_in_the_middle_goes_on_from_its_checkpoint_in_a_bucket(
    settings_with_bucket: Settings, start_worker: Any, tmp_path: Path
) -> None:
    from tests.tiny_experiment import Worker

    n = 30
    with open_database(settings_with_bucket) as database:
        plan(fit={"max_epochs": n, "patience": n})
        worker = Worker(settings_with_bucket, tmp_path / "log", "worker")
        wait_for_checkpoint(settings_with_bucket, "FittedEncoder", worker)
        worker.end()
        assert job_states(encoding.FittedEncoder) == ["reserved"]
        # Nothing of it is on this machine.
        assert not list(settings_with_bucket.home.rglob("*.pt"))
        (checkpoint,) = settings_with_bucket.checkpoints.glob("FittedEncoder_*.pt")
        import torch

        saved = torch.load(io.BytesIO(checkpoint.read_bytes()), weights_only=True)["state"]
        assert populate.populate().failures == []
        history = encoding.FittedEncoder.fetch1("history")
        assert 1 <= len(saved["history"]) < n == len(history)
        assert history[: len(saved["history"])] == saved["history"]
        assert list(settings_with_bucket.checkpoints.glob("*")) == []
        database.connection.query(f'DROP SCHEMA "{settings_with_bucket.schema_name}" CASCADE')


# -- a store that cannot be written ------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_where_the_store_cannot_be_written_there_is_an_error_and_no_row(
    database: Database, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(StoreError, match=f"the store cannot be written .{os.strerror(number)}"):
        recording.Scan.add(tiny_recording(), source="test")
    monkeypatch.undo()
    assert (len(recording.Scan()), len(recording.StimulusSet())) == (0, 0)
    left = [path for path in database.settings.store.rglob("*") if path.is_file()]
    assert left == [], "no half written file"
    assert recording.Scan.add(tiny_recording(), source="test")


def test_a_computation_whose_row_cannot_be_stored_is_failed_and_can_be_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()
    real = stored.write_object

    def full(backend: Any, path: str, content: Any) -> None:
        raise StoreError(f"{objects.describe(path)}: the store cannot be written (No space left)")

    monkeypatch.setattr(stored, "write_object", full)
    result = populate.populate()
    assert {failure.table for failure in result.failures} >= {"Reliability", "FittedEncoder"}
    assert all("No space left" in failure.message for failure in result.failures)
    monkeypatch.setattr(stored, "write_object", real)
    assert sum(len(table()) for table in registry.computed_tables()) == len(
        [
            t
            for t in registry.computed_tables()
            if t.__name__ in result.computed and result.computed[t.__name__]
        ]
    )
    populate.retry_failures()
    assert populate.populate().failures == []


def write_same(barrier: Any, path: Path, content: bytes) -> None:
    barrier.wait()
    for _ in range(50):
        files.write_whole(path, content)


def test_many_writers_of_the_same_object_leave_it_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    content = bytes(range(256)) * 1000
    barrier = context.Barrier(4)
    writers = [
        context.Process(target=write_same, args=(barrier, tmp_path / "object", content))
        for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert (tmp_path / "object").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["object"]


# -- what is not ours ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "_schema/../../x", "", "a\\b"])
def test_a_path_that_climbs_out_of_the_store_is_refused(database: Database, path: str) -> None:
    recording.Scan.add(tiny_recording(), source="test")
    meta = json.dumps(recording.Scan.fetch1("responses")._meta | {"path": path})
    name = recording.Scan().full_table_name
    database.connection.query(f"UPDATE {name} SET responses = %s", (meta,))
    with pytest.raises(StoreError, match="not a path within the store"):
        load()


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/b", "..", "a\\b", "'; DROP TABLE x"])
def test_a_name_that_would_climb_out_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        tiny_recording.__wrapped__(name)


def test_an_attached_file_whose_name_leads_elsewhere_is_not_written(
    database: Database, tmp_path: Path
) -> None:
    """DataJoint appends the name that is in the object to the folder it downloads to."""
    plan()
    populate.populate()
    query, table = database.connection.query, training.TrainedNetwork().full_table_name
    (meta,) = query(f"SELECT weights FROM {table}").fetchone()
    for name in ("../evil", f"{tmp_path}/evil", "a/../../evil", "..", "a\\evil", "C:evil", ""):
        content = f"{name}\0evil".encode()
        (database.settings.store_root() / meta["path"]).write_bytes(content)
        meta |= {"size": len(content), "hash": compute_hash(content)}
        query(f"UPDATE {table} SET weights = %s", (json.dumps(meta),))
        with pytest.raises(StoreError, match="not the name of an attached file"):
            training.TrainedNetwork.load(training.TrainedNetwork.fetch1("KEY"))
        downloads = tmp_path / "a" / "b"
        with (
            database.connection._config.override(download_path=str(downloads)),
            pytest.raises(StoreError, match="not the name of an attached file"),
        ):
            training.TrainedNetwork.fetch1("weights")
    assert not list(tmp_path.rglob("*evil"))


class Trap:
    def __reduce__(self) -> Any:
        return os.system, ("touch sprung",)


@pytest.mark.parametrize("where", ["array", "weights", "checkpoint"])
def test_a_pickle_in_place_of_an_object_is_not_opened(
    database: Database, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import hashlib
    import pickle

    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    npy, plain = buffer.getvalue(), pickle.dumps(Trap())
    query, root = database.connection.query, database.settings.store_root()
    if where == "array":
        recording.Scan.add(tiny_recording(), source="test")
        meta = recording.Scan.fetch1("responses")._meta
        (root / meta["path"]).write_bytes(npy)
        meta |= {"size": len(npy), "sha256": hashlib.sha256(npy).hexdigest()}
        query(f"UPDATE {recording.Scan().full_table_name} SET responses = %s", (json.dumps(meta),))
        with pytest.raises(StoreError, match="not an array"):
            load()
    elif where == "weights":
        plan()
        populate.populate()
        table = training.TrainedNetwork().full_table_name
        content = b"network.safetensors\0" + plain
        (meta,) = query(f"SELECT weights FROM {table}").fetchone()
        (root / meta["path"]).write_bytes(content)
        meta |= {"size": len(content), "hash": compute_hash(content)}
        query(f"UPDATE {table} SET weights = %s", (json.dumps(meta),))
        with pytest.raises(Exception, match="(?i)header|safetensor"):
            training.TrainedNetwork.load(training.TrainedNetwork.fetch1("KEY"))
    else:
        (tmp_path / "fit.pt").write_bytes(plain)
        with pytest.raises(RuntimeError, match="cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / "fit.pt", belongs_to="me")
        save_checkpoint(tmp_path / "fit.pt", {"epoch": 1}, belongs_to="me")
    assert not (tmp_path / "sprung").exists()
