"""Scores of a population: one number each, its confidence interval and its ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.scoring.bootstrap import percentile_intervals
from predictive_model.scoring.scores import (
    EncoderScores,
    fraction_oracle_ratio,
    fraction_oracle_slope,
    score_trials,
)


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _median(values: NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(np.median(defined)) if len(defined) else np.nan


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
    ends = percentile_intervals(
        lambda drawn: list(_values(scores, drawn).values()),
        len(scores.single_trial),
        confidence=confidence,
        n_resamples=n_resamples,
        seed=seed,
    )
    return _with_intervals(scores, ends)


def summarise_over_images(
    trials: NDArray,
    predicted: NDArray,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Score]:
    """Summaries of all scores, with intervals by resampling images.

    All neurons saw the same images, so their scores err together, and resampling neurons does not
    show it. These intervals say how the number would vary had the same neurons seen other images.

    Parameters
    ----------
    trials, predicted : (image, repeat, neuron)
        From :func:`predictive_model.scoring.scores.arranged`.
    confidence, n_resamples, seed
        See :func:`predictive_model.scoring.bootstrap.percentile_intervals`.

    Returns
    -------
    dict of str to Score
        As from :func:`summarise`.
    """

    scores = score_trials(trials, predicted)
    names = list(_values(scores))

    def of_images(drawn: NDArray[np.int64]) -> list[float]:
        # One split of halves: no summary's value depends on it.
        values = _values(score_trials(trials[drawn], predicted[drawn], n_splits=1))
        # A draw may leave out the images that were shown once only, and have more scores.
        return [values.get(name, np.nan) for name in names]

    ends = percentile_intervals(
        of_images,
        len(trials),
        confidence=confidence,
        n_resamples=n_resamples,
        seed=seed,
    )
    return _with_intervals(scores, ends)


def _with_intervals(scores: EncoderScores, ends: NDArray[np.float64]) -> dict[str, Score]:
    ceiling = _ceilings(scores)
    out = {}
    for (name, value), (low, high) in zip(_values(scores).items(), ends, strict=True):
        by_neuron = getattr(scores, name) if name in STATISTIC else scores.single_trial
        n = int(np.isfinite(by_neuron).sum())
        out[name] = Score(value, float(low), float(high), n, ceiling.get(name))
    return out


def _values(scores: EncoderScores, drawn: NDArray[np.int64] | None = None) -> dict[str, float]:
    """Summaries over the neurons drawn, all by default."""
    out = {}
    for name, statistic in STATISTIC.items():
        by_neuron = getattr(scores, name)
        if by_neuron is not None:
            out[name] = statistic(by_neuron if drawn is None else by_neuron[drawn])
    if scores.oracle is not None:
        single, oracle = scores.single_trial, scores.oracle
        if drawn is not None:
            single, oracle = single[drawn], oracle[drawn]
        slope = fraction_oracle_slope(single, oracle)
        out["fraction_oracle_slope"] = np.nan if slope is None else slope
    return out


def _ceilings(scores: EncoderScores) -> dict[str, float]:
    """What a perfect prediction of the signal would get in each summary."""
    if scores.ceilings is None:
        return {}
    perfect, oracle = scores.ceilings.single_trial, scores.ceilings.oracle
    out = {
        "single_trial": _mean(perfect),
        "to_average": _mean(scores.ceilings.cc_max),
        "feve": 1.0,
        "cc_norm": 1.0,
        "fraction_oracle_ratio": _median(fraction_oracle_ratio(perfect, oracle)),
    }
    slope = fraction_oracle_slope(perfect, oracle)
    return out if slope is None else out | {"fraction_oracle_slope": slope}
