"""Pearson correlation, column by column, that never turns into NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def correlation(x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Pearson correlation of each column of ``x`` with the same column of ``y``.

    Parameters
    ----------
    x, y : (sample, neuron)

    Returns
    -------
    (neuron,) float64
        0, not NaN, for a column without any variance.
    """
    x = np.asarray(x, np.float64)
    y = np.asarray(y, np.float64)
    if x.shape != y.shape:
        raise ValueError(f"shapes {x.shape} and {y.shape} differ")
    # Rounding leaves a constant column with a deviation near, but not at, zero.
    floor_x, floor_y = (1e-12 * np.abs(v).max(0, initial=0) * np.sqrt(len(v)) for v in (x, y))
    x = x - x.mean(0)
    y = y - y.mean(0)
    norm_x, norm_y = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
    varies = (norm_x > floor_x) & (norm_y > floor_y)
    return np.divide((x * y).sum(0), norm_x * norm_y, out=np.zeros(x.shape[1]), where=varies)
