"""Partial least squares from inner products of images, for features of any number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-6  # of the squared change of the weights, at which the power method stops
STEPS = 500  # of the power method at most
ROUNDING = np.finfo(np.float64).eps
NEGLIGIBLE = 1e-12  # of a neuron's variance: below, what is left of it is looked at


def kernel_pls(
    products: NDArray[np.float64],
    responses: NDArray[np.float64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    n_components: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """PLS regression of responses on features that are known by their inner products, in splits.

    The algorithm of Rosipal and Trejo 2001, "Kernel partial least squares regression in reproducing
    kernel Hilbert space", with a linear kernel: NIPALS in which neither features nor weights are
    written out, so that a component costs one product of the kernel with a vector. All splits go
    side by side, so that the kernel is read once for all. Weights come from the power method with
    the start, the tolerance and the number of steps of scikit-learn's
    ``PLSRegression(scale=False)``, whose tolerance is coarse enough to be seen in the results; so
    predictions are the same but for rounding.

    Parameters
    ----------
    products : (image, image) float64
        Of features less any mean.
    responses : (image, neuron) float64
    train, test : (split, image) int64
    n_components : int

    Returns
    -------
    predicted : (split, image, neuron) float64
        Of the test images.
    n_found : (split,) int64
        Components; fewer than were asked for where features or responses have fewer directions.
    """
    n_splits, n = len(train), len(products)
    shown = np.zeros((n_splits, n))
    np.put_along_axis(shown, train, 1.0, axis=1)
    share = shown / train.shape[1]  # inner products with it are means over training images
    intercept = share @ responses
    residual = (responses - intercept[:, None]) * shown[:, :, None]
    first = residual.copy()
    squares = whole = np.square(residual).sum(1)  # of each neuron, as far as rounding allows
    explained = _times(products, residual)  # K Y, as Y is deflated
    reach = ROUNDING * (shown @ np.diagonal(products))
    scores = np.zeros((n_splits, n_components, n))  # t, orthonormal, each with mean 0
    seen = np.zeros_like(scores)  # K t
    directions = np.zeros_like(scores)  # u, of which weights are X'u
    n_found = np.full(n_splits, n_components)
    for k in range(n_components):
        if (squares <= NEGLIGIBLE * whole).any():  # some neuron is all but explained
            residual *= (np.abs(residual) >= 10 * ROUNDING).any(1)[:, None, :]
            squares = np.square(residual).sum(1)
        covariance = residual.transpose(0, 2, 1) @ explained  # Y'X X'Y
        weights = np.stack([_leading(*one) for one in zip(covariance, squares > 0, strict=True)])
        length = np.einsum("sp,spq,sq->s", weights, covariance, weights)
        over = (length <= reach * squares.sum(1)) | (n_found < k)
        n_found[over] = np.minimum(n_found[over], k)
        if over.all():
            break
        length[over], weights[over] = 1.0, 0.0  # such a split adds components of zeros
        t = (explained @ weights[:, :, None])[:, :, 0]
        t = (t - (share * t).sum(1, keepdims=True)) * shown
        for _ in range(2):  # twice, as what is left may be small beside what is taken off
            along = scores[:, :k] @ t[:, :, None]
            t -= (along.transpose(0, 2, 1) @ scores[:, :k])[:, 0]
        norm = np.linalg.norm(t, axis=1, keepdims=True)
        scores[:, k] = t = np.divide(t, norm, out=np.zeros_like(t), where=norm > 0)
        seen[:, k] = t @ products
        u = (residual @ weights[:, :, None])[:, :, 0]
        directions[:, k] = u / np.sqrt(length)[:, None]
        loadings = t[:, None] @ residual
        residual -= t[:, :, None] * loadings
        explained -= seen[:, k, :, None] * loadings
        squares = squares - np.square(loadings[:, 0])
    predicted = np.empty((n_splits, test.shape[1], responses.shape[1]))
    for s, k in enumerate(n_found.tolist()):
        inner = np.linalg.solve(seen[s, :k] @ directions[s, :k].T, scores[s, :k] @ first[s])
        # They sum to 0 over images, so that of the kernel's means only that over columns counts.
        coefficients = directions[s, :k].T @ inner
        deviations = products[test[s]] - share[s] @ products
        predicted[s] = deviations @ coefficients + intercept[s]
    return predicted, n_found


def _times(products: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """K Y of each split, (split, image, neuron)."""
    out = np.empty_like(right)
    for given, made in zip(right, out, strict=True):
        np.matmul(products, given, out=made)
    return out


def _leading(covariance: NDArray[np.float64], varies: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights (neuron,) of the responses in the next component, by the power method.

    It starts from the first neuron that varies. The squared change of the features' weights, which
    decides when it ends, is 2 - 2 w'w_old, and w'w_old a matter of the covariance alone.
    """
    weights = np.zeros(len(covariance))
    if not varies.any():
        return weights
    weights[varies.argmax()] = 1.0
    before = None
    for _ in range(STEPS):
        image = covariance @ weights
        length = weights @ image
        if length <= 0 or len(weights) == 1:
            return weights
        if before is not None:
            old_image, old_length = before
            if 2 - 2 * (weights @ old_image) / np.sqrt(length * old_length) < TOLERANCE:
                return weights
        before, last = (image, length), weights
        weights = image / np.linalg.norm(image)
    return last
