"""Linear regression on several factors, as Safarani et al. 2021 explain robustness by two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Regression:
    """What each factor explains of a measure, the others being held fixed.

    Attributes
    ----------
    slopes : dict of str to float
        Of each factor: change of the measure in units of it.
    standardised : dict of str to float
        The same with measure and factors in units of their standard deviation.
    p : dict of str to float
        Of a two-tailed t-test that the slope is 0.
    r_squared : float
        Explained part of the measure's variance.
    n : int
        Number of observations.
    """

    slopes: dict[str, float]
    standardised: dict[str, float]
    p: dict[str, float]
    r_squared: float
    n: int


def linear_regression(measure: ArrayLike, factors: Mapping[str, ArrayLike]) -> Regression:
    """Least squares of a measure on factors and a constant.

    Parameters
    ----------
    measure : (n,)
    factors : mapping of str to (n,)

    Raises
    ------
    ValueError
        If there are not more observations than coefficients, values are not finite, or a factor is
        constant or a combination of the others.

    Examples
    --------
    >>> accuracy, prediction = [0.1, 0.2, 0.2, 0.3, 0.4], [0.5, 0.1, 0.4, 0.2, 0.3]
    >>> robustness = [1 + 2 * a + 3 * p for a, p in zip(accuracy, prediction)]
    >>> found = linear_regression(robustness, {"accuracy": accuracy, "prediction": prediction})
    >>> round(found.slopes["accuracy"], 6), round(found.slopes["prediction"], 6), found.n
    (2.0, 3.0, 5)
    """
    from scipy.stats import t

    y = np.asarray(measure, np.float64)
    x = np.column_stack([np.asarray(values, np.float64) for values in factors.values()])
    n, k = x.shape
    if n < k + 2:
        raise ValueError(
            f"measure: {n} observations, expected at least {k + 2} for {k} factors and a constant"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("measure, factors: not all finite; leave out what was not measured")
    centred = x - x.mean(0)
    spread = centred.std(0)
    varies = spread > 1e-9 * np.abs(x).max(0)  # else rounding would
    if np.linalg.matrix_rank(centred / np.where(varies, spread, np.inf)) < k:
        raise ValueError(
            f"factors: {', '.join(factors)}, of which one is constant or follows from the others"
        )
    inverse = np.linalg.inv(centred.T @ centred)
    slopes = inverse @ centred.T @ (y - y.mean())
    residual = float(np.square(y - y.mean() - centred @ slopes).sum())
    total = float(np.square(y - y.mean()).sum())
    degrees = n - k - 1
    errors = np.sqrt(np.diag(inverse) * residual / degrees)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * t.sf(np.abs(slopes / errors), degrees)
        standardised = slopes * spread / y.std()
    return Regression(
        slopes=dict(zip(factors, slopes.tolist(), strict=True)),
        standardised=dict(zip(factors, standardised.tolist(), strict=True)),
        p=dict(zip(factors, p.tolist(), strict=True)),
        r_squared=1 - residual / total if total > 0 else float("nan"),
        n=n,
    )
