"""Representational similarity analysis: do two systems find the same images alike?

A representational dissimilarity matrix (RDM) has one minus the correlation of the response patterns
of each two images (Kriegeskorte et al. 2008). Two RDMs are compared over their pairs of images;
what a true model could reach is bounded by how alike subjects are (Nili et al. 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from predictive_model.scoring.bootstrap import percentile_intervals
from predictive_model.scoring.correlation import correlation
from regularized_training.alignment.gram import Gram, centred

Comparison = Literal["spearman", "kendall", "pearson", "whitened"]
FEWEST = 3  # images: of two there is a single pair


def rdm(patterns: NDArray | Gram) -> NDArray[np.float64]:
    """1 - Pearson correlation of the patterns of each two images, (image, image).

    Parameters
    ----------
    patterns : (image, neuron) array or Gram
        Of a Gram matrix the same to rounding, whatever number of features it stands for.

    Raises
    ------
    ValueError
        If an image's pattern is constant, or not finite.
    """
    if isinstance(patterns, Gram):
        sums = patterns.sums
        products = patterns.uncentred() - sums[:, None] * sums / patterns.n_features
        scale = np.diagonal(patterns.uncentred())
    else:
        values = np.asarray(patterns, np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise ValueError(
                f"patterns: shape {values.shape}, {int((~np.isfinite(values)).sum())} of them NaN "
                "or infinite; expected (image, neuron), finite"
            )
        scale = np.square(values).sum(1)
        values = values - values.mean(1, keepdims=True)
        products = values @ values.T
    power = np.diagonal(products)
    flat = np.flatnonzero(power <= 1e-12 * scale)
    if len(flat):
        raise ValueError(
            f"patterns: those of {len(flat)} images are constant, the first of them image "
            f"{flat[0]}; a correlation with them is not defined, leave them out"
        )
    out = 1 - products / np.sqrt(power[:, None] * power)
    np.fill_diagonal(out, 0)
    return out


def compare_rdms(a: NDArray, b: NDArray, method: Comparison = "spearman") -> float:
    """How alike two RDMs are, over pairs of images.

    Parameters
    ----------
    a, b : (image, image)
        Symmetric.
    method : {"spearman", "kendall", "pearson", "whitened"}
        Spearman's rank correlation, as Brain-Score; Kendall's tau-a, which prefers no model that
        predicts ties (Nili et al. 2014, Eq. 3); Pearson's; or his with pairs that share an image no
        longer counted as independent (Diedrichsen et al. 2021), for the same noise in all images.

    Returns
    -------
    float
        From -1 to 1; 0 if an RDM has the same entry everywhere.
    """
    _require_rdms([a, b])
    if method == "whitened":
        return _whitened(a, b)
    upper = np.triu_indices(len(a), 1)
    return _of_pairs(np.asarray(a, np.float64)[upper], np.asarray(b, np.float64)[upper], method)


def _of_pairs(x: NDArray[np.float64], y: NDArray[np.float64], method: Comparison) -> float:
    if method == "kendall":
        return _tau_a(x, y)
    if method == "spearman":
        x, y = rankdata(x), rankdata(y)
    return float(correlation(x[:, None], y[:, None])[0])


def _tau_a(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Concordant less discordant pairs, over all pairs; from tau-b, which SciPy has."""
    tau_b = kendalltau(x, y).statistic
    if not np.isfinite(tau_b):
        return 0.0
    total = len(x) * (len(x) - 1) / 2
    untied = [total - sum(n * (n - 1) / 2 for n in _ties(v)) for v in (x, y)]
    return float(tau_b * np.sqrt(untied[0] * untied[1]) / total)


def _ties(values: NDArray[np.float64]) -> list[int]:
    _, counts = np.unique(values, return_counts=True)
    return [int(n) for n in counts[counts > 1]]


def _whitened(a: NDArray, b: NDArray) -> float:
    """Pearson's correlation of pairs, whitened by their covariance under equal noise.

    The inverse of that covariance need not be written out. Its inner product of two RDMs is that of
    the matrices of inner products which belong to them, -1/2 H D H with H the centring matrix
    (Diedrichsen et al. 2021, who thereby show it to be centred kernel alignment).
    """
    grams = []
    for matrix in (a, b):
        d = np.array(matrix, np.float64)
        off = ~np.eye(len(d), dtype=bool)
        spread = np.ptp(d[off])
        d[off] -= d[off].mean()
        if spread <= 1e-12 * np.abs(matrix).max():
            return 0.0
        grams.append(centred(d))
    x, y = grams
    return float((x * y).sum() / np.sqrt(np.square(x).sum() * np.square(y).sum()))


