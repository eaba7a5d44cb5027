"""How well neurons are predicted from a layer by regression: Brain-Score's neural predictivity.

A linear map from the layer's features to each neuron is fitted to nine tenths of the images, ten
times; its predictions for the others are correlated with the responses, neuron by neuron. The score
is the median over neurons, averaged over the ten splits (Schrimpf et al. 2018; Kubilius et al.
2019, Appendix B.1). What it could be at most is in :mod:`~regularized_training.alignment.ceiled`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from predictive_model.config import Config, Seed
from predictive_model.scoring.bootstrap import percentile_intervals
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.regression import RidgePath
from regularized_training.alignment.gram import Gram, as_gram, require_same_images
from regularized_training.alignment.pls import kernel_pls

Method = Literal["pls", "ridge", "linear"]
Over = Literal["neurons", "images", "splits"]
Penalty = Annotated[float, Field(gt=0)]
PENALTIES = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-4, 15))  # .01 to 10 million
CONSTANT, ALIKE = "constant", "alike"


class PredictivityConfig(Config):
    """How neurons are predicted from features. The defaults are those of Brain-Score.

    Attributes
    ----------
    method : {"pls", "ridge", "linear"}
        Partial least squares with ``n_components``; ridge regression; or least squares without a
        penalty, for fewer features than images, as
        :meth:`~regularized_training.alignment.gram.Gram.projected` makes them.
    n_components : int
        Of partial least squares.
    penalties : tuple of float
        Of ridge regression, on the squared weights of features as they are. Each neuron, in each
        split, has the one with the smallest squared error when each training image is left out in
        turn; a single one is taken as it is. Brain-Score's ``ridge`` has 1.
    n_splits : int
    train_fraction : float
        Of the images.
    seed : int
        Of the splits.
    """

    method: Method = "pls"
    n_components: int = Field(default=25, ge=1)
    penalties: tuple[Penalty, ...] = Field(default=PENALTIES, min_length=1)
    n_splits: int = Field(default=10, ge=1)
    train_fraction: float = Field(default=0.9, gt=0, lt=1)
    seed: Seed = 1


@dataclass(frozen=True)
class Gap:
    """Something about a neuron that a reader of the scores has to know.

    Attributes
    ----------
    neuron : int
    kind : {"constant", "alike"}
        It responds to all images alike, so it has no score and counts nowhere; or its responses are
        those of an earlier neuron, and both count.
    why : str
    """

    neuron: int
    kind: str
    why: str


@dataclass(frozen=True, eq=False)
class Predictivity:
    """Predictions of held-out responses, and how they correlate with them.

    Attributes
    ----------
    config : PredictivityConfig
    correlation : (split, neuron) float64
        Pearson correlation over a split's held-out images. NaN for a neuron that is constant over
        all images; 0 for one that is constant over these.
    test : (split, image) int64
        Which images each split held out.
    predicted, observed : (split, image, neuron) float64
        Of these images.
    penalty : (split, neuron) float64
        Of ridge regression; else NaN.
    gaps : tuple of Gap
    """

    config: PredictivityConfig
    correlation: NDArray[np.float64]
    test: NDArray[np.int64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    penalty: NDArray[np.float64]
    gaps: tuple[Gap, ...]

    @property
    def by_neuron(self) -> NDArray[np.float64]:
        """(neuron,) mean correlation over splits; NaN for a constant neuron."""
        return self.correlation.mean(0)

    @property
    def by_split(self) -> NDArray[np.float64]:
        """(split,) median correlation over neurons."""
        return np.nanmedian(self.correlation, axis=1)

    @property
    def score(self) -> float:
        """Mean over splits of the median over neurons."""
        return float(self.by_split.mean())

    def interval(
        self, over: Over, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """Percentile bootstrap of the score over neurons, held-out images or splits.

        The maps stay as they were fitted. Splits share most of their images, so the interval over
        them says how far the score hangs on the division, not how it would be with other images.
        """
        known, by_split = ~np.isnan(self.correlation[0]), self.by_split

        def of_neurons(drawn: NDArray[np.int64]) -> float:
            return float(np.median(self.correlation[:, known][:, drawn], axis=1).mean())

        def of_splits(drawn: NDArray[np.int64]) -> float:
            return float(by_split[drawn].mean())

        images = np.unique(self.test)
        place = np.searchsorted(images, self.test)
        said, seen = self.predicted[:, :, known], self.observed[:, :, known]

        def of_images(drawn: NDArray[np.int64]) -> float:
            times = np.bincount(drawn, minlength=len(images))
            rows = [np.repeat(np.arange(len(p)), times[p]) for p in place]
            found = [
                np.median(correlation(said[k, rows[k]], seen[k, rows[k]]))
                for k in range(len(rows))
                if len(rows[k]) > 1
            ]
            return float(np.mean(found)) if found else np.nan

        statistics, n = {
            "neurons": (of_neurons, int(known.sum())),
            "images": (of_images, len(images)),
            "splits": (of_splits, len(by_split)),
        }[over]
        low, high = percentile_intervals(
            statistics, n, confidence=confidence, n_resamples=n_resamples, seed=seed
        )[0]
        return float(low), float(high)


def predictivity(
    features: NDArray | Gram,
    responses: NDArray,
    config: PredictivityConfig | None = None,
    stratify_by: ArrayLike | None = None,
) -> Predictivity:
    """Predict neurons from a layer's features, on images that the map was not fitted to.

    Parameters
    ----------
    features : (image, feature) array or Gram
        A layer's features, or their inner products, which are all that is used.
    responses : (image, neuron)
        To the same images, averaged over repeats.
    config : PredictivityConfig, optional
    stratify_by : (image,), optional
        What each image shows; every split then holds out its share of each. Brain-Score stratifies
        by object.

    Returns
    -------
    Predictivity

    Raises
    ------
    ValueError
        If numbers of images differ, anything is NaN or infinite, all neurons are constant, or there
        are too few images for the splits, the components or the features.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(100, 40))
    >>> responses = features[:, :8] + rng.normal(size=(100, 8))
    >>> found = predictivity(features, responses, PredictivityConfig(n_components=5))
    >>> found.correlation.shape, bool(0.3 < found.score < 0.8)
    ((10, 8), True)
    """
    config = config or PredictivityConfig()
    responses = np.asarray(responses, np.float64)
    gaps = _checked(features, responses)
    train, test = splits(len(responses), config, stratify_by)
    known = np.setdiff1d(
        np.arange(responses.shape[1]), [gap.neuron for gap in gaps if gap.kind == CONSTANT]
    )
    observed = responses[test]
    predicted = np.broadcast_to(responses.mean(0), observed.shape).copy()
    penalty = np.full((len(test), responses.shape[1]), np.nan)
    found = np.full(penalty.shape, np.nan)
    of_splits = _predictions(features, responses[:, known], config, train, test)
    for k, (said, chosen) in enumerate(of_splits):
        predicted[k][:, known], penalty[k, known] = said, chosen
        found[k, known] = correlation(said, observed[k][:, known])
    return Predictivity(config, found, test, predicted, observed, penalty, gaps)


def splits(
    n_images: int, config: PredictivityConfig, stratify_by: ArrayLike | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images to fit to and images to test on, each (split, image), as Brain-Score draws them."""
    # Imported here, as it takes a second, and a plan of this needs none of it.
    from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

    kind = ShuffleSplit if stratify_by is None else StratifiedShuffleSplit
    labels = None if stratify_by is None else np.asarray(stratify_by)
    if labels is not None:
        require_same_images([n_images, len(labels)], ["responses", "stratify_by"])
    drawn = kind(config.n_splits, train_size=config.train_fraction, random_state=config.seed)
    try:
        pairs = list(drawn.split(np.zeros(n_images), labels))
    except ValueError as error:
        raise ValueError(
            f"images: {n_images} cannot be split {config.train_fraction:g} to "
            f"{1 - config.train_fraction:g}"
            + ("" if labels is None else f" with each of {len(np.unique(labels))} labels in both")
            + f" ({error}); give more images, or stratify by less"
        ) from error
    train, test = (np.stack(part) for part in zip(*pairs, strict=True))
    if test.shape[1] < 2:
        raise ValueError(
            f"images: {n_images}, of which {test.shape[1]} would be held out; expected at least 2 "
            "to correlate over"
        )
    return train, test


