"""Teachers that say how a brain responds to stimuli, not only how alike these are to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray

from predictive_model.digest import array_digest, fingerprint
from predictive_model.recordings.recording import check_images
from regularized_training.teachers.response_rows import (
    ChosenRows,
    Rows,
    ShuffledNeurons,
    SideBySide,
    as_rows,
    digest_of,
    in_parts,
)
from regularized_training.teachers.stimuli import Scale, pixel_scale


@dataclass(frozen=True, eq=False)
class ResponseTeacher:
    """Stimuli and the responses of all neurons to them, as Safarani et al. 2021 teach with.

    Responses are read as they are needed, and may be more than fits into memory.

    Parameters
    ----------
    name : str
    stimuli : (n, channels, height, width) uint8 or float32
    responses : source or sequence of sources
        Of each scan: an array (n, neuron), or what has a ``shape`` and reads ``rows(index)``, as
        :class:`~predictive_model.array_file.ArrayFile` and arrays of the database do. Row i is of
        stimulus i in all of them.
    held_out : (k,) int64
        Which stimuli do not teach.
    scale : (float, float), optional
        Values of the stimuli that are black and white for a network; those of the whole set by
        default, which a part of it keeps.

    Raises
    ------
    ValueError
        If there are no neurons, another number of rows than stimuli, or responses in memory are
        not finite; those in files are looked at as they are read.

    Examples
    --------
    >>> stimuli = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), np.uint8)
    >>> scans = [np.ones((5, 3), np.float16), np.zeros((5, 2), np.float32)]
    >>> teacher = ResponseTeacher("two scans", stimuli, scans, held_out=np.array([4]))
    >>> teacher.n_neurons, teacher.n_stimuli, teacher.teaching.n_stimuli
    (5, 5, 4)
    >>> teacher.rows([3, 3])
    array([[1., 1., 1., 0., 0.],
           [1., 1., 1., 0., 0.]], dtype=float32)
    """

    says: ClassVar[Literal["responses"]] = "responses"

    name: str
    stimuli: NDArray
    responses: Any = field(repr=False)
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scale: Scale | None = None

    def __post_init__(self) -> None:
        check_images(self.stimuli)
        n = len(self.stimuli)
        given = self.responses if isinstance(self.responses, Sequence) else [self.responses]
        sources = [as_rows(one) for one in given]
        for k, source in enumerate(sources):
            which = f"responses[{k}]" if len(sources) > 1 else "responses"
            if source.shape[0] != n:
                raise ValueError(
                    f"{which}: of {source.shape[0]} stimuli, expected {n}; predict responses to "
                    "just the stimuli of the teacher, in their order"
                )
            if not source.shape[1]:
                raise ValueError(f"{which}: no neurons, expected at least one; leave it out")
            if isinstance(given[k], np.ndarray):
                for part, rows in in_parts(source):
                    _require_finite(rows, np.arange(part.start, part.stop), which)
        if not sources:
            raise ValueError("responses: of no scan, expected those of at least one")
        held_out = np.unique(np.asarray(self.held_out, np.int64))
        if len(held_out) and not (held_out[0] >= 0 and held_out[-1] < n):
            raise ValueError(f"held_out: {held_out[0]} to {held_out[-1]}, expected 0 to {n - 1}")
        object.__setattr__(self, "held_out", held_out)
        object.__setattr__(self, "responses", tuple(sources))
        if self.scale is None:
            object.__setattr__(self, "scale", pixel_scale(self.stimuli))

    @cached_property
    def _source(self) -> Rows:
        return SideBySide(self.responses)

    @property
    def n_neurons(self) -> int:
        """Of all scans together."""
        return sum(source.shape[1] for source in self.responses)

    @property
    def n_stimuli(self) -> int:
        """Those that are held out included."""
        return len(self.stimuli)

    def rows(self, index: ArrayLike) -> NDArray[np.float32]:
        """Responses to some stimuli, (len(index), n_neurons), the scans one after the other.

        Raises
        ------
        ValueError
            If one is not finite.
        """
        found = np.asarray(self._source.rows(np.asarray(index)), np.float32)
        _require_finite(found, np.asarray(index), f"responses of teacher {self.name!r}")
        return found

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance over stimuli of each neuron, (n_neurons,) each.

        All responses are read the first time, part by part.

        Raises
        ------
        ValueError
            If a response is not finite.
        """
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n, mean, squares = 0, np.zeros(self.n_neurons), np.zeros(self.n_neurons)
        for part, rows in in_parts(self._source):
            _require_finite(rows, np.arange(part.start, part.stop), f"responses of {self.name!r}")
            # Chan et al. 1979: sums of squares about means, so that no digits cancel.
            own = rows.mean(0, dtype=np.float64)
            about_own = np.square(rows - own.astype(np.float32)).sum(0, dtype=np.float64)
            both = n + len(rows)
            squares += about_own + (own - mean) ** 2 * n * len(rows) / both
            mean += (own - mean) * len(rows) / both
            n = both
        return mean, squares / n

    def digest(self) -> str:
        """Of stimuli, responses, and which are held out."""
        return fingerprint(
            stimuli=array_digest(self.stimuli, self.held_out), responses=digest_of(self._source)
        )

    @property
    def teaching(self) -> ResponseTeacher:
        """The stimuli that teach, alone."""
        return self._of(np.setdiff1d(np.arange(self.n_stimuli), self.held_out))

    @property
    def withheld(self) -> ResponseTeacher:
        """The stimuli that do not teach, alone."""
        return self._of(self.held_out)

    def _of(self, chosen: NDArray[np.int64]) -> ResponseTeacher:
        none = np.zeros(0, np.int64)
        if len(chosen) == self.n_stimuli:
            return replace(self, held_out=none)
        return replace(
            self,
            stimuli=self.stimuli[chosen],
            responses=tuple(ChosenRows(source, chosen) for source in self.responses),
            held_out=none,
        )

    def in_memory(self) -> ResponseTeacher:
        """The same with all responses held in memory, as float32.

        Raises
        ------
        ValueError
            If the machine has no room for them.
        """
        needed, free = 4 * self.n_stimuli * self.n_neurons, psutil.virtual_memory().available
        if needed > free:
            raise ValueError(
                f"responses of teacher {self.name!r}: {needed / 2**30:.1f} GiB for "
                f"{self.n_stimuli} stimuli and {self.n_neurons} neurons, but {free / 2**30:.1f} "
                "GiB of memory are free; read them as they are needed, or take fewer stimuli"
            )
        held = np.empty((self.n_stimuli, self.n_neurons), np.float32)
        for part, rows in in_parts(self._source):
            held[part] = rows
        return replace(self, responses=held)


