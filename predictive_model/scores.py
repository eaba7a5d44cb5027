"""How well predictions agree with responses, beside what the repeats say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.correlation import correlation
from predictive_model.recording import Recording, Tier
from predictive_model.reliability import oracle_correlation


@dataclass(frozen=True, eq=False)
class EncoderScores:
    """Scores of an encoder on one tier, per neuron.

    Attributes
    ----------
    single_trial : (neuron,)
        Correlation with single trials.
    to_average : (neuron,) or None
        Correlation with the mean over the repeats of each image.
    oracle : (neuron,) or None
        Leave-one-out oracle correlation on the same trials, the reference for ``single_trial``.
    fraction_oracle : float or None
        Slope through the origin of ``single_trial`` on ``oracle`` over neurons, as in Lurz et
        al. 2021. 1 means that the encoder predicts as well as the other repeats do.
    """

    single_trial: NDArray[np.float64]
    to_average: NDArray[np.float64] | None
    oracle: NDArray[np.float64] | None
    fraction_oracle: float | None


def score_predictions(
    recording: Recording, tier: Tier, predicted: NDArray[np.float32]
) -> EncoderScores:
    """Scores of predictions for the trials of a tier.

    Parameters
    ----------
    recording : Recording
    tier : str
    predicted : (trial, neuron)
        In the order of ``recording.trials_of(tier)``.

    Returns
    -------
    EncoderScores
        Without the scores that need repeats where the tier has none.
    """
    rows = recording.trials_of(tier)
    responses = recording.responses[rows]
    if predicted.shape != responses.shape:
        raise ValueError(
            f"predicted: shape {predicted.shape}, expected {responses.shape}, one row for each "
            f"trial of the {tier} tier"
        )
    single = correlation(predicted, responses)
    images = recording.images_of(tier)
    if (recording.repeats[images] < 2).any() or len(images) < 2:
        return EncoderScores(single, None, None, None)
    place = np.searchsorted(images, recording.image_index[rows])
    average = correlation(_mean_by(place, predicted), _mean_by(place, responses))
    oracle = oracle_correlation(recording.repeated_trials(images))
    return EncoderScores(single, average, oracle, fraction_oracle(single, oracle))


def fraction_oracle(score: NDArray[np.float64], oracle: NDArray[np.float64]) -> float | None:
    """Slope of the least-squares line through the origin of ``score`` on ``oracle``.

    None where the oracle predicts nothing, so that there is no fraction to speak of.
    """
    power = float(oracle @ oracle)
    return float(score @ oracle) / power if power > 0 else None


def _mean_by(group: NDArray[np.int64], values: NDArray) -> NDArray[np.float64]:
    total = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(total, group, values)
    return total / np.bincount(group)[:, None]
