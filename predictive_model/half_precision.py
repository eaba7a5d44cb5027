"""Whether predicted responses may be kept in half precision: what rounding does to them.

A number keeps 11 bits: its error is at most 2**-11 of it, and 2**-25 where it is below 6e-5. That
is far below the noise of a trial. What is done with predicted responses is more delicate: a
response counts by its deviation from the neuron's mean, which may be small beside it, and
similarities of responses (Eq. 6 of Li et al. 2019) are averages over neurons, in which errors
cancel the better the more neurons there are. So both are looked at, over all responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rounding alters the similarity of two stimuli by less than this. With the relative error e of the
# population's deviations it does so by 10 e / sqrt(neurons) at most over all pairs of 400 stimuli,
# as was found for two published encoders; more pairs and unequal weights are allowed for.
LARGEST_CHANGE = 1e-4
CHANGE_OF_ERROR = 12.0
LARGEST_ERROR = 0.01  # of a neuron, root mean square, in units of its standard deviation
# A neuron whose responses vary by less, in units of their mean, does not vary: it is arithmetic.
SMALLEST_VARIATION = 1e-5
FEWEST_NEURONS = 500  # with fewer, LARGEST_CHANGE is never kept: e is 2e-4 or more


class HalfPrecisionError(ValueError):
    """Responses that half precision would harm."""


class RoundingError:
    """What rounding to half precision does to responses, part by part.

    Examples
    --------
    >>> responses = np.random.default_rng(0).random((64, 2000), np.float32)
    >>> rounding = RoundingError(2000)
    >>> rounding.rounded(responses).dtype
    dtype('float16')
    >>> rounding.check()
    >>> beside_a_large_mean = RoundingError(2000)
    >>> rounded = beside_a_large_mean.rounded(responses + 1000)
    >>> beside_a_large_mean.check()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    predictive_model.half_precision.HalfPrecisionError: half precision would change ...
    """

    def __init__(self, n_neurons: int) -> None:
        self._n = 0
        self._mean, self._squares, self._errors = (np.zeros(n_neurons) for _ in range(3))

    def rounded(self, responses: NDArray[np.float32]) -> NDArray[np.float16]:
        """The next part, (stimulus, neuron).

        Raises
        ------
        HalfPrecisionError
            If a response is too large to be kept.
        """
        with np.errstate(over="ignore"):
            half = responses.astype(np.float16)
        if not np.isfinite(half).all():
            raise HalfPrecisionError(
                f"half precision would lose responses up to {np.abs(responses).max():g}, above "
                f"{np.finfo(np.float16).max:g}"
            )
        mean = responses.mean(0, dtype=np.float64)
        self._errors += np.square(half - responses).sum(0, dtype=np.float64)
        # Chan et al. 1979: sums of squares about means, so that no digits cancel.
        both = self._n + len(responses)
        self._squares += np.square(responses - mean.astype(np.float32)).sum(0, dtype=np.float64)
        self._squares += (mean - self._mean) ** 2 * self._n * len(responses) / both
        self._mean += (mean - self._mean) * len(responses) / both
        self._n = both
        return half

    def check(self) -> None:
        """Refuse half precision for all parts so far.

        Raises
        ------
        HalfPrecisionError
            If it would alter similarities, or a neuron's responses, by too much.
        """
        varies = self._squares > (SMALLEST_VARIATION * self._mean) ** 2 * self._n
        if not varies.any():
            return
        squares, errors = self._squares[varies], self._errors[varies]
        change = CHANGE_OF_ERROR * np.sqrt(errors.sum() / squares.sum() / len(squares))
        error = np.sqrt((errors / squares).max())
        if change >= LARGEST_CHANGE or error >= LARGEST_ERROR:
            raise HalfPrecisionError(
                f"half precision would change similarities by up to {change:.1e} and a neuron's "
                f"responses by {error:.1e} of their standard deviation, expected less than "
                f"{LARGEST_CHANGE:.0e} and {LARGEST_ERROR:g}"
            )


def in_half_precision(
    parts: Iterable[NDArray[Any]], n_neurons: int
) -> Iterator[NDArray[np.float16]]:
    """Parts of responses (stimulus, neuron) in half precision.

    Raises
    ------
    HalfPrecisionError
        After the last part, or as soon as it is plain, if they would be harmed.
    """
    rounding = RoundingError(n_neurons)
    look = 256  # stimuli; then twice as many
    for part in parts:
        yield rounding.rounded(part)
        if rounding._n >= look:
            rounding.check()
            look *= 2
    rounding.check()
