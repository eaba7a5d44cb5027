"""Arrays larger than memory, in a folder and in S3: written in parts and read by rows."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datajoint.storage import StorageBackend

from pipeline.database.settings import Settings
from predictive_model.array_file import ArrayFile, ArrayParts
from schemas import local_copies, objects, stored
from schemas.objects import StoreError
from schemas.stored import ArrayCodec, StoredArray

PATH = "_schema/neuroteach/scan/scan=sim/responses_AbCdEf12.npy"
WHOLE = np.random.default_rng(0).random((100, 7)).astype(np.float16)


@pytest.fixture
def remote(object_store: str, tmp_path: Path) -> StorageBackend:
    """A store in a bucket."""
    settings = Settings(
        home=tmp_path,
        database="embedded:nowhere",
        store=f"s3://rows-{uuid.uuid4().hex[:8]}/brains",
        store_endpoint=object_store,
        store_access_key="key",
        store_secret_key="secret",
    )
    made = StorageBackend(settings.store_for_datajoint())
    made.fs.mkdir(made.spec["bucket"])
    return made


@pytest.fixture(params=["folder", "s3"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """A store in a folder, and one in a bucket."""
    if request.param == "s3":
        return request.getfixturevalue("remote")
    (tmp_path / "store").mkdir()
    return StorageBackend({"protocol": "file", "location": str(tmp_path / "store")})


def parts(whole: np.ndarray = WHOLE, size: int = 30) -> ArrayParts:
    pieces = (whole[start : start + size] for start in range(0, len(whole), size))
    return ArrayParts(whole.shape, whole.dtype, pieces)


@pytest.fixture
def about(backend: StorageBackend) -> dict[str, Any]:
    """What the row of an array says that was written in parts."""
    said = {"path": PATH, "dtype": "float16", "shape": [100, 7]}
    return said | objects.write_parts(backend, PATH, parts().content())


def read(backend: StorageBackend, about: dict[str, Any]) -> StoredArray:
    return StoredArray(about, backend)


def put(backend: StorageBackend, content: bytes) -> None:
    backend.fs.pipe_file(backend._full_path(PATH), content)


def test_rows_are_those_of_the_array(backend: StorageBackend, about: dict[str, Any]) -> None:
    array = read(backend, about)
    index = np.array([99, 3, 3, 0])
    np.testing.assert_array_equal(array.rows(index), WHOLE[index])
    assert not array.is_loaded
    np.testing.assert_array_equal(array.load(), WHOLE)
    np.testing.assert_array_equal(array.rows(index), WHOLE[index])
    with pytest.raises(IndexError, match="expected 0 to 99"):
        array.rows([100])


@pytest.mark.parametrize(
    "damaged, said",
    [
        (lambda content: content[:-10], "expected 1528"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "another checksum"),
        (lambda content: content.replace(b"(100, 7)", b"(7, 100)"), "another checksum"),
        (lambda content: b"", "not an array"),
    ],
    ids=["truncated", "altered", "other shape", "empty"],
)
def test_a_damaged_array_is_an_error_before_a_row_is_read(
    backend: StorageBackend, about: dict[str, Any], damaged: Any, said: str
) -> None:
    put(backend, damaged(backend.get_buffer(PATH)))
    with pytest.raises(StoreError, match=said) as info:
        read(backend, about).rows([0])
    assert "responses of scan (scan=sim), object _schema/" in str(info.value)
    assert "neuroteach database check" in str(info.value)


def test_a_missing_array_is_an_error(backend: StorageBackend, about: dict[str, Any]) -> None:
    backend.remove(PATH)
    with pytest.raises(StoreError, match="the object is missing"):
        read(backend, about).rows([0])


def test_without_a_checksum_it_has_to_be_the_array_that_the_row_tells_of(
    backend: StorageBackend, about: dict[str, Any]
) -> None:
    old = {name: about[name] for name in ("path", "dtype", "shape")}
    np.testing.assert_array_equal(read(backend, old).rows([5]), WHOLE[[5]])
    with pytest.raises(StoreError, match=r"found float16 \(100, 7\), expected float32 \[100, 7\]"):
        read(backend, old | {"dtype": "float32"}).rows([5])


def test_a_file_is_read_through_once_until_it_changes(
    backend: StorageBackend, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    through = []
    digest = ArrayFile.digest
    monkeypatch.setattr(ArrayFile, "digest", lambda self: through.append(1) or digest(self))
    for _ in range(3):
        read(backend, about).rows([0])
    assert len(through) == 1
    if backend.protocol == "file":
        put(backend, backend.get_buffer(PATH)[:-1] + b"x")
        with pytest.raises(StoreError, match="another checksum"):
            read(backend, about).rows([0])


def test_what_fails_in_the_middle_leaves_nothing(backend: StorageBackend, tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield WHOLE[:50]
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        objects.write_parts(backend, PATH, ArrayParts((100, 7), WHOLE.dtype, failing()).content())
    assert not backend.exists(PATH)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_store_that_is_full_is_an_error(
    backend: StorageBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    if backend.protocol == "file":
        monkeypatch.setattr("predictive_model.files.os.fsync", full)
    else:
        monkeypatch.setattr(backend.fs, "put_file", full)
    with pytest.raises(StoreError, match="the store cannot be written .No space left on device"):
        objects.write_parts(backend, PATH, parts().content())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_remote_array_is_fetched_once_and_again_if_its_copy_is_damaged(
    remote: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"path": PATH, "dtype": "float16", "shape": [100, 7]}
    about |= objects.write_parts(remote, PATH, parts().content())
    fetched = []
    get_file = remote.fs.get_file
    monkeypatch.setattr(remote.fs, "get_file", lambda *a: fetched.append(a) or get_file(*a))
    read(remote, about).rows([0])
    read(remote, about).rows([1])
    assert len(fetched) == 1
    (copy,) = (tmp_path / "copies").iterdir()
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    np.testing.assert_array_equal(read(remote, about).rows([99]), WHOLE[[99]])
    assert len(fetched) == 2


def test_copies_that_were_not_used_for_longest_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_copies, "LIMIT", 25)
    for age, name in ((30, "a"), (20, "b")):
        path = local_copies.local_copy(tmp_path, name, lambda file: file.write_bytes(b"0" * 10))
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime))
    (tmp_path / "c.part").write_bytes(b"0" * 100)  # being written by another process
    local_copies.local_copy(tmp_path, "a", lambda file: file.write_bytes(b""))  # used again
    local_copies.local_copy(tmp_path, "d", lambda file: file.write_bytes(b"0" * 10))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c.part", "d"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_is_the_same_object_without_a_copy_of_it(
    backend: StorageBackend, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    codec, value = ArrayCodec(), np.asarray(WHOLE, order=order)
    monkeypatch.setattr(codec, "_get_backend", lambda *a, **k: backend)
    monkeypatch.setattr(codec, "_build_path", lambda *a, **k: (PATH, ""))
    monkeypatch.setattr(codec, "_codec_config", lambda *a: None)
    for large in (2**26, 100):
        monkeypatch.setattr(stored, "LARGE", large)
        array = codec.decode(codec.encode(value, key={"scan": "sim"}, context={"schema": "s"}))
        np.testing.assert_array_equal(array.load(), WHOLE)


def test_an_array_may_be_given_in_parts() -> None:
    codec = ArrayCodec()
    codec.validate(parts())
    with pytest.raises(Exception, match="requires numpy.ndarray"):
        codec.validate([1, 2])
