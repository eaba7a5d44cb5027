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
    x = x - x.mean(0)
    y = y - y.mean(0)
    norm = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    # Rounding leaves a constant column with a variance near, but not at, zero.
    varies = norm > 1e-12 * max(1.0, float(norm.max(initial=0.0)))
    return np.divide((x * y).sum(0), norm, out=np.zeros(x.shape[1]), where=varies)
