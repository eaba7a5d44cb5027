"""Scores of brain-likeness beside what they could be at most, given how noisy the brain is.

Of a neuron's response, averaged over repeats, a share rho of the variance is signal: its
reliability, which Brain-Score calls the ceiling. Even a perfect prediction of the signal correlates
by no more than sqrt(rho), which is the ceiling here, as in
:class:`~predictive_model.scoring.ceilings.Ceilings`. So a score r is ceiled in two ways:

    explained = r^2 / rho          as Brain-Score has it: the share of the explainable variance
    ratio     = r / sqrt(rho)      the share of the largest correlation there could be

Both are 1 for a network that is the brain. Without repeats there is no ceiling, and none is made
up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.ceilings import (
    N_SPLITS,
    cc_max,
    random_halves,
    spearman_brown,
    split_half_reliability,
)
from regularized_training.alignment.predictivity import CONSTANT, Predictivity

CeilingMethod = Literal["split_half", "cc_max"]
Metric = Callable[[NDArray, NDArray], float]
IMPOSSIBLE = 1.05  # of the ceiling: above, it is not the network that is good
METRIC_SPLITS = 10
NO_TRIALS = "no repeats: only mean responses are known"
ONE_REPEAT = "no repeats: no image was shown twice"


class ImpossibleScoreError(ValueError):
    """A score that exceeds its ceiling by more than chance explains: an error of ours."""


@dataclass(frozen=True, eq=False)
class Ceiling:
    """What scores could be at most, or why that is not known.

    Attributes
    ----------
    reliability : (neuron,) float64 or None
        Share of signal in the variance of the mean over repeats, Brain-Score's ceiling; of a metric
        of a whole population (1,). None if it is missing.
    missing : str
        Why; empty if it is there.
    n_images : int
        Repeated images that it was estimated from.
    """

    reliability: NDArray[np.float64] | None
    missing: str = ""
    n_images: int = 0

    @property
    def correlation(self) -> NDArray[np.float64] | None:
        """Largest correlation to be expected: the root of the reliability, or 0 if negative."""
        return None if self.reliability is None else np.sqrt(np.maximum(self.reliability, 0))


@dataclass(frozen=True)
class CeiledScore:
    """A score and its ceiling.

    Attributes
    ----------
    score : float
        A correlation, or what is read as one.
    reliability : float or None
        Median over neurons.
    missing : str
        Why there is none, or none to divide by.
    """

    score: float
    reliability: float | None
    missing: str = ""

    @property
    def ceiling(self) -> float | None:
        """Largest score to be expected: the root of the reliability."""
        return None if self.reliability is None else float(np.sqrt(max(self.reliability, 0)))

    @property
    def explained(self) -> float | None:
        """Score^2 / reliability, Brain-Score's ceiled score; None without a positive ceiling."""
        return self.score**2 / self.reliability if self.ceiling and self.reliability else None

    @property
    def ratio(self) -> float | None:
        """Score / ceiling; None without a positive ceiling."""
        return self.score / self.ceiling if self.ceiling else None

    @property
    def impossible(self) -> bool:
        """Whether the ratio is above 1.05, which no network can be: look for an error of ours."""
        return self.ratio is not None and self.ratio > IMPOSSIBLE

    def require_possible(self) -> CeiledScore:
        """This, or an ImpossibleScoreError."""
        if self.impossible:
            raise ImpossibleScoreError(
                f"score {self.score:.3f} is {self.ratio:.2f} times its ceiling {self.ceiling:.3f}, "
                f"expected at most {IMPOSSIBLE}; are the trials of the ceiling those of the "
                "responses, and were test images kept out of the fit?"
            )
        return self


def neuron_ceiling(
    trials: NDArray | Repeats | None,
    method: CeilingMethod = "split_half",
    *,
    n_splits: int = N_SPLITS,
    seed: int = 0,
) -> Ceiling:
    """Reliability of each neuron's mean over repeats.

    Parameters
    ----------
    trials : (image, repeat, neuron), Repeats or None
        NaN where an image has fewer repeats. Images that were shown once are left out.
    method : {"split_half", "cc_max"}
        Random halves with the Spearman-Brown formula, as Brain-Score, or the signal power of
        Schoppe et al. 2016.
    n_splits, seed : int
        Of the halves.

    Examples
    --------
    >>> neuron_ceiling(None).missing
    'no repeats: only mean responses are known'
    """
    repeated, missing = _repeated(trials)
    if repeated is None:
        return Ceiling(None, missing)
    if method == "cc_max":
        reliability = cc_max(repeated) ** 2
    else:
        reliability = split_half_reliability(repeated, n_splits=n_splits, seed=seed)
    return Ceiling(reliability, n_images=repeated.n_images)


def metric_ceiling(
    metric: Metric,
    trials: NDArray | Repeats | None,
    *,
    n_splits: int = METRIC_SPLITS,
    seed: int = 0,
) -> Ceiling:
    """Reliability of a whole population by a metric of similarity, such as RSA or CKA.

    The metric of two halves of the repeats, with the Spearman-Brown formula, which for these
    metrics holds as long as noise in the mean over repeats is small beside signal.

    Parameters
    ----------
    metric : callable
        Of two arrays (image, neuron), 1 for the same.
    trials, n_splits, seed
        See :func:`neuron_ceiling`.
    """
    repeated, missing = _repeated(trials)
    if repeated is None:
        return Ceiling(None, missing)
    halves = random_halves(repeated, n_splits=n_splits, seed=seed)
    r = np.array([np.mean([metric(*pair) for pair in halves])])
    return Ceiling(spearman_brown(r, repeated.counts), n_images=repeated.n_images)


def ceiled(found: Predictivity | float, ceiling: Ceiling) -> CeiledScore:
    """A score beside its ceiling, the median over the neurons that have a score.

    Raises
    ------
    ValueError
        If the ceiling is of other neurons.
    """
    score = found.score if isinstance(found, Predictivity) else float(found)
    reliability = ceiling.reliability
    if reliability is None:
        return CeiledScore(score, None, ceiling.missing)
    if isinstance(found, Predictivity):
        n_neurons = found.correlation.shape[1]
        if reliability.shape != (n_neurons,):
            raise ValueError(
                f"ceiling: of {len(reliability)} neurons, expected {n_neurons}, those of the "
                "responses"
            )
        constant = [gap.neuron for gap in found.gaps if gap.kind == CONSTANT]
        reliability = np.delete(reliability, constant)
    median = float(np.median(reliability))
    missing = "" if median > 0 else f"no signal: repeats agree by {median:.2g} only"
    return CeiledScore(score, median, missing)


def ratio_by_neuron(found: Predictivity, ceiling: Ceiling) -> NDArray[np.float64]:
    """(neuron,) correlation over its ceiling; NaN for a constant neuron, or without a ceiling."""
    limit = ceiling.correlation
    out = np.full(found.correlation.shape[1], np.nan)
    return out if limit is None else np.divide(found.by_neuron, limit, out=out, where=limit > 0)


def _repeated(trials: NDArray | Repeats | None) -> tuple[Repeats | None, str]:
    """Trials of the images that were shown more than once, or why there are none."""
    if trials is None:
        return None, NO_TRIALS
    trials = Repeats.of(trials)
    twice = np.flatnonzero(trials.counts > 1)
    if not len(twice):
        return None, ONE_REPEAT
    if len(twice) == 1:
        return None, "repeats of a single image: nothing to correlate over"
    return trials.of_images(twice), ""
