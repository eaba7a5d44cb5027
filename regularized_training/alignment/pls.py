"""Partial least squares from inner products of images, for features of any number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regularized_training.alignment.gram import centred

TOLERANCE = 1e-6  # of the squared change of the weights, at which the power method stops
STEPS = 500  # of the power method at most
ROUNDING = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class KernelPLS:
    """PLS regression of responses on features that are known by their inner products.

    The algorithm of Rosipal and Trejo 2001, "Kernel partial least squares regression in reproducing
    kernel Hilbert space", with a linear kernel: NIPALS in which neither features nor weights are
    written out, so that a component costs one product of the kernel with a vector. Weights come
    from the power method with the start, the tolerance and the number of steps of scikit-learn's
    ``PLSRegression(scale=False)``, as its default tolerance is coarse enough to be seen in the
    results; so predictions are the same but for rounding.

    Attributes
    ----------
    coefficients : (image, neuron) float64
        By which an image's inner products with the training images are multiplied.
    along : (image,) float64
        Mean of each training image's inner products with all.
    intercept : (neuron,) float64
        Mean training response.
    n_components : int
        Fewer than were asked for where features or responses have fewer directions.
    """

    coefficients: NDArray[np.float64]
    along: NDArray[np.float64]
    intercept: NDArray[np.float64]
    n_components: int

    @classmethod
    def fit(
        cls, products: NDArray[np.float64], responses: NDArray[np.float64], n_components: int
    ) -> KernelPLS:
        """Of inner products (image, image), less any mean, and responses (image, neuron)."""
        kernel, intercept = centred(products), responses.mean(0)
        scores = np.zeros((n_components, len(kernel)))  # t, orthonormal
        seen = np.zeros_like(scores)  # K t
        directions = np.zeros_like(scores)  # u, of which weights are X'u
        residual = responses - intercept
        explained = kernel @ residual  # K Y, as Y is deflated
        reach = ROUNDING * np.trace(kernel)
        k = 0
        while k < n_components:
            residual[:, (np.abs(residual) < 10 * ROUNDING).all(0)] = 0.0
            covariance = residual.T @ explained  # Y'X X'Y
            weights = _leading(covariance, residual)
            length = weights @ covariance @ weights
            if length <= reach * np.square(residual).sum():
                break
            t = explained @ weights
            for _ in range(2):  # twice, as what is left may be small beside what is taken off
                t -= (scores[:k] @ t) @ scores[:k]
            t /= np.linalg.norm(t)
            scores[k], seen[k] = t, kernel @ t
            directions[k] = residual @ weights / np.sqrt(length)
            loadings = t @ residual
            residual -= np.outer(t, loadings)
            explained -= np.outer(seen[k], loadings)
            k += 1
        scores, seen, directions = scores[:k], seen[:k], directions[:k]
        inner = np.linalg.solve(seen @ directions.T, scores @ (responses - intercept))
        return cls(directions.T @ inner, products.mean(0), intercept, k)

    def predict(self, products: NDArray[np.float64]) -> NDArray[np.float64]:
        """Responses (other, neuron) from inner products (other, image) with the training images."""
        deviations = products - products.mean(1, keepdims=True) - self.along + self.along.mean()
        return deviations @ self.coefficients + self.intercept


def _leading(covariance: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (neuron,) of the responses in the next component, by the power method.

    It starts from the first neuron that varies. The squared change of the features' weights, which
    decides when it ends, is 2 - 2 w'w_old, and w'w_old a matter of the covariance alone.
    """
    varies = (np.abs(residual) > ROUNDING).any(0)
    weights = np.zeros(len(covariance))
    if not varies.any():
        return weights
    weights[varies.argmax()] = 1.0
    image, before = covariance @ weights, None
    for _ in range(STEPS):
        length = weights @ image
        if length <= 0:
            return weights
        if len(weights) == 1:
            return weights
        if before is not None:
            old_image, old_length = before
            if 2 - 2 * (weights @ old_image) / np.sqrt(length * old_length) < TOLERANCE:
                return weights
        before = image, length
        following = image / np.linalg.norm(image)
        last, weights = weights, following
        image = covariance @ weights
    return last
