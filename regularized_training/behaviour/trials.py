"""Trials of people, and of networks beside them: what was shown, and what was answered."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regularized_training.behaviour.categories import CATEGORIES

NO_ANSWER = "na"
PERSON = re.compile(r"subject-\d+")  # as the published files call people


class TrialsError(ValueError):
    """Trials that do not fit together, or a file that holds none."""


@dataclass(frozen=True, eq=False)
class Trials:
    """All trials of one experiment, in any order.

    Parameters
    ----------
    experiment : str
    observer : (trial,) str
        A person, ``subject-01`` and so on, or else a network by its name.
    session : (trial,) int64
    number : (trial,) int64
        Of the trial in its session.
    condition : (trial,) str
        How the image was manipulated.
    image : (trial,) str
        What was manipulated, by the same name for all who saw it.
    category : (trial,) str
        That the image shows, one of `categories`.
    answer : (trial,) str
        One of `categories`, or ``na`` if none was given in time.
    seconds : (trial,) float64
        To the answer; NaN of networks, and without an answer.
    categories : tuple of str
        Among which observers choose.

    Raises
    ------
    TrialsError
        If the arrays differ in length, a category is unknown, or a trial is there twice.

    Examples
    --------
    >>> trials = Trials.of("demo", [("subject-01", "bw", "a", "cat", "cat"),
    ...                             ("subject-01", "bw", "b", "dog", "cat")])
    >>> trials.correct
    array([ True, False])
    """

    experiment: str
    observer: NDArray[np.str_]
    session: NDArray[np.int64]
    number: NDArray[np.int64]
    condition: NDArray[np.str_]
    image: NDArray[np.str_]
    category: NDArray[np.str_]
    answer: NDArray[np.str_]
    seconds: NDArray[np.float64]
    categories: tuple[str, ...] = CATEGORIES

    def __post_init__(self) -> None:
        for name in ("observer", "condition", "image", "category", "answer"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.str_))
        for name in ("session", "number"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        object.__setattr__(self, "seconds", np.asarray(self.seconds, np.float64))
        object.__setattr__(self, "categories", tuple(self.categories))
        lengths = {name: getattr(self, name).shape for name in _columns()}
        if len(set(lengths.values())) > 1 or self.observer.ndim != 1 or not len(self.observer):
            raise TrialsError(
                f"{self.experiment}: {lengths}, expected as many of each, one or more"
            )
        self._require_known("category", self.category, self.categories)
        self._require_known("answer", self.answer, (*self.categories, NO_ANSWER))
        key = pd.MultiIndex.from_arrays([self.observer, self.session, self.number])
        if key.has_duplicates:
            who, session, number = key[key.duplicated()][0]
            raise TrialsError(
                f"{self.experiment}: {who} has trial {number} of session {session} twice; expected "
                "each once: give the files of one experiment, each once"
            )

    def _require_known(self, what: str, found: NDArray[np.str_], known: tuple[str, ...]) -> None:
        unknown = sorted(set(found.tolist()) - set(known))
        if unknown:
            raise TrialsError(
                f"{self.experiment}: {what} {unknown[0]!r} in {int((found == unknown[0]).sum())} "
                f"trials, expected one of {', '.join(known)}"
            )

    @classmethod
    def of(cls, experiment: str, rows: Iterable[tuple[str, str, str, str, str]]) -> Trials:
        """Trials from (observer, condition, image, category, answer), numbered as they come."""
        observer, condition, image, category, answer = zip(*rows, strict=True)
        n = len(observer)
        return cls(
            experiment,
            observer,  # type: ignore[arg-type]  # made an array by the class
            np.ones(n, np.int64),
            np.arange(1, n + 1),
            condition,  # type: ignore[arg-type]
            image,  # type: ignore[arg-type]
            category,  # type: ignore[arg-type]
            answer,  # type: ignore[arg-type]
            np.full(n, np.nan),
        )

    def __len__(self) -> int:
        return len(self.observer)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the answer is the category; no answer is a wrong one, (trial,)."""
        return self.answer == self.category

    @functools.cached_property
    def observers(self) -> tuple[str, ...]:
        """Who answered, people before networks."""
        found = sorted(set(self.observer.tolist()))
        return tuple(sorted(found, key=lambda name: not is_person(name)))

    @property
    def people(self) -> tuple[str, ...]:
        """Those of them who are people."""
        return tuple(filter(is_person, self.observers))

    @functools.cached_property
    def conditions(self) -> tuple[str, ...]:
        """By the numbers in their names, see :func:`level_of`."""
        return tuple(sorted(set(self.condition.tolist()), key=level_of))

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> Trials:
        """Some of the trials: those where it is true, or those of these places, in this order.

        Raises
        ------
        TrialsError
            If it is none.
        """
        return replace(self, **{name: getattr(self, name)[chosen] for name in _columns()})

    def frame(self) -> pd.DataFrame:
        """A row for each trial."""
        return pd.DataFrame({name: getattr(self, name) for name in _columns()})


def _columns() -> list[str]:
    return [f.name for f in fields(Trials) if f.name not in ("experiment", "categories")]


def is_person(observer: str) -> bool:
    """Whether it is the name of a person, as the published files have them.

    Examples
    --------
    >>> is_person("subject-07"), is_person("googlenet")
    (True, False)
    """
    return PERSON.fullmatch(observer) is not None


def level_of(condition: str) -> tuple[tuple[float, ...], str]:
    """What conditions are sorted by: numbers in their names, of which the last come first.

    Examples
    --------
    >>> sorted(["c100", "c05", "c30"], key=level_of)
    ['c05', 'c30', 'c100']
    >>> sorted(["2-10-10", "16-3-10", "1-10-10", "inf", "0.4"], key=level_of)
    ['0.4', '16-3-10', '1-10-10', '2-10-10', 'inf']
    """
    if condition.lower() == "inf":
        return (math.inf,), condition
    numbers = [float(n) for n in re.findall(r"\d+(?:\.\d+)?", condition)]
    return tuple(reversed(numbers)), condition