def _checked(features: NDArray | Gram, responses: NDArray[np.float64]) -> tuple[Gap, ...]:
    """What is to be said of neurons; raises where nothing can be predicted."""
    if responses.ndim != 2 or not responses.size:
        raise ValueError(f"responses: shape {responses.shape}, expected (image, neuron)")
    require_same_images([len(features), len(responses)], ["features", "responses"])
    wrong = ~np.isfinite(responses)
    if wrong.any():
        image, neuron = np.argwhere(wrong)[0]
        raise ValueError(
            f"responses: {int(wrong.sum())} are NaN or infinite, the first of them of neuron "
            f"{neuron} to image {image}; leave out such images or neurons"
        )
    varies = np.ptp(responses, axis=0) > 0
    if not varies.any():
        raise ValueError("responses: every neuron is constant over the images; expected signals")
    gaps = [
        Gap(int(n), CONSTANT, "responds to all images alike: there is nothing to predict")
        for n in np.flatnonzero(~varies)
    ]
    _, first = np.unique(responses, axis=1, return_inverse=True)
    seen: dict[int, int] = {}
    for neuron, kind in enumerate(first.ravel().tolist()):
        if varies[neuron] and seen.setdefault(kind, neuron) != neuron:
            why = f"responds exactly as neuron {seen[kind]} does: is it there twice?"
            gaps.append(Gap(neuron, ALIKE, why))
    return tuple(sorted(gaps, key=lambda gap: gap.neuron))