@dataclass(frozen=True)
class NoiseCeiling:
    """Between what the true model would score on average, given that subjects differ.

    Attributes
    ----------
    lower : float
        Each subject against the mean of the others: the mean is not the true RDM.
    upper : float
        Each subject against the mean of all, itself among them, which no model exceeds.
    n_subjects : int
    """

    lower: float
    upper: float
    n_subjects: int


def noise_ceiling(rdms: Sequence[NDArray], method: Comparison = "spearman") -> NoiseCeiling:
    """Bounds of Nili et al. 2014 on the mean similarity of a model's RDM to those of subjects.

    Parameters
    ----------
    rdms : (subject, image, image)
        Two subjects or more, or sessions.
    method
        See :func:`compare_rdms`. RDMs are averaged as ranks for rank correlations, of which tau-a's
        bounds are then approximate, else standardised.

    Raises
    ------
    ValueError
        If there is a single subject, so that nothing says how subjects differ.
    """
    rdms = [np.asarray(matrix, np.float64) for matrix in rdms]
    if len(rdms) < 2:
        raise ValueError(f"rdms: of {len(rdms)} subject, expected at least 2 for a noise ceiling")
    _require_rdms(rdms)
    scaled = np.stack([_scaled(matrix, method) for matrix in rdms])
    whole = scaled.sum(0)
    lower = [
        compare_rdms(whole - own, matrix, method) for own, matrix in zip(scaled, rdms, strict=True)
    ]
    upper = [compare_rdms(whole, matrix, method) for matrix in rdms]
    return NoiseCeiling(float(np.mean(lower)), float(np.mean(upper)), len(rdms))


def _scaled(matrix: NDArray[np.float64], method: Comparison) -> NDArray[np.float64]:
    upper = np.triu_indices(len(matrix), 1)
    pairs = matrix[upper]
    if method in ("spearman", "kendall"):
        pairs = rankdata(pairs)
    else:
        pairs = (pairs - pairs.mean()) / (pairs.std() or 1.0)
    out = np.zeros_like(matrix)
    out[upper] = pairs
    return out + out.T


def interval_over_images(
    a: NDArray,
    b: NDArray,
    method: Comparison = "spearman",
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap of :func:`compare_rdms` over images.

    Pairs of an image with itself, which a draw has, are left out (Nili et al. 2014). The whitened
    comparison needs all pairs, and is of the images drawn, each once.
    """
    _require_rdms([a, b])
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = np.triu_indices(len(a), 1)

    def statistic(drawn: NDArray[np.int64]) -> float:
        if method == "whitened":
            once = np.unique(drawn)
            if len(once) < FEWEST:
                return np.nan
            return compare_rdms(a[np.ix_(once, once)], b[np.ix_(once, once)], method)
        i, j = drawn[first], drawn[second]
        other = i != j
        return _of_pairs(a[i[other], j[other]], b[i[other], j[other]], method)

    return _interval(statistic, len(a), confidence, n_resamples, seed)


def interval_over_subjects(
    model: NDArray,
    rdms: Sequence[NDArray],
    method: Comparison = "spearman",
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap of a model's mean similarity to subjects, over subjects."""
    found = np.array([compare_rdms(model, matrix, method) for matrix in rdms])
    return _interval(
        lambda drawn: float(found[drawn].mean()), len(found), confidence, n_resamples, seed
    )


def interval_over_neurons(
    model: NDArray,
    responses: NDArray,
    method: Comparison = "spearman",
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap of a model's similarity to a population's RDM, over its neurons.

    Parameters
    ----------
    model : (image, image)
    responses : (image, neuron)
    """
    responses = np.asarray(responses, np.float64)
    return _interval(
        lambda drawn: compare_rdms(model, rdm(responses[:, drawn]), method),
        responses.shape[1],
        confidence,
        n_resamples,
        seed,
    )


def _interval(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    confidence: float,
    n_resamples: int,
    seed: int,
) -> tuple[float, float]:
    low, high = percentile_intervals(
        statistic, n, confidence=confidence, n_resamples=n_resamples, seed=seed
    )[0]
    return float(low), float(high)


def _require_rdms(rdms: Sequence[NDArray]) -> None:
    shapes = [np.shape(matrix) for matrix in rdms]
    shape = shapes[0]
    if len(set(shapes)) > 1 or len(shape) != 2 or shape[0] != shape[1] or shape[0] < FEWEST:
        raise ValueError(
            f"rdms: shapes {', '.join(map(str, shapes))}; expected square matrices of the same "
            f"images, at least {FEWEST}"
        )
    for matrix in rdms:
        if not np.isfinite(matrix).all():
            raise ValueError("rdms: some entries are NaN or infinite; leave those images out")
