"""Scores of a population: one number each, its confidence interval and its ceiling."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.bootstrap import jackknife_intervals, percentile_intervals
from predictive_model.scoring.moments import ImageStatistics, Moments
from predictive_model.scoring.scores import (
    FEV_THRESHOLD,
    EncoderScores,
    fraction_oracle_ratio,
    fraction_oracle_slope,
    oracle_slopes,
    paired,
    scores_of_moments,
)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last axis; what is not defined does not count."""
    n = np.isfinite(values).sum(-1)
    sums = np.nansum(values, axis=-1)
    return np.divide(sums, n, out=np.full(np.shape(sums), np.nan), where=n > 0)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanmedian(values, axis=-1)


# A ratio to a small number may be anything, so ratios are summarised by their median. FEVE is
# defined only for neurons whose denominator is not small.
STATISTIC = {
    "single_trial": _mean,
    "to_average": _mean,
    "feve": _mean,
    "cc_norm": _median,
    "fraction_oracle_ratio": _median,
}


@dataclass(frozen=True)
class Score:
    """A score of a population.

    Attributes
    ----------
    value : float
        NaN where no neuron has this score.
    low, high : float
        Ends of the confidence interval; NaN where there is none.
    n : int
        Neurons that count.
    ceiling : float or None
        What a perfect prediction of the signal would score; None where repeats are missing.
    """

    value: float
    low: float
    high: float
    n: int
    ceiling: float | None = None

    def __str__(self) -> str:
        of = "" if self.ceiling is None else f" of {self.ceiling:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}){of}, n = {self.n}"


def summarise(
    scores: EncoderScores, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
) -> dict[str, Score]:
    """Summaries of all scores, with intervals by resampling neurons.

    The intervals say how the number would vary had other neurons of the same area been recorded
    with the same images. Ratios with small denominators, ``cc_norm`` and
    ``fraction_oracle_ratio``, are summarised by their median, the others by their mean.

    Parameters
    ----------
    scores : EncoderScores
    confidence, n_resamples, seed
        See :func:`predictive_model.scoring.bootstrap.percentile_intervals`.

    Returns
    -------
    dict of str to Score
        By the name of the attribute of :class:`EncoderScores`; only ``single_trial`` where the
        tier has no repeats.

    Examples
    --------
    >>> summarise(EncoderScores(np.array([0.2, 0.3, 0.4])))["single_trial"].value
    0.3
    """
    by_neuron = _by_neuron(scores)
    oracle = scores.oracle
    ends = percentile_intervals(
        lambda drawn: list(
            _summaries(
                {name: values[drawn] for name, values in by_neuron.items()},
                None if oracle is None else oracle[drawn],
            ).values()
        ),
        len(scores.single_trial),
        confidence=confidence,
        n_resamples=n_resamples,
        seed=seed,
    )
    return _with_intervals(scores, ends)


def summarise_over_images(
    trials: NDArray | Repeats,
    predicted: NDArray | Repeats,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Score]:
    """Summaries of all scores, with intervals by resampling images.

    All neurons saw the same images, so their scores err together, and resampling neurons does not
    show it. These intervals are for what the same neurons would score on infinitely many images of
    the kind, each with as many repeats as here. With 100 images and ten repeats 95 % intervals
    held it in .92 to .98 of simulated recordings, whichever the score; see docs/scores.md.

    Parameters
    ----------
    trials, predicted : (image, repeat, neuron), or both Repeats
        From :func:`predictive_model.scoring.scores.arranged`.
    confidence, n_resamples, seed
        See :func:`predictive_model.scoring.bootstrap.jackknife_intervals`.

    Returns
    -------
    dict of str to Score
        As from :func:`summarise`.
    """
    trials, predicted = paired(trials, predicted)
    images = ImageStatistics.of(trials, predicted)
    # No summary depends on split halves.
    halves = np.full(trials.n_neurons, np.nan) if images.repeated else None
    scores = scores_of_moments(images.moments(), halves)
    ends = jackknife_intervals(
        lambda weights: np.stack(
            list(summaries_of_moments(images.moments(weights)).values()), axis=1
        ),
        trials.n_images,
        confidence=confidence,
        n_resamples=n_resamples,
        seed=seed,
    )
    return _with_intervals(scores, ends)


def summaries_of_moments(found: Moments) -> dict[str, NDArray[np.float64]]:
    """Summaries (selection,) of all scores for selections of images.

    Parameters
    ----------
    found : Moments
        With predictions.
    """
    if not found.images.repeated:
        return _summaries({"single_trial": found.single_trial}, None)
    by_neuron = {
        "single_trial": found.single_trial,
        "to_average": found.to_average,
        "feve": found.feve(FEV_THRESHOLD),
        "cc_norm": found.cc_norm,
        "fraction_oracle_ratio": fraction_oracle_ratio(found.single_trial, found.oracle),
    }
    return _summaries(by_neuron, found.oracle)


def _with_intervals(scores: EncoderScores, ends: NDArray[np.float64]) -> dict[str, Score]:
    ceiling, by_neuron = _ceilings(scores), _by_neuron(scores)
    values = _summaries(by_neuron, scores.oracle)
    counted = {name: int(np.isfinite(values).sum()) for name, values in by_neuron.items()}
    n_neurons = len(scores.single_trial)
    return {
        name: Score(
            float(value), float(low), float(high), counted.get(name, n_neurons), ceiling.get(name)
        )
        for (name, value), (low, high) in zip(values.items(), ends, strict=True)
    }


def _by_neuron(scores: EncoderScores) -> dict[str, NDArray[np.float64]]:
    """The scores (neuron,) that there are."""
    found = {name: getattr(scores, name) for name in STATISTIC}
    return {name: values for name, values in found.items() if values is not None}


def _summaries(
    by_neuron: dict[str, NDArray[np.float64]], oracle: NDArray[np.float64] | None
) -> dict[str, NDArray[np.float64]]:
    """Summaries (...) of scores (..., neuron)."""
    out = {name: STATISTIC[name](values) for name, values in by_neuron.items()}
    if oracle is not None:
        out["fraction_oracle_slope"] = oracle_slopes(by_neuron["single_trial"], oracle)
    return out


def _ceilings(scores: EncoderScores) -> dict[str, float]:
    """What a perfect prediction of the signal would get in each summary."""
    if scores.ceilings is None:
        return {}
    perfect, oracle = scores.ceilings.single_trial, scores.ceilings.oracle
    out = {
        "single_trial": float(_mean(perfect)),
        "to_average": float(_mean(scores.ceilings.cc_max)),
        "feve": 1.0,
        "cc_norm": 1.0,
        "fraction_oracle_ratio": float(_median(fraction_oracle_ratio(perfect, oracle))),
    }
    slope = fraction_oracle_slope(perfect, oracle)
    return out if slope is None else out | {"fraction_oracle_slope": slope}
