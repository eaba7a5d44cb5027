"""What is left of a table in which values are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def largest_complete(there: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows and columns without a gap: leaving out rows, columns or some of both loses least.

    Both are tried alone; then, one after the other, the row or column that lacks the largest
    share. The largest of the three is taken, which need not be the largest there is.

    Parameters
    ----------
    there : (row, column) bool

    Returns
    -------
    (row,) bool, (column,) bool

    Examples
    --------
    >>> rows, columns = largest_complete(np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0]], bool))
    >>> rows.tolist(), columns.tolist()
    ([True, True, True], [True, True, False])
    """
    rows, columns = (np.ones(n, bool) for n in there.shape)
    rows_only = (np.asarray(there.all(1)), columns)
    columns_only = (rows, np.asarray(there.all(0)))
    ways: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    ways = [rows_only, columns_only, _one_by_one(~there)]
    return max(ways, key=lambda way: int(way[0].sum()) * int(way[1].sum()))


def _one_by_one(missing: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rows, columns = (np.ones(n, bool) for n in missing.shape)
    in_rows, in_columns = missing.sum(1), missing.sum(0)
    while rows.any() and columns.any():
        row = int(np.argmax(np.where(rows, in_rows, -1)))
        column = int(np.argmax(np.where(columns, in_columns, -1)))
        if in_rows[row] == 0:
            break
        if in_rows[row] * rows.sum() >= in_columns[column] * columns.sum():
            rows[row] = False
            in_columns = in_columns - missing[row]
        else:
            columns[column] = False
            in_rows = in_rows - missing[:, column]
    return rows, columns
