"""One score of several recordings, and how sure the order of networks by it is.

As Brain-Score has it (Kubilius et al. 2019): the mean of ceiled scores, each of which is 1 for a
network that is the brain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Part:
    """What one recording says of several networks.

    Attributes
    ----------
    correlations : (network, split, neuron) float64
        Of the same splits and neurons for all networks; NaN where there is none.
    reliability : (neuron,) float64
        Share of signal in the variance of responses, Brain-Score's ceiling.
    """

    correlations: NDArray[np.float64]
    reliability: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Composite:
    """Composite scores of networks.

    Attributes
    ----------
    score : (network,) float64
    low, high : (network,) float64
        Ends of the interval.
    rank : (network,) int64
        1 for the highest score.
    rank_low, rank_high : (network,) float64
        Ends of the interval of ranks.
    first : (network,) float64
        Share of draws in which it has the highest score.
    parts : dict of str to (network,) float64
        Ceiled score of each part, score^2 / reliability.
    """

    score: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rank: NDArray[np.int64]
    rank_low: NDArray[np.float64]
    rank_high: NDArray[np.float64]
    first: NDArray[np.float64]
    parts: dict[str, NDArray[np.float64]]


def composite(
    parts: Mapping[str, Part],
    *,
    confidence: float = 0.95,
    n_resamples: int = 500,
    seed: int = 0,
) -> Composite:
    """Composite score, mean over parts of score^2 / reliability, with intervals and ranks.

    A part's score is the median over neurons, averaged over splits; a negative one counts as 0, and
    its reliability is the median over neurons. The bootstrap draws neurons and splits of each part
    anew, the same for all networks, which therefore are compared in pairs. Images are drawn only as
    far as splits have other ones. Intervals of fewer than about 20 neurons are too narrow.

    Parameters
    ----------
    parts : mapping of str to Part
    confidence : float
    n_resamples : int
        At least 20.
    seed : int

    Raises
    ------
    ValueError
        If there is no part, parts are of other networks, or one has no reliable neuron.

    Examples
    --------
    >>> high, low = np.full((4, 30), 0.6), np.full((4, 30), 0.3)
    >>> found = composite({"v1": Part(np.stack([low, high]), np.full(30, 0.9))})
    >>> found.score.round(2).tolist(), found.rank.tolist()
    ([0.1, 0.4], [2, 1])
    """
    if not parts:
        raise ValueError("parts: none, expected at least one recording")
    if not 0 < confidence < 1 or n_resamples < 20:
        raise ValueError(
            f"confidence, n_resamples: {confidence:g} and {n_resamples}, expected between 0 and 1, "
            "and at least 20"
        )
    known = {name: _known(name, part) for name, part in parts.items()}
    numbers = {name: len(part.correlations) for name, part in known.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"parts: of {numbers} networks, expected the same networks in all")
    scores = {name: _ceiled(part.correlations, part.reliability) for name, part in known.items()}
    score = np.mean(list(scores.values()), axis=0)
    rng = np.random.default_rng(seed)
    drawn = np.empty((n_resamples, len(score)))
    for row in drawn:
        row[:] = np.mean([_drawn(part, rng) for part in known.values()], axis=0)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ranks = np.stack([_ranks(row) for row in drawn])
    low, high = np.quantile(drawn, tails, axis=0)
    rank_low, rank_high = np.quantile(ranks, tails, axis=0, method="nearest")
    return Composite(
        score=score,
        low=low,
        high=high,
        rank=_ranks(score),
        rank_low=rank_low,
        rank_high=rank_high,
        first=(ranks == 1).mean(0),
        parts=scores,
    )


def _known(name: str, part: Part) -> Part:
    """The part without neurons that some network has no correlation for."""
    correlations, reliability = np.asarray(part.correlations), np.asarray(part.reliability)
    if correlations.ndim != 3 or correlations.shape[2:] != reliability.shape:
        raise ValueError(
            f"{name}: correlations of shape {correlations.shape} and reliabilities of shape "
            f"{reliability.shape}, expected (network, split, neuron) and (neuron,); a part without "
            "a ceiling cannot be part of a composite"
        )
    there = np.isfinite(correlations).all((0, 1)) & np.isfinite(reliability)
    if not there.any() or np.median(reliability[there]) <= 0:
        raise ValueError(f"{name}: no reliable neurons, so that there is no ceiling")
    return Part(correlations[..., there], reliability[there])


def _ceiled(
    correlations: NDArray[np.float64], reliability: NDArray[np.float64]
) -> NDArray[np.float64]:
    """score^2 / reliability of each network."""
    score = np.median(correlations, axis=2).mean(1).clip(min=0)
    ceiled: NDArray[np.float64] = score**2 / max(float(np.median(reliability)), 1e-12)
    return ceiled


def _drawn(part: Part, rng: np.random.Generator) -> NDArray[np.float64]:
    _, n_splits, n_neurons = part.correlations.shape
    neurons, splits = rng.integers(0, n_neurons, n_neurons), rng.integers(0, n_splits, n_splits)
    return _ceiled(part.correlations[:, splits][..., neurons], part.reliability[neurons])


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 for the highest; those of the same score share the better rank."""
    return 1 + (scores[None, :] > scores[:, None]).sum(1)