def shuffle_responses(teacher: ResponseTeacher, seed: int = 0) -> ResponseTeacher:
    """The same responses assigned to the wrong stimuli: what neurons have in common stays.

    Stimuli that are held out keep theirs: a network is judged by the truth.
    """
    order = np.arange(teacher.n_stimuli)
    taught = np.setdiff1d(order, teacher.held_out)
    order[taught] = np.random.default_rng(seed).permutation(taught)
    shuffled = tuple(ChosenRows(source, order) for source in teacher.responses)
    return replace(teacher, name="shuffle", responses=shuffled)


def shuffle_neurons(teacher: ResponseTeacher, seed: int = 0) -> ResponseTeacher:
    """Each stimulus' responses assigned to the wrong neurons: how strong they are together stays.

    Stimuli that are held out keep theirs.
    """
    shuffled = np.ones(teacher.n_stimuli, bool)
    shuffled[teacher.held_out] = False
    source = ShuffledNeurons(teacher._source, shuffled, seed)
    return replace(teacher, name="shuffle_neurons", responses=source)


def _require_finite(responses: NDArray[Any], places: NDArray[Any], which: str) -> None:
    if np.isfinite(responses).all():
        return
    row, neuron = np.argwhere(~np.isfinite(responses))[0]
    raise ValueError(
        f"{which}: {responses[row, neuron]} for stimulus {places[row]}, neuron {neuron}, expected "
        "finite numbers; leave out that neuron, or predict it anew"
    )
