"""How well predictions agree with responses, beside what the repeats say could be reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.recording import Recording, Tier
from predictive_model.scoring.ceilings import (
    N_SPLITS,
    Ceilings,
    ceilings,
    signal_power,
    total_and_noise_variance,
)
from predictive_model.scoring.correlation import correlation

# Below this fraction of explainable variance FEVE divides by next to nothing; as in Cadena et al.
FEV_THRESHOLD = 0.15


@dataclass(frozen=True, eq=False)
class EncoderScores:
    """Scores of an encoder on one tier, per neuron, beside their ceilings.

    All but ``single_trial`` need repeats, and are None where the tier has none.

    Attributes
    ----------
    single_trial : (neuron,)
        Correlation with single trials. Where a recording holds means over repeats as its trials,
        that is the correlation with those means.
    to_average : (neuron,) or None
        Correlation with the mean over the repeats of each image.
    feve : (neuron,) or None
        Fraction of explainable variance explained; NaN where less than ``FEV_THRESHOLD`` of the
        variance can be explained.
    cc_norm : (neuron,) or None
        ``to_average`` over its ceiling; NaN where no signal was found.
    fraction_oracle_slope : float or None
        Slope through the origin of ``single_trial`` on the oracle over neurons. 1 means that the
        encoder predicts as well as the other repeats do.
    fraction_oracle_ratio : (neuron,) or None
        ``single_trial`` over the oracle; NaN where that is not positive.
    ceilings : Ceilings or None
        ``ceilings.oracle`` and ``ceilings.single_trial`` for ``single_trial``,
        ``ceilings.cc_max`` and ``ceilings.split_half`` for ``to_average``.
    """

    single_trial: NDArray[np.float64]
    to_average: NDArray[np.float64] | None = None
    feve: NDArray[np.float64] | None = None
    cc_norm: NDArray[np.float64] | None = None
    fraction_oracle_slope: float | None = None
    fraction_oracle_ratio: NDArray[np.float64] | None = None
    ceilings: Ceilings | None = None

    @property
    def oracle(self) -> NDArray[np.float64] | None:
        """(neuron,) leave-one-out oracle correlation on the same trials."""
        return None if self.ceilings is None else self.ceilings.oracle


def score_predictions(
    recording: Recording,
    tier: Tier,
    predicted: NDArray,
    *,
    n_splits: int = N_SPLITS,
    seed: int = 0,
) -> EncoderScores:
    """Scores of predictions for the trials of a tier.

    Parameters
    ----------
    recording : Recording
    tier : str
    predicted : (trial, neuron)
        In the order of ``recording.trials_of(tier)``.
    n_splits, seed : int
        Of the split-half ceiling.

    Returns
    -------
    EncoderScores
        Without the scores that need repeats where the tier has none.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates = rng.gamma(2.0, 2.0, (60, 5))
    >>> shown = np.r_[np.arange(60), np.repeat(np.arange(30), 9)]
    >>> recording = Recording(
    ...     name="toy",
    ...     images=rng.integers(0, 256, (60, 1, 8, 8)).astype(np.uint8),
    ...     image_index=shown,
    ...     responses=rng.poisson(rates[shown]),
    ... )
    >>> scores = score_predictions(recording, "test", rates[shown[recording.trials_of("test")]])
    >>> bool((scores.single_trial > scores.oracle).all())  # the truth predicts better than repeats
    True
    """
    trials, by_image = arranged(recording, tier, predicted)
    return score_trials(trials, by_image, n_splits=n_splits, seed=seed)


def arranged(
    recording: Recording, tier: Tier, predicted: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Responses and predictions of a tier, as :func:`score_trials` wants them.

    Parameters
    ----------
    recording : Recording
    tier : str
    predicted : (trial, neuron)
        In the order of ``recording.trials_of(tier)``.

    Returns
    -------
    trials, predicted : (image, repeat, neuron)
        NaN where an image has fewer repeats than another.
    """
    rows = recording.trials_of(tier)
    responses = recording.responses[rows]
    if predicted.shape != responses.shape:
        raise ValueError(
            f"predicted: shape {predicted.shape}, expected {responses.shape}, one row for each "
            f"trial of the {tier} tier"
        )
    if not np.isfinite(predicted).all():
        bad = np.flatnonzero(~np.isfinite(predicted).all(1))
        raise ValueError(
            f"predicted: {len(bad)} trials hold values that are not finite, the first is trial "
            f"{bad[0]}; a fit that diverged predicts such values"
        )
    _, place, n = np.unique(recording.image_index[rows], return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    repeat = np.arange(len(order)) - np.repeat(np.cumsum(n) - n, n)
    out = np.full((2, len(n), n.max(initial=0), recording.n_neurons), np.nan)
    out[0, place[order], repeat] = responses[order]
    out[1, place[order], repeat] = predicted[order]
    return out[0], out[1]


def score_trials(
    trials: NDArray, predicted: NDArray, *, n_splits: int = N_SPLITS, seed: int = 0
) -> EncoderScores:
    """Scores of predictions that are arranged by image and repeat.

    Parameters
    ----------
    trials, predicted : (image, repeat, neuron)
        NaN where an image has fewer repeats than another. Predictions may differ between
        repeats, as they do for an encoder that knows where the animal looks.
    n_splits, seed : int
        Of the split-half ceiling.

    Returns
    -------
    EncoderScores
        Without the scores that need repeats if an image was shown once only, or there is only
        one image.
    """
    shown = np.isfinite(trials).all(2)
    single = correlation(predicted[shown], trials[shown])
    if len(trials) < 2 or (shown.sum(1) < 2).any():
        return EncoderScores(single)
    found = ceilings(trials, n_splits=n_splits, seed=seed)
    return EncoderScores(
        single_trial=single,
        to_average=correlation_to_average(trials, predicted),
        feve=fraction_explainable_variance_explained(trials, predicted),
        cc_norm=normalised_correlation(trials, predicted),
        fraction_oracle_slope=fraction_oracle_slope(single, found.oracle),
        fraction_oracle_ratio=fraction_oracle_ratio(single, found.oracle),
        ceilings=found,
    )


def correlation_to_average(trials: NDArray, predicted: NDArray) -> NDArray[np.float64]:
    """CC_abs of Schoppe et al. 2016: correlation of the means over repeats, image by image.

    Returns
    -------
    (neuron,) float64
        0 for a constant neuron or prediction.
    """
    return correlation(np.nanmean(predicted, axis=1), np.nanmean(trials, axis=1))


def normalised_correlation(trials: NDArray, predicted: NDArray) -> NDArray[np.float64]:
    """CC_norm = CC_abs / CC_max of Schoppe et al. 2016.

    In expectation the correlation of the prediction with the true signal.

    Returns
    -------
    (neuron,) float64
        NaN where the signal power is not positive. Where it is small the ratio may be anything,
        also far beyond 1: summarise it by its median.
    """
    power = signal_power(trials)
    variance = np.nanmean(np.asarray(trials, np.float64), axis=1).var(0, ddof=1)
    absolute = correlation_to_average(trials, predicted)
    ratio = np.divide(variance, power, out=np.full_like(power, np.nan), where=power > 0)
    return absolute * np.sqrt(ratio)


def fraction_explainable_variance_explained(
    trials: NDArray, predicted: NDArray, *, threshold: float = FEV_THRESHOLD
) -> NDArray[np.float64]:
    """FEVE of Cadena et al. 2019: 1 - (MSE - noise) / (Var y - noise), over single trials.

    Unlike a correlation it also punishes predictions of the wrong mean or scale.

    Parameters
    ----------
    trials, predicted : (image, repeat, neuron)
        NaN where an image has fewer repeats.
    threshold : float
        Least fraction of explainable variance, 0 to 1.

    Returns
    -------
    (neuron,) float64
        At most about 1, without lower bound; NaN for neurons below the threshold.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold: {threshold}, expected 0 to 1")
    total, noise = total_and_noise_variance(trials)
    shown = np.isfinite(trials).all(2)
    error = ((np.asarray(trials, np.float64)[shown] - predicted[shown]) ** 2).mean(0)
    explainable = total - noise
    kept = (explainable >= threshold * total) & (explainable > 0)
    return 1 - np.divide(error - noise, explainable, out=np.full_like(total, np.nan), where=kept)


def fraction_oracle_slope(score: NDArray[np.float64], oracle: NDArray[np.float64]) -> float | None:
    """Fraction of oracle of Lurz et al. 2021: least-squares slope through the origin.

    One number for a population, to which reliable neurons contribute most. None where the oracle
    predicts nothing, so that there is no fraction to speak of.
    """
    power = float(oracle @ oracle)
    return float(score @ oracle) / power if power > 0 else None


def fraction_oracle_ratio(
    score: NDArray[np.float64], oracle: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fraction of oracle of Walker et al. 2019: the ratio, neuron by neuron.

    Returns
    -------
    (neuron,) float64
        NaN where the oracle is not positive. Where it is small the ratio may be anything:
        summarise it by its median.
    """
    return np.divide(score, oracle, out=np.full_like(score, np.nan), where=oracle > 0)
