"""Moments of responses and predictions: what all scores and ceilings of a population follow from.

Per neuron, everything is a function of a few averages over images, in which an image counts either
as often as it has trials or once. So the scores of any selection of images, or of a thousand
selections, take one matrix product for each average, and no look at the trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.repeats import Repeats

ROUNDING = 1e-12  # of the mean square: a variance below is that of a constant

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictionStatistics:
    """What each image contributes to moments of predictions, (image, neuron).

    Attributes
    ----------
    mean : mean prediction, from each neuron's mean on.
    spread : mean squared deviation of an image's predictions from their mean.
    shared : mean product of the deviations of predictions and of trials.
    error : mean squared error.
    """

    mean: Array
    spread: Array
    shared: Array
    error: Array


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """What each image contributes to moments.

    Attributes
    ----------
    counts : (image, 1)
        Its trials.
    mean : (image, neuron)
        Mean over trials, from each neuron's mean on.
    spread : (image, neuron)
        Mean squared deviation of trials from their mean.
    predicted : PredictionStatistics or None
    """

    counts: Array
    mean: Array
    spread: Array
    predicted: PredictionStatistics | None = None

    @classmethod
    def of(cls, trials: Repeats, predicted: Repeats | None = None) -> ImageStatistics:
        """Of trials, at least one for each image, and of predictions for these trials."""
        n = trials.counts[:, None].astype(np.float64)
        mean, deviation = _mean_and_deviation(trials)
        statistics = cls(n, mean, trials.sums(deviation**2) / n)
        if predicted is None:
            return statistics
        error = trials.values.astype(np.float64) - predicted.values
        of_predicted, spread = _mean_and_deviation(predicted)
        return replace(
            statistics,
            predicted=PredictionStatistics(
                mean=of_predicted,
                spread=trials.sums(spread**2) / n,
                shared=trials.sums(deviation * spread) / n,
                error=trials.sums(error**2) / n,
            ),
        )

    @cached_property
    def variance(self) -> Array:
        """(image, neuron) unbiased variance over repeats; NaN where there is one."""
        n = self.counts
        return self.spread * np.divide(n, n - 1, out=np.full_like(n, np.nan), where=n > 1)

    @property
    def repeated(self) -> bool:
        """Are there two images or more, and each was shown twice or more?"""
        return len(self.counts) > 1 and bool((self.counts > 1).all())

    def moments(self, weights: Array | None = None) -> Moments:
        """Moments of selections of images; of all of them, each once, by default.

        Parameters
        ----------
        weights : (selection, image)
            How often each selection holds each image.
        """
        if weights is None:
            weights = np.ones((1, len(self.counts)))
        return Moments(self, weights)


def _mean_and_deviation(trials: Repeats) -> tuple[Array, Array]:
    """Means over repeats, from each neuron's mean on, and each trial's deviation from them."""
    values = trials.values.astype(np.float64)
    # From the smallest value on, so that all moments of a constant neuron are exactly 0.
    values -= values.min(0)
    mean = Repeats(values, trials.counts).mean()
    values -= mean[trials.image]
    return mean - mean.mean(0), values


@dataclass(frozen=True, eq=False)
class Moments:
    """Scores and ceilings of selections of images; all are (selection, neuron).

    Variances without a word on their divisor are unbiased. See the functions of the same names in
    :mod:`~predictive_model.scoring.ceilings`, :mod:`~predictive_model.scoring.reliability` and
    :mod:`~predictive_model.scoring.scores`.
    """

    images: ImageStatistics
    weights: Array

    # -- averages --------------------------------------------------------------------------

    @cached_property
    def n_images(self) -> Array:
        """(selection, 1)."""
        return self.weights.sum(1, keepdims=True)

    @cached_property
    def n_trials(self) -> Array:
        """(selection, 1)."""
        return self.weights @ self.images.counts

    def over_images(self, values: Array) -> Array:
        """Average in which each image counts once."""
        return self.weights @ values / self.n_images

    def over_trials(self, values: Array) -> Array:
        """Average in which each trial counts once."""
        return self.weights @ (self.images.counts * values) / self.n_trials

    # -- of repeats ------------------------------------------------------------------------

    @cached_property
    def _of_means(self) -> Array:
        """Variance of the means over repeats, each trial counting once; divisor n."""
        m = self.images.mean
        return _variance(self.over_trials(m**2), self.over_trials(m))

    @cached_property
    def _of_trials(self) -> Array:
        """Variance of trials, divisor n."""
        return self._of_means + self.over_trials(self.images.spread)

    @property
    def total(self) -> Array:
        """Variance of trials."""
        return self._of_trials * self.n_trials / (self.n_trials - 1)

    @cached_property
    def noise(self) -> Array:
        """Variance over repeats, each trial counting once."""
        return self.over_trials(self.images.variance)

    @property
    def noise_of_images(self) -> Array:
        """Variance over repeats, each image counting once: eta_a^2 of Eq. 1 of Li et al. 2019."""
        return self.over_images(self.images.variance)

    @cached_property
    def image_variance(self) -> Array:
        """Variance of the means over repeats, each image counting once."""
        m = self.images.mean
        variance = _variance(self.over_images(m**2), self.over_images(m))
        return variance * self.n_images / (self.n_images - 1)

    @cached_property
    def signal_power(self) -> Array:
        """SP of Eq. 1 of Schoppe et al. 2016, for any numbers of repeats."""
        left = self.over_images(self.images.variance / self.images.counts)
        return self.image_variance - left

    def cc_max(self, n_repeats: float | None = None) -> Array:
        """CC_max of Schoppe et al. 2016; 0 where the signal power is not positive."""
        power, variance = self.signal_power, self.image_variance
        if n_repeats is not None:
            variance = power + self.noise_of_images / n_repeats
        return np.sqrt(_ratio(power, variance, power > 0, 0.0))

    @cached_property
    def fev(self) -> Array:
        """FEV of Cadena et al. 2019; 0 for a constant neuron."""
        total = self.total
        return _ratio(total - self.noise, total, total > 0, 0.0)

    @cached_property
    def oracle(self) -> Array:
        """Correlation of trials with the mean of the image's other trials.

        That mean is m - (y - m) / (n - 1) for a trial y of an image of mean m.
        """
        n, variance = self.images.counts, self.images.variance
        covariance = self._of_means - self.over_trials(variance / n)
        of_others = self._of_means + self.over_trials(variance / (n * (n - 1)))
        return _correlation(covariance, of_others, self._of_trials)

    @property
    def conservative_oracle(self) -> Array:
        """Correlation of trials with the mean of all of the image's trials."""
        return _correlation(self._of_means, self._of_means, self._of_trials)

    # -- of predictions --------------------------------------------------------------------

    @property
    def _predicted(self) -> PredictionStatistics:
        if self.images.predicted is None:
            raise ValueError("predicted: these moments are of responses only")
        return self.images.predicted

    @cached_property
    def single_trial(self) -> Array:
        """Correlation of predictions with trials."""
        m, p = self.images.mean, self._predicted
        product = self.over_trials(m * p.mean + p.shared)
        covariance = product - self.over_trials(m) * self.over_trials(p.mean)
        of_means = _variance(self.over_trials(p.mean**2), self.over_trials(p.mean))
        return _correlation(covariance, of_means + self.over_trials(p.spread), self._of_trials)

    @cached_property
    def to_average(self) -> Array:
        """CC_abs of Schoppe et al. 2016: correlation of the means over repeats."""
        m, p = self.images.mean, self._predicted.mean
        covariance = self.over_images(m * p) - self.over_images(m) * self.over_images(p)
        of_predicted = _variance(self.over_images(p**2), self.over_images(p))
        of_means = _variance(self.over_images(m**2), self.over_images(m))
        return _correlation(covariance, of_predicted, of_means)

    @property
    def cc_norm(self) -> Array:
        """CC_norm of Schoppe et al. 2016; NaN where the signal power is not positive."""
        power = self.signal_power
        return self.to_average * np.sqrt(_ratio(self.image_variance, power, power > 0, np.nan))

    def feve(self, threshold: float) -> Array:
        """FEVE of Cadena et al. 2019; NaN where FEV is below the threshold."""
        explainable = self.total - self.noise
        kept = (explainable >= threshold * self.total) & (explainable > 0)
        error = self.over_trials(self._predicted.error)
        return 1 - _ratio(error - self.noise, explainable, kept, np.nan)


def _variance(square: Array, mean: Array) -> Array:
    """Mean square less squared mean, and 0 where rounding is all that there is."""
    variance = square - mean**2
    return np.where(variance > ROUNDING * square, variance, 0.0)


def _ratio(a: Array, b: Array, where: NDArray[np.bool_], otherwise: float) -> Array:
    return np.divide(a, b, out=np.full_like(a, otherwise), where=where)


def _correlation(covariance: Array, of_x: Array, of_y: Array) -> Array:
    """0, not NaN, where either does not vary."""
    return _ratio(covariance, np.sqrt(of_x * of_y), (of_x > 0) & (of_y > 0), 0.0)
