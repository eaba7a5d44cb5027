"""What an encoder has to beat: a linear-nonlinear model, and a ridge regression on Gabor energies.

Both are tuned on the validation tier, as an encoder is, and learn from the train tier only. They
go by the image alone; an image that was shown more than once counts once, with its mean response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from predictive_model.config import Config
from predictive_model.recordings.gabor import GaborEnergies
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.recordings.recording import Normalisation, Recording, RecordingError, Tier
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.regression import BrokenLine, RidgePath

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

PENALTIES = tuple(float(penalty) for penalty in np.geomspace(1e-3, 300, 23))
CHUNK = 128  # images whose features are computed at a time; bounds the memory


class LinearNonlinearConfig(Config):
    """What :func:`fit_linear_nonlinear` chooses from.

    Parameters
    ----------
    squares : tuple of int, pixels
        Sides of the squares over which pixels are averaged first.
    penalties : tuple of float
        Of the squared filter, relative to the mean squared norm of what it is applied to.
    stiffness : tuple of float
        Of the output nonlinearity, from almost any broken line to a straight one.
    """

    squares: tuple[Count, ...] = Field((2, 4, 8), min_length=1)
    penalties: tuple[Positive, ...] = Field(PENALTIES, min_length=1)
    stiffness: tuple[Positive, ...] = Field((1.0, 10.0, 100.0, 1e6), min_length=1)


class GaborRidgeConfig(Config):
    """What :func:`fit_gabor_ridge` chooses from.

    Parameters
    ----------
    banks : tuple of GaborConfig
    grids : tuple of tuple of int
        Sides of the grids of places over which maps are averaged; those of one inner tuple are
        used together.
    pixels : tuple of int, pixels
        Energies do not tell bright from dark. Beside them pixels are used, averaged over squares of
        this side; 0 for none.
    penalties : tuple of float
        Of the squared weights, relative to the mean squared norm of the features.
    """

    banks: tuple[GaborConfig, ...] = Field(
        (GaborConfig(exponent=0.5), GaborConfig(exponent=0.25)), min_length=1
    )
    grids: tuple[Annotated[tuple[Count, ...], Field(min_length=1)], ...] = Field(
        ((4,), (1, 2, 4, 8)), min_length=1
    )
    pixels: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 8), min_length=1)
    penalties: tuple[Positive, ...] = Field(PENALTIES, min_length=1)


class Features(Protocol):
    """What a regression goes by."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Groups of features, each (n, ...), of normalised images (n, channels, height, width)."""


@dataclass(frozen=True)
class PixelFeatures:
    """Pixels averaged over squares; what is left over at the edges is dropped."""

    square: int

    def __call__(self, images: Tensor) -> list[Tensor]:
        """One group."""
        return [F.avg_pool2d(images, self.square)]


@dataclass(frozen=True)
class GaborFeatures:
    """Gabor energies averaged to one grid or several, and pixels unless ``pixels`` is 0."""

    energies: GaborEnergies
    grids: tuple[int, ...]
    pixels: int

    def __call__(self, images: Tensor) -> list[Tensor]:
        """A group for each grid, and one of pixels."""
        return self.of_maps(_in_chunks(self.energies, images), images)

    def of_maps(self, maps: Tensor, images: Tensor) -> list[Tensor]:
        """The same from maps of energy that are known already."""
        # A grid finer than the maps would only repeat them.
        height, width = maps.shape[2:]
        sizes = sorted({(min(grid, height), min(grid, width)) for grid in self.grids})
        groups = [F.adaptive_avg_pool2d(maps, size) for size in sizes]
        return groups + ([F.avg_pool2d(images, self.pixels)] if self.pixels else [])


