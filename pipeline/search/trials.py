"""Trials of a search as rows of the database: what searches of encoders and networks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from pipeline.search.file import AnySearch
from pipeline.search.proposals import Trial
from pipeline.workers.queues import Wanted
from predictive_model.search_space import Choices

S = TypeVar("S", bound=AnySearch)


class Trials(ABC, Generic[S]):
    """Trials of one search.

    Parameters
    ----------
    name : str
        Of the search.
    settings : SearchSettings or NetworkSearchSettings
    """

    own_failures: tuple[str, ...] = ()  # how messages begin of failures that lie in the settings

    def __init__(self, name: str, settings: S) -> None:
        self.name, self.settings = name, settings
        self.wanted = self._wanted()

    @abstractmethod
    def _wanted(self) -> list[Wanted]:
        """Tables that are to be filled, in their order."""

    @abstractmethod
    def check(self) -> Sequence[str]:
        """Scans that are used; an ExperimentError says what the database lacks."""

    @abstractmethod
    def insert(self, number: int, parameters: Mapping[str, Any]) -> None:
        """Plan a trial, within a transaction; a DuplicateError if its number is taken."""

    @abstractmethod
    def found(self) -> list[Trial]:
        """All trials, by number."""

    def has_room(self, trials: Sequence[Trial]) -> bool:
        """Whether one more trial would be computed now, so that it is time to propose it."""
        return True

    def is_own_failure(self, message: str) -> bool:
        """Whether a computation failed by the settings that it was to try."""
        return message.startswith(self.own_failures)


def first_point(settings: AnySearch) -> dict[str, Any]:
    """The point of a space at the first choice, or the low end, of every dimension."""
    return {
        name: dimension.choices[0] if isinstance(dimension, Choices) else dimension.low
        for name, dimension in settings.space.items()
    }
