"""Structure of a similarity matrix: its range, its spectrum and its most extreme pairs (Fig. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.config import DEFAULT_PREDICTABILITY
from regularized_training.teachers.predictability import predictability
from regularized_training.teachers.similarity import (
    oracle_similarity,
    similarity,
    similarity_correlation,
)

MINIMAL_IMAGES = 3  # with fewer there is a single pair of different images
QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


@dataclass(frozen=True)
class Spread:
    """How far values scatter.

    Attributes
    ----------
    sd : float
        Standard deviation.
    quantiles : tuple of float
        At 2.5, 25, 50, 75 and 97.5 %.
    n : int
        Number of values.
    """

    sd: float
    quantiles: tuple[float, ...]
    n: int

    @property
    def range(self) -> float:
        """Width of the central 95 %."""
        return self.quantiles[-1] - self.quantiles[0]


def spread(values: NDArray, *, sd: float | None = None) -> Spread:
    """Spread of finite values; ``sd`` where it is known better than from the values alone."""
    values = np.asarray(values, np.float64).ravel()
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} values: expected at least 2, all of them finite")
    return Spread(
        sd=float(values.std()) if sd is None else sd,
        quantiles=tuple(np.quantile(values, QUANTILES).tolist()),
        n=len(values),
    )


def pairs_of(matrix: NDArray) -> NDArray:
    """Entries i < j of square matrices, (..., image, image) to (..., pair)."""
    i, j = np.triu_indices(matrix.shape[-1], 1)
    return matrix[..., i, j]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of a similarity matrix.

    Attributes
    ----------
    eigenvalues : (image,)
        Largest first, divided by the sum of the positive ones.
    participation_ratio : float
        (sum lambda)^2 / sum lambda^2 over the positive ones, the effective dimension: 1 if all
        images lie on one line, k if their variance is spread evenly over k directions.
    """

    eigenvalues: NDArray[np.float64]
    participation_ratio: float


