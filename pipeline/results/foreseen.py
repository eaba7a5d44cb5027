"""What an experiment will have measured of each network, said by its settings, before it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Foreseen:
    """Rows that a frame by seed will have of each network.

    Attributes
    ----------
    rows : callable
        Called with an evaluation's name and one of its settings: some columns of each row.
    level : str, optional
        The column that hypotheses choose levels of.
    over : tuple of str
        Further columns over which a mean of a network is usual; rows that differ in others are not
        averaged.
    read : callable, optional
        The frame that has them, by default the result's by seed.
    evaluations : tuple of str
        Those that are read, by default that of the result.
    beside_others : bool
        Whether a network is measured by others of its experiment, which have to be there too.
    """

    rows: Callable[[str, Any], Iterable[Mapping[str, Any]]]
    level: str | None = None
    over: tuple[str, ...] = ()
    read: Callable[..., pd.DataFrame] | None = None
    evaluations: tuple[str, ...] = ()
    beside_others: bool = False


def each_level(column: str, levels: Iterable[float], **others: Any) -> Sequence[Mapping[str, Any]]:
    """A row for each level, alike in all other columns."""
    return [{**others, column: level} for level in levels]
