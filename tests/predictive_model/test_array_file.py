"""Arrays in files are what NumPy writes and reads, without ever being in memory whole."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictive_model import array_file
from predictive_model.array_file import ArrayFile, ArrayFileError, ArrayParts


def saved(folder: Path, array: np.ndarray) -> ArrayFile:
    np.save(folder / "array.npy", array)
    return ArrayFile(folder / "array.npy")


@pytest.fixture
def responses() -> np.ndarray:
    return np.random.default_rng(0).random((1000, 37)).astype(np.float16)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "|u1", "<i8"])
@pytest.mark.parametrize("sizes", [(10,), (3, 3, 4), (9, 0, 1)])
def test_parts_make_the_file_that_numpy_writes(dtype: str, sizes: tuple[int, ...]) -> None:
    whole = np.arange(10 * 4 * 3).reshape(10, 4, 3).astype(dtype)
    parts = ArrayParts(whole.shape, whole.dtype, np.split(whole, np.cumsum(sizes)[:-1]))
    expected = io.BytesIO()
    np.save(expected, whole)
    assert b"".join(parts.content()) == expected.getvalue()


@pytest.mark.parametrize(
    "parts, said",
    [
        ([np.zeros((2, 3))], "2 rows, expected 4"),
        ([np.zeros((2, 3))] * 3, "more than 4 rows, expected 4"),
        ([np.zeros((2, 2))] * 2, r"rows 0 and on are float64 \(2,\), expected float64 \(3,\)"),
        ([np.zeros((2, 3)), np.zeros((2, 3), "f4")], "rows 2 and on are float32"),
    ],
)
def test_parts_that_do_not_make_the_array_are_refused(parts: list[np.ndarray], said: str) -> None:
    with pytest.raises(ArrayFileError, match=said):
        list(ArrayParts((4, 3), np.dtype(float), parts).content())


@pytest.mark.parametrize(
    "index",
    [[], [999], [5, 5, 5], [999, 0, 500, 0], np.arange(1000)[::-1], np.arange(0, 1000, 2)],
    ids=["none", "last", "repeated", "unsorted", "all backwards", "every other"],
)
@pytest.mark.parametrize("gap, at_once", [(2**14, 2**22), (0, 1), (80, 500)])
def test_rows_are_those_of_the_array(
    responses: np.ndarray,
    index: Any,
    gap: int,
    at_once: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(array_file, "GAP", gap)
    monkeypatch.setattr(array_file, "AT_ONCE", at_once)
    found = saved(tmp_path, responses).rows(index)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, responses[np.asarray(index, int)])


def test_close_rows_are_read_together_and_never_too_many(
    responses: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(tmp_path, responses)
    asked: list[int] = []
    real = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        asked.append(len(buffers[0]))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    file.rows(np.random.default_rng(0).permutation(1000)[:128])
    assert len(asked) == 1, "rows of 74 bytes lie close together"
    asked.clear()
    monkeypatch.setattr(array_file, "AT_ONCE", 7400)
    file.rows(np.arange(1000))
    assert asked == [7400] * 10


@pytest.mark.parametrize(
    "index, said",
    [
        ([1000], "rows 1000 to 1000, expected 0 to 999"),
        ([-1], "rows -1 to -1, expected 0 to 999"),
        ([True, False], "bool of shape"),
        ([0.5], "float64"),
        ([[1]], r"shape \(1, 1\)"),
    ],
)
def test_what_is_no_row_is_refused(
    responses: np.ndarray, index: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(IndexError, match=said):
        saved(tmp_path, responses).rows(index)


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda content: content[:-1], "74127 bytes, expected 74128"),
        (lambda content: content + b"0", "74129 bytes, expected 74128"),
        (lambda content: b"", "not an array"),
        (lambda content: b"PK" + content, "not an array"),
    ],
)
def test_a_file_that_is_no_array_is_refused(
    responses: np.ndarray, damage: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, responses).path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArrayFileError, match=said):
        ArrayFile(path)


def test_an_array_by_columns_and_one_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArrayFileError, match="stored by columns, expected by rows"):
        saved(tmp_path, np.asfortranarray(np.ones((3, 4))))
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(ArrayFileError, match="expected numbers"):
        ArrayFile(tmp_path / "objects.npy")


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error(
    responses: np.ndarray, tmp_path: Path
) -> None:
    file = saved(tmp_path, responses)
    with file.path.open("rb+") as opened:
        opened.truncate(1000)
    with pytest.raises(ArrayFileError, match="was cut short"):
        file.rows([999])


def test_another_process_opens_it_anew(responses: np.ndarray, tmp_path: Path) -> None:
    file = saved(tmp_path, responses)
    again = pickle.loads(pickle.dumps(file))
    np.testing.assert_array_equal(again.rows([3]), responses[[3]])