def _predictions(
    features: NDArray | Gram,
    responses: NDArray[np.float64],
    config: PredictivityConfig,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64] | float]]:
    """Split by split what is predicted (image, neuron), and the penalties (neuron,)."""
    n_train = train.shape[1]
    n_features = features.n_features if isinstance(features, Gram) else features.shape[1]
    if config.method == "pls":
        fewest = min(n_train, n_features)
        if config.n_components > fewest:
            raise ValueError(
                f"n_components: {config.n_components}, expected 1 to {fewest}, as there are "
                f"{n_train} training images and {n_features} features"
            )
        gram = as_gram(features).products
        said, _ = kernel_pls(gram, responses, train, test, config.n_components)
        yield from ((of_split, np.nan) for of_split in said)
        return
    x = _explicit(features)
    if config.method == "linear" and x.shape[1] >= n_train:
        raise ValueError(
            f"features: {x.shape[1]} directions with {n_train} training images, which least "
            "squares would fit to the noise; project the features (Gram.projected), or take "
            "ridge or pls"
        )
    penalties = config.penalties if config.method == "ridge" else (0.0,)
    for fit, held_out in zip(train, test, strict=True):
        mean = x[fit].mean(0)
        yield _ridge(x[fit] - mean, responses[fit], x[held_out] - mean, penalties)


def _explicit(features: NDArray | Gram) -> NDArray[np.float64]:
    """Features (image, direction), no more than there are images, with the same inner products."""
    if isinstance(features, Gram) or features.shape[1] > len(features):
        return as_gram(features).factor
    x = np.asarray(features, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"features: {int((~np.isfinite(x)).sum())} are NaN or infinite")
    return x


def _ridge(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    others: NDArray[np.float64],
    penalties: tuple[float, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions for other features, and each neuron's penalty of those given."""
    path = RidgePath(x, y)
    scale = np.square(x).sum() / len(x) or 1.0  # a penalty of the path is relative to this
    relative = [penalty / scale for penalty in penalties]
    best = np.zeros(y.shape[1], np.int64)
    if len(relative) > 1:
        errors = [np.square(path.left_out(penalty) - y).sum(0) for penalty in relative]
        best = np.argmin(errors, axis=0)
    said = np.empty((len(others), y.shape[1]))
    for k, predicted in enumerate(path.predictions(others, relative)):
        said[:, best == k] = predicted[:, best == k]
    return said, np.array(penalties)[best]


def memory_needed(n_images: int, n_neurons: int, config: PredictivityConfig | None = None) -> int:
    """Bytes that :func:`predictivity` holds at most from a Gram matrix, besides that matrix.

    It does not depend on the number of features. What a Gram matrix itself takes to make is in
    :func:`~regularized_training.alignment.gram.plan_grams`.

    Examples
    --------
    >>> round(memory_needed(2560, 168) / 1e9, 2)
    0.18
    """
    config = config or PredictivityConfig()
    n_train = round(config.train_fraction * n_images)
    kept = 2 * config.n_splits * (n_images - n_train + 1) * n_neurons
    if config.method == "pls":
        # Of all splits responses, what is left of them, their products and one more on its way,
        # and vectors of images; of one split the products of its test images.
        vectors = 4 * n_neurons + 3 * config.n_components + 6
        at_work = config.n_splits * (n_images * vectors + n_neurons**2)
        return 8 * (2 * kept + at_work + 2 * n_images * (n_images - n_train))
    # The factor, and of a split its features, products, axes and the workspace of the latter.
    return 8 * (kept + 3 * n_images**2 + 7 * n_train**2 + 8 * n_train * n_neurons)
