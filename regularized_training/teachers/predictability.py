"""How much each neuron counts in the similarity of predicted responses: w_a v_a of Eq. 6."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictive_model.fits.fitted import FittedEncoder, predict_recording
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.config import DEFAULT_PREDICTABILITY, Predictability


def model_weight(
    recording: Recording,
    fitted: FittedEncoder,
    choice: Predictability = DEFAULT_PREDICTABILITY,
) -> NDArray[np.float64]:
    """w_a v_a of Eq. 6 of Li et al. 2019: reliability times predictability of each neuron."""
    return reliability(recording).weight * predictability(recording, fitted, choice)


def predictability(
    recording: Recording,
    fitted: FittedEncoder,
    choice: Predictability = DEFAULT_PREDICTABILITY,
) -> NDArray[np.float64]:
    """v_a of Eq. 6 of Li et al. 2019: correlation of predicted with recorded single trials.

    Of the validation tier, which neither trained the encoder nor is used to judge the similarity.
    It chose the epoch at which the encoder was stopped: one number for all neurons, so that it
    favours none of them.

    The paper does not say whether v_a is to be of predictions from the image alone, as S_model is,
    or may contain what the animal's gaze and behaviour explain; nor whether noise of the trials
    lowers it, which w_a sees to already. A neuron that is predicted worse than by chance gets 0: a
    negative weight would turn its response around. docs/results/simulated-denoising.md compares
    the choices.

    Parameters
    ----------
    recording : Recording
    fitted : FittedEncoder
    choice : {"explainable", "image", "trial"}
        ``image``: predictions from the image alone, pupil and behaviour at their means, and what
        chance explains shrunk away, see :func:`above_chance`. ``explainable``: that over the
        correlation which a perfect prediction from the image would have, see
        :func:`trial_ceiling`; needs repeated images. ``trial``: predictions under each trial's own
        pupil and behaviour, and correlations above 0 as they are, so that neurons which only
        behaviour drives, and half of those that nothing predicts, keep a weight.

    Returns
    -------
    (neuron,) float64, from 0 to 1
    """
    rows = recording.trials_of("validation")
    recorded = recording.responses[rows]
    if choice == "trial":
        predicted = predict_recording(fitted, recording, "validation")
        return np.maximum(correlation(predicted, recorded), 0)
    shown, where = np.unique(recording.image_index[rows], return_inverse=True)
    predicted = fitted.predict(recording.images[shown])[where]
    v = above_chance(correlation(predicted, recorded), len(rows))
    if choice == "image":
        return v
    ceiling = trial_ceiling(recording)
    return np.divide(v, ceiling, out=np.zeros_like(v), where=ceiling > 0).clip(max=1)


def trial_ceiling(recording: Recording) -> NDArray[np.float64]:
    """Correlation of each neuron's expected response to the image with single trials, (neuron,).

    Root of the explainable part of the variance, sigma_a^2 / (sigma_a^2 + eta_a^2) of Eq. 1 of Li
    et al. 2019, from which the noise that is left in means over repeats is taken.
    """
    found = reliability(recording, bias_correct=True)
    total = found.signal**2 + found.noise**2
    return np.sqrt(np.divide(found.signal**2, total, out=np.zeros_like(total), where=total > 0))


def above_chance(r: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Correlations over n trials, shrunk by what chance has in them; 0 where they are negative.

    Chance alone explains 1 / (n - 1) of the variance. r^2 / (r^2 + 1 / (n - 1)) is to r^2 what
    signal over signal and noise is to a Wiener filter: it leaves a correlation that is far above
    chance as it is, and hardly anything of one below.

    Examples
    --------
    >>> above_chance(np.array([-0.5, 0.02, 0.1, 0.5]), 101).round(3)
    array([0.   , 0.001, 0.05 , 0.481])
    """
    explained = r**2
    return np.where(r > 0, r * explained / (explained + 1 / max(n - 1, 1)), 0)
