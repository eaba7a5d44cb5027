"""Regressions in closed form, for all neurons at once: RidgePath and BrokenLine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

KNOTS = 8
NEGLIGIBLE = 1e-12  # of the largest variance: below, a direction is rounding


class RidgePath:
    """Ridge regressions of the same responses with any penalty, from one decomposition.

    A penalty is relative to the mean squared norm of the features, so that the same one means
    the same for few features and for many.

    Parameters
    ----------
    x : (sample, feature) float64
        Each feature has mean 0.
    y : (sample, neuron) float64
    """

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        n, n_features = x.shape
        power, axes = np.linalg.eigh(x.T @ x if n_features <= n else x @ x.T)
        kept = power > NEGLIGIBLE * power[-1]
        self._power, axes = power[kept], axes[:, kept]
        self._axes = axes if n_features <= n else x.T @ (axes / np.sqrt(self._power))
        self._scores = x @ self._axes
        self._responses = y
        self._covariance = self._scores.T @ (y - y.mean(0))
        self._mean_square = self._power.sum() / n
        self.intercept = y.mean(0)

    def coefficients(self, penalty: float) -> NDArray[np.float64]:
        """(feature, neuron)."""
        return self._axes @ self._weights(penalty)

    def predictions(
        self, x: NDArray[np.float64], penalties: Iterable[float]
    ) -> Iterator[NDArray[np.float64]]:
        """Predictions (sample, neuron) from features (sample, feature), penalty by penalty."""
        scores = x @ self._axes
        return (scores @ self._weights(penalty) + self.intercept for penalty in penalties)

    def left_out(self, penalty: float) -> NDArray[np.float64]:
        """Prediction (sample, neuron) for each sample from a regression on all others.

        In closed form: the residual divided by one minus the sample's leverage, the diagonal of
        the hat matrix.
        """
        leverage = (self._scores**2 / self._shrunk(penalty)).sum(1) + 1 / len(self._scores)
        residual = self._responses - self.intercept - self._scores @ self._weights(penalty)
        # A sample that determines its own prediction leaves nothing to predict it from.
        return self._responses - residual / (1 - leverage).clip(NEGLIGIBLE)[:, None]

    def _weights(self, penalty: float) -> NDArray[np.float64]:
        return self._covariance / self._shrunk(penalty)[:, None]

    def _shrunk(self, penalty: float) -> NDArray[np.float64]:
        return self._power + penalty * self._mean_square


@dataclass(frozen=True, eq=False)
class BrokenLine:
    """A nonlinearity for each neuron: straight between evenly spaced knots, and beyond the last.

    Attributes
    ----------
    first, spacing : (neuron,)
        Where the first knot is, and how far apart knots are.
    values : (knot, neuron)
    """

    first: NDArray[np.float64]
    spacing: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def fit(cls, x: NDArray[np.float64], y: NDArray[np.float64], stiffness: float) -> BrokenLine:
        """Penalised least squares from `x` to `y`, both (sample, neuron), neuron by neuron.

        Linear B-splines with a penalty on the squared second differences (Eilers and Marx 1996).
        Very stiff, it is linear regression.

        Parameters
        ----------
        stiffness : float
            Above 0; relative to the sum of squared errors in units of a sample.
        """
        first = x.min(0)
        spacing = np.ptp(x, axis=0) / (KNOTS - 1)
        spacing = np.where(spacing > 0, spacing, 1.0)  # a constant prediction sits on one knot
        position = (x - first) / spacing
        hats = [(1 - np.abs(position - knot)).clip(0) for knot in range(KNOTS)]
        gram = np.zeros((x.shape[1], KNOTS, KNOTS))
        for a, b in product(range(KNOTS), repeat=2):
            if abs(a - b) <= 1:  # hats farther apart do not overlap
                gram[:, a, b] = (hats[a] * hats[b]).sum(0)
        target = np.stack([(hat * (y - y.mean(0))).sum(0) for hat in hats], axis=1)
        curvature = np.diff(np.eye(KNOTS), 2, axis=0)
        # The ridge holds what data and stiffness leave free: a line through a single point.
        penalty = stiffness * curvature.T @ curvature + 1e-6 * np.eye(KNOTS)
        values = np.linalg.solve(gram + penalty, target[:, :, None])[:, :, 0]
        return cls(first, spacing, values.T + y.mean(0))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Responses (sample, neuron) to linear predictions (sample, neuron); never negative."""
        position = (x - self.first) / self.spacing
        knot = position.astype(np.int64).clip(0, KNOTS - 2)
        low, high = (np.take_along_axis(self.values, knot + step, axis=0) for step in (0, 1))
        return (low + (position - knot) * (high - low)).clip(0)
