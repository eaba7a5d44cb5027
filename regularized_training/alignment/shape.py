"""Linear shape metrics between representations: Williams et al. 2021.

Two representations have the same shape if moving, scaling and rotating one makes it the other; how
far they are from that is a metric, in which the triangle inequality holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regularized_training.alignment.gram import (
    NEGLIGIBLE,
    Gram,
    as_gram,
    require_same_images,
)

ROUNDING = 1e-12


def shape_similarity(a: NDArray | Gram, b: NDArray | Gram, *, whitening: float = 0.0) -> float:
    """Cosine of the angular shape distance: max over rotations Q of <X, Y Q> / (|X| |Y|).

    X and Y are the two sets of features less their means over images. The largest inner product is
    the nuclear norm of X'Y (the orthogonal Procrustes problem; Schönemann 1966).

    Parameters
    ----------
    a, b : (image, feature) array or Gram
        Of the same images, with any numbers of features.
    whitening : float
        From 0, where only rotations are allowed, to 1, where any invertible linear map is, as in
        canonical correlation analysis: X's singular values s are replaced by
        (1 - whitening) s + whitening, after the largest was brought to 1 (the family of Williams
        et al. 2021, whose alpha is 1 - whitening).

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        If numbers of images differ, or one finds all images alike.
    """
    if not 0 <= whitening <= 1:
        raise ValueError(f"whitening: {whitening}, expected 0 to 1")
    require_same_images([len(a), len(b)], ["the first", "the second"])
    x, y = (_axes(features, whitening) for features in (a, b))
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(min(nuclear / (np.linalg.norm(x) * np.linalg.norm(y)), 1.0))


def angular_distance(a: NDArray | Gram, b: NDArray | Gram, *, whitening: float = 0.0) -> float:
    """Angular shape distance of Williams et al. 2021: the arc cosine of :func:`shape_similarity`.

    Returns
    -------
    float
        In radians, 0 for the same shape to pi / 2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features, rotation = rng.normal(size=(50, 4)), np.linalg.qr(rng.normal(size=(4, 4)))[0]
    >>> angular_distance(features, 3 * features @ rotation + 1) < 1e-6
    True
    """
    return float(np.arccos(shape_similarity(a, b, whitening=whitening)))


def procrustes_distance(a: NDArray | Gram, b: NDArray | Gram) -> float:
    """min over rotations Q of |X / |X| - Y Q / |Y||: sqrt(2 - 2 cosine), from 0 to sqrt(2)."""
    return float(np.sqrt(2 - 2 * shape_similarity(a, b)))


def _axes(features: NDArray | Gram, whitening: float) -> NDArray[np.float64]:
    """Scores (image, direction) on the principal axes, whitened as far as is asked."""
    if isinstance(features, Gram) or features.shape[1] >= len(features):
        gram = as_gram(features)
        found, power = gram.factor, float(np.trace(gram.uncentred()))
    else:
        found, power = _few(np.asarray(features, np.float64))
    lengths = np.linalg.norm(found, axis=0)
    if not len(lengths) or lengths[0] ** 2 <= ROUNDING * power:
        raise ValueError("features: all images have the same, expected some that differ")
    if whitening == 0:
        return found
    found = found / lengths[0]
    lengths = lengths / lengths[0]
    return found * ((1 - whitening) + whitening / lengths)


def _few(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Scores on the principal axes, and the sum of squares, of fewer features than images."""
    if not np.isfinite(features).all():
        raise ValueError(f"features: {int((~np.isfinite(features)).sum())} are NaN or infinite")
    axes, lengths, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    kept = lengths**2 > NEGLIGIBLE * lengths[0] ** 2
    return axes[:, kept] * lengths[kept], float(np.square(features).sum())
