"""In which order tables are filled: what the most urgent experiments ask for comes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.experiments.selection import Selection
from pipeline.workers import queues
from pipeline.workers.queues import Wanted
from schemas.experiment import Experiment

LOOK = 5.0  # seconds between looks for new work, for more urgent work, and for dead workers


class Rounds:
    """Tables to fill, for the most urgent experiments first."""

    def __init__(self, selection: Selection) -> None:
        self._everything = selection.everything
        self.all_tables = queues.wanted(selection)
        self._looked, self._known, self._changed = 0.0, _priorities(), False
        self._urgent: list[list[Wanted]] | None = None

    def tables(self) -> list[list[Wanted]]:
        """A list of tables with their restrictions for each priority; the last is of all."""
        if self._urgent is None or self.have_changed():
            self._known, self._changed = _priorities(), False
            levels = sorted({row["priority"] for row in self._known})[:-1]
            urgent = levels if self._everything else []
            of_level = [Experiment & f"priority <= {level}" for level in urgent]
            self._urgent = [
                [
                    Wanted(one.table, (type(one.table).planned(asked.proj()),))
                    for one in self.all_tables
                ]
                for asked in of_level
            ]
        return [*self._urgent, self.all_tables]

    def have_changed(self) -> bool:
        """Whether there are other experiments or priorities since; looks now and then."""
        if not self._everything:
            return False
        if time.monotonic() - self._looked > LOOK:
            self._looked, now = time.monotonic(), _priorities()
            self._changed = now != self._known
        return self._changed


def _priorities() -> list[dict[str, Any]]:
    query = Experiment.proj("priority")
    return query.to_dicts(order_by=("experiment", "scale"))


class Turn:
    """One pass over the tables; of all but the most urgent it ends soon after something was done.

    More urgent work may have become ready, as when another worker finished what it builds on.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        keep_going: Callable[[], bool],
        rounds: Rounds,
        *,
        ends: bool,
    ) -> None:
        self._counts, self._keep_going, self._rounds = counts, keep_going, rounds
        self._ends = ends
        self._started, self._before = time.monotonic(), sum(counts.values())

    @property
    def computed(self) -> int:
        """Keys that it has computed."""
        return sum(self._counts.values()) - self._before

    def is_over(self) -> bool:
        """Whether it is time to look at the most urgent again."""
        late = time.monotonic() - self._started > LOOK
        return (self._ends and late and self.computed > 0) or self._rounds.have_changed()

    def goes_on(self) -> bool:
        """Whether another key may be begun."""
        return self._keep_going() and not self.is_over()
