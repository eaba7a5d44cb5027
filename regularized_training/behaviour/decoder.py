"""What objects a network sees in images: a linear decoder on the features of one layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PUBLISHED_STRENGTH = 1e-3  # inverse of the penalty, in Brain-Score


class ObjectDecoder:
    """Logistic regression from features to the probabilities of objects (Kubilius et al. 2019).

    Features are standardised, by their mean and standard deviation over the images it is fitted to;
    the penalty is on the squared weights; probabilities are a softmax over objects. It is fitted to
    images of the objects that people were not asked about, usually from the layer before the
    classes. So Brain-Score does it, by the same library.

    Parameters
    ----------
    strength : float
        C of scikit-learn's ``LogisticRegression``: the weight of the images against the penalty.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1, 2], 20)
    >>> features = np.eye(3)[labels] + 0.3 * rng.normal(size=(60, 3))
    >>> decoder = ObjectDecoder(1.0).fit(features, labels)
    >>> decoder.probabilities(np.eye(3)).argmax(1)
    array([0, 1, 2])
    """

    def __init__(self, strength: float = PUBLISHED_STRENGTH) -> None:
        if not strength > 0:
            raise ValueError(f"strength: {strength}, expected a positive number")
        self.strength = strength
        self._fitted: Any = None

    def fit(self, features: NDArray, labels: NDArray[np.int64]) -> ObjectDecoder:
        """Fit to features (image, feature) and objects (image,), numbered from 0 without gaps."""
        # Imported here, as it takes a second, and matrices of people need none of it.
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        features, labels = _checked(features), np.asarray(labels)
        if labels.shape != (len(features),):
            raise ValueError(
                f"labels: shape {labels.shape} with {len(features)} images, expected as many"
            )
        found = np.unique(labels)
        if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
            raise ValueError(
                f"labels: {len(found)} objects numbered {found.min()} to {found.max()}, expected "
                "at least 2, numbered from 0 with images of each"
            )
        regression = LogisticRegression(C=self.strength, solver="newton-cg")
        self._fitted = make_pipeline(StandardScaler(), regression).fit(features, labels)
        return self

    def probabilities(self, features: NDArray) -> NDArray[np.float64]:
        """(image, object) probabilities from features (image, feature); rows sum to 1."""
        if self._fitted is None:
            raise ValueError("decoder: not fitted yet, call fit first")
        features = _checked(features)
        expected = self._fitted.n_features_in_
        if features.shape[1] != expected:
            raise ValueError(f"features: {features.shape[1]} of them, expected {expected}")
        return np.asarray(self._fitted.predict_proba(features), np.float64)


def _checked(features: NDArray) -> NDArray[np.float64]:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(
            f"features: shape {features.shape}, {int((~np.isfinite(features)).sum())} of them NaN "
            "or infinite; expected (image, feature), finite"
        )
    return features