@dataclass(frozen=True, eq=False)
class FittedBaseline:
    """A baseline that was fitted to a recording.

    Attributes
    ----------
    chosen : dict
        The setting that predicted the validation tier best.
    validation_correlation : float
        With the mean response to each image of the validation tier, averaged over neurons.
    features : Features
    scalers : list of StandardScaler
        One for each group of features.
    coefficients : (feature, neuron)
    intercept : (neuron,)
    nonlinearity : BrokenLine or None
        What follows the linear prediction.
    normalisation : Normalisation
        Of the recording.
    image_shape : (channels, height, width)
    """

    chosen: Mapping[str, object]
    validation_correlation: float
    features: Features
    scalers: Sequence[StandardScaler]
    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]
    nonlinearity: BrokenLine | None
    normalisation: Normalisation
    image_shape: tuple[int, int, int]

    def predict(self, images: NDArray) -> NDArray[np.float32]:
        """Expected responses (n, neuron) to images (n, channels, height, width).

        Images and responses are on the scale of the recording.
        """
        images = np.asarray(images)
        if images.shape[1:] != self.image_shape:
            sizes = ", ".join(map(str, self.image_shape))
            raise ValueError(f"images: shape {images.shape}, expected (n, {sizes})")
        groups = self.features(torch.from_numpy(self.normalisation.images(images)))
        linear = _scaled(self.scalers, groups) @ self.coefficients + self.intercept
        if self.nonlinearity is not None:
            linear = self.nonlinearity(linear)
        return linear.astype(np.float32)


def fit_linear_nonlinear(
    recording: Recording, config: LinearNonlinearConfig | None = None
) -> FittedBaseline:
    """A linear filter for each neuron, followed by a nonlinearity of its own.

    The filter is a ridge regression on pixels. Natural images have little fine detail, so the
    penalty makes filters smooth. The nonlinearity is a broken line, fitted to what the regression
    predicts for each train image from the others.

    Raises
    ------
    RecordingError
        If the train or the validation tier has fewer than two images.

    Examples
    --------
    >>> baseline = fit_linear_nonlinear(scan)  # doctest: +SKIP
    >>> predicted = baseline.predict(scan.images[scan.images_of("test")])  # doctest: +SKIP
    """
    config = config or LinearNonlinearConfig()
    train, validation = _Answers.of(recording, "train"), _Answers.of(recording, "validation")
    candidates = _pixel_candidates(config, train.images, validation.images)
    best = _tuned(candidates, config.penalties, train, validation)
    left_out = best.path.left_out(best.penalty)
    lines = {s: BrokenLine.fit(left_out, train.responses, s) for s in config.stiffness}
    scores = {s: validation.score(line(best.predicted)) for s, line in lines.items()}
    stiffness = max(scores, key=scores.__getitem__)
    return best.fitted(recording, lines[stiffness], {"stiffness": stiffness}, scores[stiffness])


def fit_gabor_ridge(recording: Recording, config: GaborRidgeConfig | None = None) -> FittedBaseline:
    """A ridge regression of each neuron's response on Gabor energies.

    All neurons share the penalty: chosen for each of them on some fifty images, it predicts other
    images worse.

    Raises
    ------
    RecordingError
        If the train or the validation tier has fewer than two images.
    ValueError
        If a Gabor is too large for the images.

    Examples
    --------
    >>> baseline = fit_gabor_ridge(scan)  # doctest: +SKIP
    >>> predicted = baseline.predict(scan.images[scan.images_of("test")])  # doctest: +SKIP
    """
    config = config or GaborRidgeConfig()
    train, validation = _Answers.of(recording, "train"), _Answers.of(recording, "validation")
    candidates = _gabor_candidates(config, train.images, validation.images)
    return _tuned(candidates, config.penalties, train, validation).fitted(recording)


