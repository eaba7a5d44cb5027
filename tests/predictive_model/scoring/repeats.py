"""Simulated neurons whose signal and noise are known, shown images several times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EQUAL = np.full(600, 4)
UNEQUAL = np.tile([2, 3, 5, 8], 150)


@dataclass(frozen=True, eq=False)
class Population:
    """(image, repeat, neuron) trials of neurons alike, and the variances they were drawn with."""

    trials: NDArray[np.float64]
    signal: NDArray[np.float64]
    signal_variance: float
    noise_variance: float
    repeats: NDArray[np.int64]

    @property
    def fev(self) -> float:
        return self.signal_variance / (self.signal_variance + self.noise_variance)

    @property
    def reliability(self) -> float:
        """Of the mean over repeats: SP / (SP + noise E_i(1 / n_i))."""
        left = self.noise_variance * (1 / self.repeats).mean()
        return self.signal_variance / (self.signal_variance + left)


def simulate(
    kind: str, fev: float, repeats: NDArray[np.int64], n_neurons: int = 150, seed: int = 0
) -> Population:
    """Gaussian neurons, or Poisson neurons of gamma-distributed rates, of a given FEV."""
    rng = np.random.default_rng(seed)
    shape = (len(repeats), int(repeats.max()), n_neurons)
    if kind == "gaussian":
        signal_variance, noise_variance = 1.0, (1 - fev) / fev
        signal = 5 + rng.standard_normal((shape[0], n_neurons))
        trials = signal[:, None] + np.sqrt(noise_variance) * rng.standard_normal(shape)
    else:
        scale = fev / (1 - fev)  # variance over mean of the rates
        signal_variance, noise_variance = 4 * scale**2, 4 * scale
        signal = rng.gamma(4.0, scale, (shape[0], n_neurons))
        trials = rng.poisson(np.broadcast_to(signal[:, None], shape)).astype(float)
    trials[np.arange(shape[1]) >= repeats[:, None]] = np.nan
    return Population(trials, signal, signal_variance, noise_variance, repeats)


def assert_mean_is(found: NDArray[np.float64], expected: float, bias: float = 2 / 600) -> None:
    """The mean over neurons alike is within 4 standard errors of its expectation.

    ``bias`` is what a ratio of estimates is off by in expectation, of order 1 / images.
    """
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - expected) < 4 * error + bias, (found.mean(), expected, error)
