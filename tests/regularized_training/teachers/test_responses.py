"""Responses to be taught: of several scans, of the stimuli that teach, and shuffled."""

from __future__ import annotations

import pickle
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictive_model.array_file import ArrayFile
from regularized_training.teachers import response_rows
from regularized_training.teachers.responses import (
    ResponseTeacher,
    shuffle_neurons,
    shuffle_responses,
)

N = 40
HELD_OUT = np.array([3, 30, 17])
RNG = np.random.default_rng(0)
STIMULI = RNG.integers(0, 256, (N, 1, 8, 8), np.uint8)
FIRST = (100 + RNG.random((N, 6))).astype(np.float32)
SECOND = RNG.random((N, 5)).astype(np.float16)
BOTH = np.concatenate([FIRST, SECOND], 1, dtype=np.float32)


@pytest.fixture
def teacher(tmp_path: Path) -> ResponseTeacher:
    """Of an array and of a file."""
    np.save(tmp_path / "second.npy", SECOND)
    sources = [FIRST, ArrayFile(tmp_path / "second.npy")]
    return ResponseTeacher("model", STIMULI, sources, held_out=HELD_OUT)


def test_rows_are_those_of_all_scans_side_by_side(teacher: ResponseTeacher) -> None:
    assert (teacher.n_neurons, teacher.n_stimuli, teacher.says) == (11, N, "responses")
    index = [39, 0, 0, 5]
    assert teacher.rows(index).dtype == np.float32
    np.testing.assert_array_equal(teacher.rows(index), BOTH[index])
    np.testing.assert_array_equal(teacher.in_memory().rows(index), BOTH[index])


def test_stimuli_that_are_held_out_do_not_teach(teacher: ResponseTeacher) -> None:
    taught = np.setdiff1d(np.arange(N), HELD_OUT)
    for part, places in ((teacher.teaching, taught), (teacher.withheld, np.sort(HELD_OUT))):
        assert part.n_stimuli == len(places)
        np.testing.assert_array_equal(part.stimuli, STIMULI[places])
        np.testing.assert_array_equal(part.rows(np.arange(len(places))), BOTH[places])
        assert not len(part.held_out)
        assert part.scale == teacher.scale