@dataclass(frozen=True, eq=False)
class _Answers:
    """Normalised images (n, channels, height, width) of a tier, mean responses (n, neuron)."""

    images: Tensor
    responses: NDArray[np.float64]

    @classmethod
    def of(cls, recording: Recording, tier: Tier) -> _Answers:
        images = recording.images_of(tier)
        if len(images) < 2:
            raise RecordingError(
                f"tier: {len(images)} images of {recording.name!r} are in the {tier} tier, "
                "expected at least 2 to fit and to tune a baseline"
            )
        return cls(
            torch.from_numpy(recording.normalisation.images(recording.images[images])),
            recording.grouped_trials(images).mean(),
        )

    def score(self, predicted: NDArray[np.float64]) -> float:
        return float(correlation(predicted, self.responses).mean())


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Features, what they are called, and what they are for train and validation images."""

    chosen: dict[str, object]
    features: Features
    train: list[Tensor]
    validation: list[Tensor]


def _pixel_candidates(
    config: LinearNonlinearConfig, train: Tensor, validation: Tensor
) -> Iterator[_Candidate]:
    side = min(train.shape[2:])
    squares = [square for square in config.squares if square <= side]
    if not squares:
        raise ValueError(
            f"squares: {config.squares}, expected one that fits into images of {side} pixels"
        )
    for square in squares:
        features = PixelFeatures(square)
        yield _Candidate({"square": square}, features, features(train), features(validation))


def _gabor_candidates(
    config: GaborRidgeConfig, train: Tensor, validation: Tensor
) -> Iterator[_Candidate]:
    channels, height, width = train.shape[1:]
    if max(config.pixels) > min(height, width):
        raise ValueError(
            f"pixels: {max(config.pixels)}, expected at most {min(height, width)}, the shorter "
            "side of the images"
        )
    for bank in config.banks:
        energies = GaborEnergies(bank, (channels, height, width))
        maps = [_in_chunks(energies, images) for images in (train, validation)]
        for grids, pixels in product(config.grids, config.pixels):
            features = GaborFeatures(energies, grids, pixels)
            groups = map(features.of_maps, maps, (train, validation))
            chosen = {"bank": bank, "grids": grids, "pixels": pixels}
            yield _Candidate(chosen, features, *groups)


@dataclass(frozen=True, eq=False)
class _Tuned:
    """The best regression: its features and penalty, and what it predicts for validation."""

    chosen: dict[str, object]
    features: Features
    scalers: list[StandardScaler]
    path: RidgePath
    penalty: float
    predicted: NDArray[np.float64]
    score: float

    def fitted(
        self,
        recording: Recording,
        nonlinearity: BrokenLine | None = None,
        chosen: Mapping[str, object] | None = None,
        score: float | None = None,
    ) -> FittedBaseline:
        return FittedBaseline(
            chosen={**self.chosen, "penalty": self.penalty, **(chosen or {})},
            validation_correlation=self.score if score is None else score,
            features=self.features,
            scalers=self.scalers,
            coefficients=self.path.coefficients(self.penalty),
            intercept=self.path.intercept,
            nonlinearity=nonlinearity,
            normalisation=recording.normalisation,
            image_shape=recording.image_shape,
        )


def _tuned(
    candidates: Iterable[_Candidate],
    penalties: Sequence[float],
    train: _Answers,
    validation: _Answers,
) -> _Tuned:
    """The candidate and the penalty with the best mean validation correlation; ties: the first."""
    best: _Tuned | None = None
    for candidate in candidates:
        scalers = [StandardScaler().fit(_flat(group)) for group in candidate.train]
        path = RidgePath(_scaled(scalers, candidate.train), train.responses)
        seen = _scaled(scalers, candidate.validation)
        for penalty, predicted in zip(penalties, path.predictions(seen, penalties), strict=True):
            score = validation.score(predicted)
            if best is None or score > best.score:
                best = _Tuned(
                    candidate.chosen, candidate.features, scalers, path, penalty, predicted, score
                )
    assert best is not None  # the configurations refuse empty lists
    return best


def _in_chunks(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What a function makes of images, a part of them at a time."""
    with torch.inference_mode():
        return torch.cat([function(part) for part in images.split(CHUNK)])


def _flat(group: Tensor) -> NDArray[np.float64]:
    return group.flatten(1).numpy().astype(np.float64)


def _scaled(scalers: Sequence[StandardScaler], groups: Sequence[Tensor]) -> NDArray[np.float64]:
    """Features side by side, each group with variances that sum to 1 on train images."""
    parts = [s.transform(_flat(g)) for s, g in zip(scalers, groups, strict=True)]
    return np.concatenate([part / np.sqrt(part.shape[1]) for part in parts], axis=1)
