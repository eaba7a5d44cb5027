"""How reliable each neuron is: signal, noise and what one repeat says of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.recording import Recording
from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.moments import ImageStatistics, Moments


@dataclass(frozen=True, eq=False)
class Reliability:
    """Per-neuron reliability over the repeated images of a scan.

    Attributes
    ----------
    signal : (neuron,)
        sigma_a of Eq. 1 of Li et al. 2019, in the units of the responses.
    noise : (neuron,)
        eta_a of Eq. 1.
    weight : (neuron,)
        w_a = sigma_a / eta_a; 0 for a neuron that never varied.
    oracle : (neuron,)
        Leave-one-out oracle correlation.
    n_images, n_trials : int
        What it was estimated from.
    """

    signal: NDArray[np.float64]
    noise: NDArray[np.float64]
    weight: NDArray[np.float64]
    oracle: NDArray[np.float64]
    n_images: int
    n_trials: int


def reliability(recording: Recording, *, bias_correct: bool = False) -> Reliability:
    """Eq. 1 of Li et al. 2019 and the oracle correlation, over all repeated images.

    See :func:`signal_and_noise` for ``bias_correct``.

    Raises
    ------
    RecordingError
        If fewer than two images were repeated.
    """
    trials = recording.grouped_trials()
    signal, noise = signal_and_noise(trials, bias_correct=bias_correct)
    return Reliability(
        signal=signal,
        noise=noise,
        weight=signal_to_noise(signal, noise),
        oracle=oracle_correlation(trials),
        n_images=trials.n_images,
        n_trials=len(trials.values),
    )


def checked_trials(trials: NDArray | Repeats) -> Repeats:
    """Trials from which repeats can be compared.

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
        NaN where an image has fewer repeats.

    Raises
    ------
    ValueError
        If there are fewer than two images, an image has fewer than two repeats, or a repeat is
        missing for some neurons only.
    """
    trials = Repeats.of(trials)
    few = int((trials.counts < 2).sum())
    if few:
        raise ValueError(f"trials: {few} images have fewer than two repeats; leave them out")
    if trials.n_images < 2:
        raise ValueError(f"trials: {trials.n_images} images, expected at least 2 to compare")
    return trials


def moments_of_repeats(trials: NDArray | Repeats) -> Moments:
    """Moments, (1, neuron), of trials from which repeats can be compared."""
    return ImageStatistics.of(checked_trials(trials)).moments()


def signal_and_noise(
    trials: NDArray | Repeats, *, bias_correct: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eq. 1 of Li et al. 2019: sigma_a^2 = Var_i(E_t r_ait) and eta_a^2 = E_i(Var_t r_ait).

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
        NaN where an image has fewer repeats.
    bias_correct : bool
        Subtract from sigma_a^2 the noise that is left in a mean over repeats, E_i(eta_ai^2 / n_i).
        The paper does not; with ten repeats its sigma_a^2 is too large by a tenth of eta_a^2.

    Returns
    -------
    signal, noise : (neuron,) float64
        sigma_a and eta_a.
    """
    found = moments_of_repeats(trials)
    signal = np.maximum(found.signal_power, 0) if bias_correct else found.image_variance
    return np.sqrt(signal[0]), np.sqrt(found.noise_of_images[0])


def signal_to_noise(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eq. 1 of Li et al. 2019: w_a = sigma_a / eta_a, and 0 for a neuron without any noise.

    A neuron without noise over many repeats is a silent or broken one.
    """
    return np.divide(signal, noise, out=np.zeros_like(signal), where=noise > 0)


def oracle_correlation(trials: NDArray | Repeats) -> NDArray[np.float64]:
    """Leave-one-out oracle: correlation of each trial with the mean of the image's other trials.

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
        NaN where an image has fewer repeats; every image needs two.

    Returns
    -------
    (neuron,) float64
        Pearson correlation over all trials; 0 for a constant neuron.
    """
    return moments_of_repeats(trials).oracle[0]