@pytest.mark.parametrize("at_once", [1, 100, 2**22])
def test_statistics_are_those_of_all_rows(
    teacher: ResponseTeacher, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the mean is large beside the deviation from it."""
    monkeypatch.setattr(response_rows, "AT_ONCE", at_once)
    mean, variance = teacher.teaching.statistics()
    taught = np.delete(BOTH, HELD_OUT, 0).astype(np.float64)
    np.testing.assert_allclose(mean, taught.mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, taught.var(0), rtol=1e-3)


def with_nan(array: np.ndarray, row: int, neuron: int) -> np.ndarray:
    out = array.copy()
    out[row, neuron] = np.nan
    return out


@pytest.mark.parametrize(
    "responses, said",
    [
        (FIRST[:-1], "responses: of 39 stimuli, expected 40"),
        ([FIRST, SECOND[:-1]], r"responses\[1\]: of 39 stimuli"),
        (FIRST[:, :0], "responses: no neurons"),
        ([], "of no scan"),
        (FIRST[:, 0], r"shape \(40,\), expected \(stimulus, neuron\)"),
        (with_nan(FIRST, 7, 2), "responses: nan for stimulus 7, neuron 2"),
        ([FIRST, with_nan(SECOND, 7, 2)], r"responses\[1\]: nan for stimulus 7, neuron 2"),
    ],
)
def test_what_cannot_be_taught_is_refused(responses: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ResponseTeacher("model", STIMULI, responses)


def test_what_is_not_finite_in_a_file_is_refused_when_it_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "damaged.npy", with_nan(SECOND, 7, 2))
    teacher = ResponseTeacher("model", STIMULI, ArrayFile(tmp_path / "damaged.npy"))
    with pytest.raises(ValueError, match="teacher 'model': nan for stimulus 7, neuron 2"):
        teacher.rows([1, 7])
    with pytest.raises(ValueError, match="nan for stimulus 7, neuron 2"):
        teacher.statistics()


def test_held_out_stimuli_have_to_be_among_them() -> None:
    with pytest.raises(ValueError, match="held_out: 40 to 40, expected 0 to 39"):
        ResponseTeacher("model", STIMULI, FIRST, held_out=np.array([40]))


def test_more_than_the_machine_has_is_not_held(
    teacher: ResponseTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = namedtuple("room", "available")
    monkeypatch.setattr(
        "regularized_training.teachers.responses.psutil.virtual_memory", lambda: room(1000)
    )
    with pytest.raises(ValueError, match="40 stimuli and 11 neurons, but 0.0 GiB of memory"):
        teacher.in_memory()


def test_shuffled_responses_are_those_of_other_stimuli(teacher: ResponseTeacher) -> None:
    shuffled = shuffle_responses(teacher, seed=1)
    found = shuffled.rows(np.arange(N))
    np.testing.assert_array_equal(found[HELD_OUT], BOTH[HELD_OUT])
    same = (found[:, None] == BOTH).all(2)
    assert (same.sum(0) == 1).all() and (same.sum(1) == 1).all(), "a permutation of whole rows"
    assert same.diagonal().sum() < len(HELD_OUT) + 8
    np.testing.assert_allclose(shuffled.statistics(), teacher.statistics(), rtol=1e-3)


def test_shuffled_neurons_have_the_same_responses_to_a_stimulus(teacher: ResponseTeacher) -> None:
    found = shuffle_neurons(teacher, seed=1).rows(np.arange(N))
    np.testing.assert_array_equal(found[HELD_OUT], BOTH[HELD_OUT])
    np.testing.assert_array_equal(np.sort(found, 1), np.sort(BOTH, 1))
    taught = np.delete(np.arange(N), HELD_OUT)
    # Neurons of the first scan respond with 100 more: they stand in other places each time.
    strong = found[taught] > 50
    assert len(np.unique(strong, axis=0)) > len(taught) // 2
    np.testing.assert_allclose(strong.mean(0), 6 / 11, atol=0.3)


def test_shuffled_neurons_travel_to_another_process_in_little() -> None:
    """A permutation is not kept in all its rotations, which grow with the square of neurons."""
    stimuli = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), np.uint8)

    def size(n_neurons: int) -> int:
        teacher = ResponseTeacher("brain", stimuli, np.ones((4, n_neurons), np.float32))
        return len(pickle.dumps(shuffle_neurons(teacher)))

    assert size(200) < 3 * size(100)


@pytest.mark.parametrize("shuffle", [shuffle_responses, shuffle_neurons])
def test_a_seed_decides_whatever_is_read_when(teacher: ResponseTeacher, shuffle: Any) -> None:
    whole = shuffle(teacher, seed=2).rows(np.arange(N))
    again = shuffle(teacher, seed=2)
    np.testing.assert_array_equal(again.rows([9, 4]), whole[[9, 4]])
    assert again.digest() == shuffle(teacher, seed=2).digest()
    assert again.digest() not in {shuffle(teacher, seed=3).digest(), teacher.digest()}
    assert not np.array_equal(shuffle(teacher, seed=3).rows(np.arange(N)), whole)


def test_a_digest_tells_responses_apart(teacher: ResponseTeacher) -> None:
    class Unnamed:
        """Rows without a digest of their own."""

        shape = FIRST.shape

        def __init__(self, array: np.ndarray) -> None:
            self.rows = array.__getitem__

    other = FIRST.copy()
    other[N - 1, 5] += 1
    digests = {
        ResponseTeacher("a", STIMULI, source).digest()
        for source in (FIRST, other, Unnamed(FIRST), Unnamed(other))
    }
    assert len(digests) == 4
    assert ResponseTeacher("b", STIMULI, FIRST).digest() in digests
    assert teacher.teaching.digest() != teacher.withheld.digest()
