"""Responses that are read by rows, one for each stimulus: of several scans, of some stimuli, mixed.

Whatever has a shape (stimulus, neuron) and reads rows is a source: an array's file
(:class:`~predictive_model.array_file.ArrayFile`), one in an object store, or what is made of such
here. Nothing is copied; what is made is made of the rows that are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictive_model.array_file import row_index
from predictive_model.digest import array_digest, fingerprint

AT_ONCE = 2**22  # values that are read at a time where all are
PERMUTATIONS = 128


class Rows(Protocol):
    """Responses that are read by rows.

    It may have ``digest() -> str`` too, which says what they are without reading all of them.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(stimulus, neuron)."""

    def rows(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of some stimuli, in any order and repeated: (k, neuron) of any floating type."""


class ArrayRows:
    """Rows of an array in memory."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape = array.shape

    def rows(self, index: ArrayLike) -> NDArray[Any]:
        """A copy of some rows."""
        return self._array[row_index(index, len(self._array))]

    def digest(self) -> str:
        """Of all values."""
        return array_digest(self._array)


class ComputedRows:
    """Rows that are computed when they are asked for, and held nowhere.

    Parameters
    ----------
    shape : (stimulus, neuron)
    compute : callable
        Called with the numbers of stimuli, returns their rows.
    """

    def __init__(
        self, shape: tuple[int, int], compute: Callable[[NDArray[np.int64]], NDArray[Any]]
    ) -> None:
        self.shape, self._compute = shape, compute

    def rows(self, index: ArrayLike) -> NDArray[Any]:
        """Rows of some stimuli, computed."""
        return self._compute(row_index(index, self.shape[0]))


class SideBySide:
    """The neurons of several sources, all of the same stimuli, one after the other."""

    def __init__(self, sources: Sequence[Rows]) -> None:
        self._sources = sources
        self._ends = np.cumsum([source.shape[1] for source in sources]).tolist()
        self.shape = (sources[0].shape[0], self._ends[-1])

    def rows(self, index: ArrayLike) -> NDArray[np.float32]:
        """Rows of all sources."""
        places = row_index(index, self.shape[0])
        if len(self._sources) == 1:
            return self._sources[0].rows(places).astype(np.float32, copy=False)
        out = np.empty((len(places), self.shape[1]), np.float32)
        start = 0
        for source, end in zip(self._sources, self._ends, strict=True):
            out[:, start:end] = source.rows(places)
            start = end
        return out

    def digest(self) -> str:
        """Of all sources in order."""
        return fingerprint(side_by_side=[digest_of(source) for source in self._sources])


class ChosenRows:
    """Rows of a source in an order of their own: row i is row ``places[i]`` of the source."""

    def __init__(self, source: Rows, places: NDArray[np.int64]) -> None:
        self._source, self._places = source, row_index(places, source.shape[0])
        self.shape = (len(places), source.shape[1])

    def rows(self, index: ArrayLike) -> NDArray[Any]:
        """Rows in this order."""
        return self._source.rows(self._places[row_index(index, self.shape[0])])

    def digest(self) -> str:
        """Of the source and the places."""
        return fingerprint(source=digest_of(self._source), places=array_digest(self._places))


class ShuffledNeurons:
    """Each stimulus' responses assigned to the wrong neurons, to others for each stimulus.

    What is drawn for a stimulus is one of 128 permutations, and how far it is rotated, so that
    nothing is sorted or drawn when rows are read.

    Parameters
    ----------
    source : Rows
    shuffled : (stimulus,) bool
        Whose responses are shuffled; the others are left as they are.
    seed : int
    """

    def __init__(self, source: Rows, shuffled: NDArray[np.bool_], seed: int) -> None:
        self._source, self._shuffled, self._seed = source, shuffled, seed
        n_stimuli, n_neurons = self.shape = (source.shape[0], source.shape[1])
        rng = np.random.default_rng(seed)
        orders = rng.permuted(np.tile(np.arange(n_neurons), (PERMUTATIONS, 1)), axis=1)
        # Each permutation twice in a row, of which a rotation is a part.
        self._twice = np.concatenate([orders, orders[:, :-1]], axis=1)
        self._which = rng.integers(PERMUTATIONS, size=n_stimuli)
        self._rotation = rng.integers(n_neurons, size=n_stimuli)

    def rows(self, index: ArrayLike) -> NDArray[Any]:
        """Rows whose values have changed places."""
        places = row_index(index, self.shape[0])
        out = self._source.rows(places)
        mixed = self._shuffled[places]
        chosen = places[mixed]
        rotated = self._rotation[chosen][:, None] + np.arange(self.shape[1])
        orders = self._twice[self._which[chosen][:, None], rotated]
        out[mixed] = np.take_along_axis(out[mixed], orders, axis=1)
        return out

    def digest(self) -> str:
        """Of the source, the seed and whose responses are shuffled."""
        return fingerprint(
            source=digest_of(self._source),
            seed=self._seed,
            shuffled=array_digest(self._shuffled),
        )


def as_rows(responses: Any) -> Rows:
    """A source of rows, or an array as one.

    Raises
    ------
    ValueError
        If it has not a row for each stimulus and a column for each neuron.
    """
    source: Rows = responses if hasattr(responses, "rows") else ArrayRows(np.asarray(responses))
    if len(source.shape) != 2:
        raise ValueError(f"responses: shape {source.shape}, expected (stimulus, neuron)")
    return source


def in_parts(source: Rows) -> Iterator[tuple[slice, NDArray[Any]]]:
    """All rows in order, some at a time, each part with its place."""
    n, neurons = source.shape
    size = max(1, AT_ONCE // max(1, neurons))
    for start in range(0, n, size):
        part = slice(start, min(n, start + size))
        yield part, source.rows(np.arange(part.start, part.stop))


def digest_of(source: Rows) -> str:
    """What tells sources with other responses apart; they are read through if need be."""
    digest = getattr(source, "digest", None)
    if digest is not None:
        return str(digest())
    found = hashlib.sha256(f"{source.shape}".encode())
    for _, part in in_parts(source):
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()