def spectrum(matrix: NDArray) -> Spectrum:
    """Eigenvalues and participation ratio of a symmetric matrix.

    S_data and S_model are products of vectors, and their eigenvalues are the variance along the
    directions in which these lie. The diagonal of S_oracle is free of single trials' noise, so that
    noise pushes some of its eigenvalues below zero. Those hold no variance and do not count.

    Raises
    ------
    ValueError
        If the matrix is not square and symmetric, or holds NaN, as the oracle of an image with
        a single trial does.

    Examples
    --------
    >>> spectrum(np.eye(4)).participation_ratio
    4.0
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix: shape {matrix.shape}, expected a square matrix")
    if not np.isfinite(matrix).all():
        raise ValueError(
            f"matrix: {int((~np.isfinite(matrix)).sum())} entries are not finite; leave out images "
            "with a single trial, whose similarity to themselves is unknown"
        )
    if not np.allclose(matrix, matrix.T, atol=1e-5):
        raise ValueError("matrix: not symmetric, expected similarities of i and j as of j and i")
    eigenvalues = np.linalg.eigvalsh(matrix)[::-1]
    positive = eigenvalues.clip(0)
    total = positive.sum()
    if total == 0:
        return Spectrum(np.zeros(len(matrix)), 0.0)
    return Spectrum(eigenvalues / total, float(total**2 / (positive**2).sum()))


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """Pairs of images i < j, the most extreme first.

    Attributes
    ----------
    least, most : (n, 2) int
        Rows of the matrix.
    least_similarity, most_similarity : (n,)
    """

    least: NDArray[np.int64]
    most: NDArray[np.int64]
    least_similarity: NDArray[np.float64]
    most_similarity: NDArray[np.float64]


def extreme_pairs(matrix: NDArray, n: int, *, each_once: bool = True) -> ImagePairs:
    """Fig. 2 of Li et al. 2019: the pairs of images of lowest and of highest similarity.

    Parameters
    ----------
    matrix : (image, image)
        Any similarity; the diagonal does not count.
    n : int
        How many pairs of each kind.
    each_once : bool
        Show no image twice among the pairs of a kind: an unusual image would be in all of them.

    Raises
    ------
    ValueError
        If there are not as many pairs.

    Examples
    --------
    >>> s = np.eye(4)
    >>> s[0, 1] = s[1, 0] = 0.9
    >>> s[2, 3] = s[3, 2] = 0.3
    >>> extreme_pairs(s, 2).most.tolist()
    [[0, 1], [2, 3]]
    """
    size = len(matrix)
    there = size // 2 if each_once else size * (size - 1) // 2
    if not 1 <= n <= there:
        raise ValueError(f"n: {n}, expected 1 to {there}, the pairs that {size} images give")
    least, low = _lowest_pairs(np.asarray(matrix, np.float64), n, each_once)
    most, high = _lowest_pairs(-np.asarray(matrix, np.float64), n, each_once)
    return ImagePairs(least, most, low, -high)


def _lowest_pairs(
    matrix: NDArray[np.float64], n: int, each_once: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rows = np.stack(np.triu_indices(len(matrix), 1), 1)
    values = pairs_of(matrix)
    chosen = np.argsort(values, kind="stable")
    if each_once:
        used: set[int] = set()
        picked: list[int] = []
        for k in chosen:
            if len(picked) == n:
                break
            if used.isdisjoint(pair := rows[k].tolist()):
                used.update(pair)
                picked.append(int(k))
        chosen = np.array(picked)
    return rows[chosen[:n]], values[chosen[:n]]


@dataclass(frozen=True, eq=False)
class SimilarityStructure:
    """Recorded and predicted similarity of the same images.

    Attributes
    ----------
    tier : str
        Where the images are from: ``test`` where that has enough of them. ``validation`` otherwise,
        and then the encoder was stopped and its neurons weighted on the same images.
    images : (image,) int
        Their numbers in the recording.
    recorded : (image, image)
        S_data: of the first trial of each image, or of what the recording holds of it.
    oracle : (image, image), or None
        S_oracle, None without repeats.
    model : (image, image)
        S_model.
    weighted : bool
        False where no image was repeated: the reliability of neurons is not known and w_a = 1.
    model_correlation : float
        corr(S_model, S_oracle), with S_data instead where there is no oracle.
    """

    tier: str
    images: NDArray[np.int64]
    recorded: NDArray[np.float32]
    oracle: NDArray[np.float32] | None
    model: NDArray[np.float32]
    weighted: bool
    model_correlation: float


def similarity_structure(recording: Recording, fitted: FittedEncoder) -> SimilarityStructure:
    """Recorded, oracle and model similarity of one scan, as far as it has repeats.

    Repeated images of the test tier if there are at least three, else all of the test tier, else
    the validation tier, as in a recording of trial averages.

    Raises
    ------
    ValueError
        If neither tier has three images.
    """
    repeated = np.flatnonzero(recording.repeats >= 2)
    weighted = len(repeated) >= 2
    weight = reliability(recording).weight if weighted else np.ones(recording.n_neurons)
    images = np.intersect1d(repeated, recording.images_of("test"))
    with_oracle = len(images) >= MINIMAL_IMAGES
    tier = "test"
    if not with_oracle:
        images = recording.images_of("test")
        if len(images) < MINIMAL_IMAGES:
            tier, images = "validation", recording.images_of("validation")
    if len(images) < MINIMAL_IMAGES:
        raise ValueError(
            f"tier: the test and the validation tier of {recording.name!r} have fewer than "
            f"{MINIMAL_IMAGES} images; similarity needs held-out images to be compared on"
        )
    trials = recording.grouped_trials(images)
    recorded = similarity(trials.repeat(0), weight)
    oracle = oracle_similarity(trials, weight) if with_oracle else None
    # What is explainable is not known without repeats.
    v = predictability(recording, fitted, DEFAULT_PREDICTABILITY if weighted else "image")
    model = similarity(fitted.predict(recording.images[images]), weight * v)
    return SimilarityStructure(
        tier=tier,
        images=images,
        recorded=recorded,
        oracle=oracle,
        model=model,
        weighted=weighted,
        model_correlation=similarity_correlation(model, recorded if oracle is None else oracle),
    )
