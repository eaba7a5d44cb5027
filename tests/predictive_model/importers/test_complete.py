"""What is left out of a table with gaps, so that least is lost."""

from __future__ import annotations

import numpy as np
import pytest

from predictive_model.importers.complete import largest_complete


def gaps(*where: tuple[slice | int, slice | int]) -> np.ndarray:
    there = np.ones((20, 8), bool)
    for place in where:
        there[place] = False
    return there


@pytest.mark.parametrize(
    "there, rows, columns",
    [
        (gaps(), 20, 8),
        (gaps((slice(12, 20), 3)), 20, 7),
        (gaps((slice(17, 20), slice(0, 8))), 17, 8),
        (gaps((slice(17, 20), slice(0, 8)), (slice(2, 15), 5)), 17, 7),
        (gaps((4, slice(0, 7)), (slice(0, 20), 2)), 19, 7),
        (gaps((slice(0, 20), slice(0, 8))), 0, 0),
    ],
)
def test_what_is_left_is_complete_and_the_most_there_is(
    there: np.ndarray, rows: int, columns: int
) -> None:
    kept, taken = largest_complete(there)
    assert there[np.ix_(kept, taken)].all()
    assert int(kept.sum()) * int(taken.sum()) == rows * columns
