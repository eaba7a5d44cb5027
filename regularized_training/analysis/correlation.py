"""How strongly two measures of networks go together, over a pool of networks.

One network is one observation: seeds of one network are averaged before, since they are not
independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST = 4  # observations; with three the interval of Fisher has no end
Interval = Literal["fisher", "bootstrap"]


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of two measures.

    Attributes
    ----------
    r : float
    low, high : float
        Ends of its interval.
    p : float
        Of a two-tailed t-test that it is 0.
    n : int
        Number of networks.
    interval : {"fisher", "bootstrap"}
        How the interval was found.
    """

    r: float
    low: float
    high: float
    p: float
    n: int
    interval: Interval


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    interval: Interval = "fisher",
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Correlation:
    """Pearson's correlation over networks, with an interval and p.

    Parameters
    ----------
    x, y : (n,)
    interval : {"fisher", "bootstrap"}
        By Fisher's transformation: atanh r is normal with variance 1 / (n - 3), if both measures
        are; or percentiles of `n_resamples` draws of networks, with replacement, by `seed`.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        If there are fewer than four networks, or values are not finite or constant.

    Examples
    --------
    >>> found = correlation([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0])
    >>> round(found.r, 6), round(found.p, 4), found.n
    (0.8, 0.1041, 5)
    """
    a, b = _checked(x=x, y=y)
    r = _pearson(a, b)
    if interval == "fisher":
        low, high = _fisher(r, len(a), 0, confidence)
    else:
        from predictive_model.scoring.bootstrap import percentile_intervals

        low, high = percentile_intervals(
            lambda drawn: _pearson(a[drawn], b[drawn]),
            len(a),
            confidence=confidence,
            n_resamples=n_resamples,
            seed=seed,
        )[0]
    return Correlation(r, float(low), float(high), _p(r, len(a) - 2), len(a), interval)


def partial_correlation(
    x: ArrayLike, y: ArrayLike, given: ArrayLike, *, confidence: float = 0.95
) -> Correlation:
    """Partial correlation of x and y given z: what they share beyond what z explains of either.

    r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)), which is the correlation of the
    residuals of x and y after the regression of each on z. Its t-test has n - 3 degrees of freedom,
    and Fisher's interval the variance 1 / (n - 4).

    Parameters
    ----------
    x, y, given : (n,)
    confidence : float

    Raises
    ------
    ValueError
        If there are fewer than five networks, values are not finite or constant, or z decides x or
        y, so that nothing is left of it.

    Examples
    --------
    >>> z = np.arange(8.0)
    >>> shared = np.array([1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0])
    >>> round(partial_correlation(z + shared, shared - z, z).r, 6)
    1.0
    """
    a, b, c = _checked(fewest=FEWEST + 1, x=x, y=y, given=given)
    ab, ac, bc = _pearson(a, b), _pearson(a, c), _pearson(b, c)
    for name, by in (("x", ac), ("y", bc)):
        if 1 - by**2 < 1e-9:
            raise ValueError(f"{name}: a straight line of `given`, so that nothing is left of it")
    r = float(np.clip((ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2)), -1, 1))
    low, high = _fisher(r, len(a), 1, confidence)
    return Correlation(r, low, high, _p(r, len(a) - 3), len(a), "fisher")


def _checked(fewest: int = FEWEST, **measures: ArrayLike) -> list[NDArray[np.float64]]:
    found = {name: np.asarray(values, np.float64) for name, values in measures.items()}
    shapes = {values.shape for values in found.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(f"{', '.join(found)}: shapes {shapes}, expected the same number of values")
    n = len(next(iter(found.values())))
    if n < fewest:
        raise ValueError(f"{', '.join(found)}: {n} networks, expected at least {fewest}")
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: not all finite; leave out what was not measured")
        if np.ptp(values) <= 1e-9 * np.abs(values).max():
            raise ValueError(f"{name}: {values[0]:g} of all networks, expected values that differ")
    return list(found.values())


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """NaN where one does not vary, as in some draws of networks."""
    a, b = a - a.mean(), b - b.mean()
    length = math.sqrt(float(a @ a) * float(b @ b))
    return float(np.clip(a @ b / length, -1, 1)) if length > 1e-300 else math.nan


def _fisher(r: float, n: int, n_given: int, confidence: float) -> tuple[float, float]:
    """Ends of tanh(atanh r -+ z / sqrt(n - 3 - k)), k measures being given."""
    from scipy.stats import norm

    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, expected a number between 0 and 1")
    if abs(r) >= 1:
        return r, r
    reach = float(norm.ppf((1 + confidence) / 2)) / math.sqrt(n - 3 - n_given)
    centre = math.atanh(r)
    return math.tanh(centre - reach), math.tanh(centre + reach)


def _p(r: float, degrees: int) -> float:
    """Of t = r sqrt(df / (1 - r^2))."""
    from scipy.stats import t

    if abs(r) >= 1:
        return 0.0
    return float(2 * t.sf(abs(r) * math.sqrt(degrees / (1 - r**2)), degrees))
