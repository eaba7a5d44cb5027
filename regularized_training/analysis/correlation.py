"""How closely two measures of the same networks go together, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of two measures.

    Attributes
    ----------
    r : float
    low, high : float
        Interval by Fisher's z: arctanh r is normal, with a standard error of 1 / sqrt(n - 3 - k)
        for k measures that are held fixed (Fisher 1921, 1924). Both are r where r is 1 or -1.
    p : float
        Of a two-tailed t-test, with n - 2 - k degrees of freedom, that r is 0.
    n : int
        Number of networks.
    """

    r: float
    low: float
    high: float
    p: float
    n: int


def correlation(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> Correlation:
    """Pearson's r with an interval by Fisher's z.

    Both suppose that networks are independent of each other. Those of one family are not, so that
    the interval is then too narrow and p too small.

    Parameters
    ----------
    x, y : (n,)
        At least 4 of each, in the same order.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there are fewer, the numbers differ, values are not finite, or one measure is constant.

    Examples
    --------
    >>> found = correlation([1, 2, 3, 4, 5], [1, 3, 2, 5, 4])
    >>> round(found.r, 3), round(found.low, 3), round(found.high, 3), round(found.p, 3), found.n
    (0.8, -0.28, 0.986, 0.104, 5)
    """
    return _correlation(x, y, None, confidence)


def partial_correlation(
    x: ArrayLike, y: ArrayLike, given: ArrayLike, *, confidence: float = 0.95
) -> Correlation:
    """Pearson's r of what a linear regression on other measures leaves of two.

    Parameters
    ----------
    x, y : (n,)
    given : (n,) or (n, k)
        One measure or several that are held fixed; n is at least 4 + k.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        As of :func:`correlation`; or if the measures that are held fixed leave nothing of one.

    Examples
    --------
    >>> accuracy = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    >>> likeness, robustness = [0.2, 0.1, 0.4, 0.3, 0.6, 0.5], [0.0, 0.3, 0.4, 0.3, 0.4, 0.7]
    >>> round(correlation(likeness, robustness).r, 2)
    0.64
    >>> round(partial_correlation(likeness, robustness, accuracy).r, 2)
    -0.32
    """
    return _correlation(x, y, given, confidence)


def _correlation(
    x: ArrayLike, y: ArrayLike, given: ArrayLike | None, confidence: float
) -> Correlation:
    from scipy.stats import norm, t  # half a second, which a command's start need not wait

    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, expected a number between 0 and 1")
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"x, y: shapes {a.shape} and {b.shape}, expected two rows of values")
    n = len(a)
    fixed = np.empty((n, 0)) if given is None else np.asarray(given, np.float64)
    if fixed.ndim == 1:
        fixed = fixed[:, None]
    if fixed.ndim != 2 or len(fixed) != n:
        raise ValueError(f"given: shape {fixed.shape}, expected ({n},) or ({n}, measures)")
    k = fixed.shape[1]
    if n < 4 + k:
        held = f" with {k} held fixed" if k else ""
        raise ValueError(f"x, y: {n} values, expected at least {4 + k}{held}")
    if not all(np.isfinite(values).all() for values in (a, b, fixed)):
        raise ValueError("x, y, given: not all finite; leave out what was not measured")
    a, b = _left("x", a, fixed), _left("y", b, fixed)
    r = float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1, 1))
    degrees = n - 2 - k
    if 1 - abs(r) < 1e-12:  # 1, but for rounding
        sign = math.copysign(1.0, r)
        return Correlation(sign, sign, sign, 0.0, n)
    p = 2 * float(t.sf(abs(r) * math.sqrt(degrees / (1 - r * r)), degrees))
    width = float(norm.ppf((1 + confidence) / 2)) / math.sqrt(n - 3 - k)
    z = math.atanh(r)
    return Correlation(r, math.tanh(z - width), math.tanh(z + width), p, n)


def _left(
    name: str, values: NDArray[np.float64], fixed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the mean and the measures that are held fixed do not explain."""
    centred = values - values.mean()
    if np.abs(centred).max() <= 1e-9 * np.abs(values).max():
        raise ValueError(f"{name}: constant, and goes with nothing")
    if not fixed.shape[1]:
        return centred
    spread = fixed.std(0)
    scaled = (fixed - fixed.mean(0)) / np.where(spread > 0, spread, 1)
    left = centred - scaled @ np.linalg.lstsq(scaled, centred, rcond=None)[0]
    if np.linalg.norm(left) <= 1e-9 * np.linalg.norm(centred):
        raise ValueError(f"{name}: follows from what is held fixed, which leaves nothing of it")
    return left
