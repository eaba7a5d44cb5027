"""How well predictions agree with responses, beside what the repeats say could be reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.recording import Recording, Tier
from predictive_model.recordings.repeats import Repeats, shown_repeats
from predictive_model.scoring.ceilings import (
    N_SPLITS,
    Ceilings,
    ceilings_of_moments,
    split_half_reliability,
)
from predictive_model.scoring.moments import ImageStatistics, Moments
from predictive_model.scoring.reliability import checked_trials

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


def arranged(recording: Recording, tier: Tier, predicted: NDArray) -> tuple[Repeats, Repeats]:
    """Responses and predictions of a tier, as :func:`score_trials` wants them.

    Parameters
    ----------
    recording : Recording
    tier : str
    predicted : (trial, neuron)
        In the order of ``recording.trials_of(tier)``.

    Returns
    -------
    trials, predicted : Repeats
    """
    rows = recording.trials_of(tier)
    if len(rows) == 0:
        raise ValueError(
            f"tier: no trial of {recording.name!r} is in the {tier} tier, so there is nothing to "
            "score; choose another tier"
        )
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
    index = recording.image_index[rows]
    order = np.argsort(index, kind="stable")
    counts = np.unique(index, return_counts=True)[1]
    return Repeats(responses[order], counts), Repeats(predicted[order], counts)


def score_trials(
    trials: NDArray | Repeats,
    predicted: NDArray | Repeats,
    *,
    n_splits: int = N_SPLITS,
    seed: int = 0,
) -> EncoderScores:
    """Scores of predictions that are arranged by image and repeat.

    Parameters
    ----------
    trials, predicted : (image, repeat, neuron), or both Repeats
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
    trials, predicted = paired(trials, predicted)
    images = ImageStatistics.of(trials, predicted)
    halves = None
    if images.repeated:
        halves = split_half_reliability(trials, n_splits=n_splits, seed=seed)
    return scores_of_moments(images.moments(), halves)


def scores_of_moments(found: Moments, halves: NDArray[np.float64] | None) -> EncoderScores:
    """Scores from moments of all images.

    Parameters
    ----------
    found : Moments
    halves : (neuron,), or None
        Reliability by split halves; None leaves the scores out that need repeats.
    """
    single = found.single_trial[0]
    if halves is None:
        return EncoderScores(single)
    beside = ceilings_of_moments(found, halves)
    return EncoderScores(
        single_trial=single,
        to_average=found.to_average[0],
        feve=found.feve(FEV_THRESHOLD)[0],
        cc_norm=found.cc_norm[0],
        fraction_oracle_slope=fraction_oracle_slope(single, beside.oracle),
        fraction_oracle_ratio=fraction_oracle_ratio(single, beside.oracle),
        ceilings=beside,
    )


def paired(trials: NDArray | Repeats, predicted: NDArray | Repeats) -> tuple[Repeats, Repeats]:
    """Trials and their predictions, both as Repeats, without images that have no trial."""
    if isinstance(trials, Repeats) and isinstance(predicted, Repeats):
        return trials, predicted
    trials, predicted = np.asarray(trials), np.asarray(predicted)
    if trials.shape != predicted.shape:
        raise ValueError(f"predicted: shape {predicted.shape}, expected {trials.shape}, as trials")
    shown = shown_repeats(trials)
    counts = shown.sum(1)
    counts = counts[counts > 0]
    return Repeats(trials[shown], counts), Repeats(predicted[shown], counts)


def correlation_to_average(
    trials: NDArray | Repeats, predicted: NDArray | Repeats
) -> NDArray[np.float64]:
    """CC_abs of Schoppe et al. 2016: correlation of the means over repeats, image by image.

    Returns
    -------
    (neuron,) float64
        0 for a constant neuron or prediction.
    """
    return ImageStatistics.of(*paired(trials, predicted)).moments().to_average[0]


def normalised_correlation(
    trials: NDArray | Repeats, predicted: NDArray | Repeats
) -> NDArray[np.float64]:
    """CC_norm = CC_abs / CC_max of Schoppe et al. 2016.

    In expectation the correlation of the prediction with the true signal.

    Returns
    -------
    (neuron,) float64
        NaN where the signal power is not positive. Where it is small the ratio may be anything,
        also far beyond 1: summarise it by its median.
    """
    trials, predicted = paired(trials, predicted)
    return ImageStatistics.of(checked_trials(trials), predicted).moments().cc_norm[0]


def fraction_explainable_variance_explained(
    trials: NDArray | Repeats,
    predicted: NDArray | Repeats,
    *,
    threshold: float = FEV_THRESHOLD,
) -> NDArray[np.float64]:
    """FEVE of Cadena et al. 2019: 1 - (MSE - noise) / (Var y - noise), over single trials.

    Unlike a correlation it also punishes predictions of the wrong mean or scale.

    Parameters
    ----------
    trials, predicted : (image, repeat, neuron), or both Repeats
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
    trials, predicted = paired(trials, predicted)
    return ImageStatistics.of(checked_trials(trials), predicted).moments().feve(threshold)[0]


def fraction_oracle_slope(score: NDArray[np.float64], oracle: NDArray[np.float64]) -> float | None:
    """Fraction of oracle of Lurz et al. 2021: least-squares slope through the origin.

    One number for a population, to which reliable neurons contribute most. None where the oracle
    predicts nothing, so that there is no fraction to speak of.
    """
    slope = float(oracle_slopes(score, oracle))
    return slope if np.isfinite(slope) else None


def oracle_slopes(score: NDArray[np.float64], oracle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same for any number of populations: (...) of (..., neuron), NaN where there is none."""
    power = np.asarray((oracle**2).sum(-1))
    product = np.asarray((score * oracle).sum(-1))
    return np.divide(product, power, out=np.full_like(power, np.nan), where=power > 0)


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
