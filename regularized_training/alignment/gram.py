"""Inner products of images' features, from which a layer of any size is compared with a brain.

Partial least squares, ridge regression, similarity matrices, alignment and shape distances need of
a layer no more than the inner products of all pairs of images: of 2,560 images 52 MB, however many
features the layer has. Features pass by in blocks, and what is held meanwhile is known beforehand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

COLUMNS = 2048  # features that are multiplied at a time
FEATURE_BYTES = 2**30  # of features that are held in memory; those of further layers go to a file
NEGLIGIBLE = 1e-12  # of the largest variance: below, a direction is rounding


@dataclass(frozen=True, eq=False)
class Gram:
    """Inner products of the features of all pairs of images, less the mean over images.

    Attributes
    ----------
    products : (image, image) float64
        Of features less each one's mean over these images.
    n_features : int
    sums : (image,) float64
        Of all features of an image, with their means.
    on_mean : (image,) float64
        Inner product of an image's features, less their means, with these means.
    squared_mean : float
        Of the means with themselves.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(6, 50))
    >>> centred = features - features.mean(0)
    >>> bool(np.allclose(Gram.of(features).products, centred @ centred.T))
    True
    """

    products: NDArray[np.float64]
    n_features: int
    sums: NDArray[np.float64]
    on_mean: NDArray[np.float64]
    squared_mean: float

    def __len__(self) -> int:
        return len(self.products)

    @classmethod
    def of(cls, features: NDArray) -> Gram:
        """Of features (image, feature), which may be a memory map."""
        features = np.asanyarray(features)
        if features.ndim != 2:
            raise ValueError(f"features: shape {features.shape}, expected (image, feature)")
        return gram_of_columns(
            features[:, first : first + COLUMNS] for first in range(0, features.shape[1], COLUMNS)
        )

    def uncentred(self) -> NDArray[np.float64]:
        """Inner products (image, image) of features as they are."""
        return self.products + self.on_mean[:, None] + self.on_mean + self.squared_mean

    def of_images(self, images: NDArray[np.int64]) -> Gram:
        """Of some of the images, less the mean over these."""
        products = self.products[np.ix_(images, images)]
        along = products.mean(1)
        # The new mean is the old one and, beside it, the mean of these images' deviations.
        moved = self.on_mean[images]
        return Gram(
            centred(products),
            self.n_features,
            self.sums[images],
            along - along.mean() + moved - moved.mean(),
            float(self.squared_mean + 2 * moved.mean() + along.mean()),
        )

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """(image, direction): features of their own, as far apart as the layer's in every pair.

        The layer's features, rotated onto their principal axes, the first with the most variance.
        """
        power, axes = np.linalg.eigh(self.products)
        kept = power > NEGLIGIBLE * power[-1]
        return np.ascontiguousarray((axes[:, kept] * np.sqrt(power[kept]))[:, ::-1])

    def projected(self, others: NDArray[np.int64], n_components: int) -> NDArray[np.float64]:
        """Scores of all images on the first principal components of some of them.

        So Kubilius et al. 2019 reduce features: on the 1,000 components of 1,000 images that no
        neuron was shown. Give features of both sets of images, and the places of these.

        Parameters
        ----------
        others : (k,) int
        n_components : int
            At most k - 1.

        Returns
        -------
        (image, n_components) float64
            Less the mean over ``others``. Fewer columns where their features have fewer directions.
        """
        if not 1 <= n_components < len(others):
            raise ValueError(
                f"n_components: {n_components}, expected 1 to {len(others) - 1}, one less than the "
                "images that decide the components"
            )
        within = self.products[np.ix_(others, others)]
        power, axes = np.linalg.eigh(centred(within))
        first = np.arange(len(power))[::-1][:n_components]
        first = first[power[first] > NEGLIGIBLE * power[-1]]
        across = self.products[:, others]
        across = across - across.mean(1, keepdims=True) - within.mean(0) + within.mean()
        return across @ (axes[:, first] / np.sqrt(power[first]))


def centred(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products (image, image) of features less their mean, from those with any other mean."""
    along = products.mean(0)
    return products - along - along[:, None] + along.mean()


def gram_of_columns(blocks: Iterable[NDArray]) -> Gram:
    """Of a layer's features that come some features at a time.

    Parameters
    ----------
    blocks : iterable of (image, k) arrays
        Of the same images in the same order, with any k. Products are in double precision.

    Raises
    ------
    ValueError
        If a feature is NaN or infinite, numbers of images differ, or there is no block.
    """
    total: NDArray[np.float64] | None = None
    n_features, squared_mean = 0, 0.0
    for block in blocks:
        if total is None:
            n = len(block)
            total = np.zeros((n, n), order="F")
            sums, on_mean = np.zeros(n), np.zeros(n)
        if block.ndim != 2 or len(block) != n:
            raise ValueError(f"features: a block of shape {block.shape}, expected ({n}, feature)")
        columns = block.T.astype(np.float64, order="C")  # (feature, image)
        mean = columns.mean(1)
        if not np.isfinite(mean).all():
            wrong = n_features + np.flatnonzero(~np.isfinite(mean))
            raise ValueError(
                f"features: {len(wrong)} are NaN or infinite for some image, the first of them "
                f"feature {wrong[0]}; expected finite numbers"
            )
        sums += columns.sum(0)
        columns -= mean[:, None]
        on_mean += mean @ columns
        squared_mean += float(mean @ mean)
        n_features += len(mean)
        # Half of the products, as they are symmetric.
        total = dsyrk(1.0, columns.T, beta=1.0, c=total, lower=1, overwrite_c=1)
    if total is None:
        raise ValueError("features: none, expected at least one block")
    total += np.tril(total, -1).T
    return Gram(total.T, n_features, sums, on_mean, squared_mean)


@dataclass(frozen=True)
class GramPlan:
    """What Gram matrices of some layers take, before any image is shown.

    Attributes
    ----------
    memory_bytes : int
        That are held at most, besides what the network itself needs for a batch.
    file_bytes : int
        Of a temporary file.
    in_file : tuple of str
        Layers whose features go there.
    """

    memory_bytes: int
    file_bytes: int
    in_file: tuple[str, ...]


def plan_grams(
    n_features: Mapping[str, int], n_images: int, feature_bytes: int = FEATURE_BYTES
) -> GramPlan:
    """What :func:`~regularized_training.alignment.layer_grams.gram_of_layers` will take.

    Parameters
    ----------
    n_features : mapping of str to int
        Of each layer.
    n_images : int
    feature_bytes : int
        Of features to hold in memory. The smallest layers are, as many as fit.

    Examples
    --------
    >>> plan = plan_grams({"V1": 100_000, "IT": 25_000}, 2560)
    >>> plan.in_file, round(plan.memory_bytes / 1e9, 1), round(plan.file_bytes / 1e9, 1)
    (('V1',), 0.5, 1.0)
    """
    sizes = {layer: 4 * n_images * _padded(n) for layer, n in n_features.items()}
    held, in_file = 0, set()
    for layer in sorted(sizes, key=lambda name: sizes[name]):
        if held + sizes[layer] <= feature_bytes:
            held += sizes[layer]
        else:
            in_file.add(layer)
    # Of one layer at a time its sum, one triangle of it and a block; of the others the products.
    at_work = 8 * n_images * (n_images + 2 * COLUMNS)
    return GramPlan(
        held + at_work + 8 * n_images**2 * len(sizes),
        sum(sizes[layer] for layer in in_file),
        tuple(layer for layer in sizes if layer in in_file),
    )


def _padded(n_features: int) -> int:
    """Features of whole blocks."""
    return -(-n_features // COLUMNS) * COLUMNS


class StoredFeatures:
    """Features of some layers that come image by image, and are read feature by feature.

    Each block of features lies in one piece, so that a file is read from front to back.

    Parameters
    ----------
    n_features : mapping of str to int
        Of each layer.
    n_images : int
    feature_bytes : int
        See :func:`plan_grams`.
    folder : Path, optional
        For the temporary file; the system's own by default. It is gone after :meth:`close`.
    """

    def __init__(
        self,
        n_features: Mapping[str, int],
        n_images: int,
        feature_bytes: int = FEATURE_BYTES,
        folder: Path | None = None,
    ) -> None:
        self.n_features, self.n_images = dict(n_features), n_images
        in_file = plan_grams(n_features, n_images, feature_bytes).in_file
        self._folder = tempfile.TemporaryDirectory(dir=folder) if in_file else None
        self._arrays: dict[str, NDArray[np.float32]] = {}
        for number, (layer, n) in enumerate(self.n_features.items()):
            shape = (_padded(n) // COLUMNS, n_images, COLUMNS)
            if self._folder is not None and layer in in_file:
                path = Path(self._folder.name) / str(number)
                self._arrays[layer] = np.memmap(path, np.float32, "w+", shape=shape)
            else:
                self._arrays[layer] = np.empty(shape, np.float32)

    def write(self, layer: str, first: int, features: NDArray[np.float32]) -> None:
        """Features (batch, feature) of the images from number ``first`` on."""
        array, n = self._arrays[layer], self.n_features[layer]
        if features.shape[1] != n or first + len(features) > self.n_images:
            raise ValueError(
                f"features: {layer} has {features.shape[1]} of images {first} to "
                f"{first + len(features)}, expected {n} features of {self.n_images} images; all "
                "images need one size"
            )
        for number, block in enumerate(array):
            part = features[:, number * COLUMNS : (number + 1) * COLUMNS]
            block[first : first + len(part), : part.shape[1]] = part

    def gram(self, layer: str) -> Gram:
        """Of a layer whose images have all come; its features are let go."""
        array, n = self._arrays.pop(layer), self.n_features[layer]
        return gram_of_columns(
            block[:, : n - number * COLUMNS] for number, block in enumerate(array)
        )

    def close(self) -> None:
        """Remove the temporary file."""
        self._arrays.clear()
        if self._folder is not None:
            self._folder.cleanup()


def grams_of_batches(
    batches: Iterable[Mapping[str, NDArray]],
    n_images: int,
    *,
    feature_bytes: int = FEATURE_BYTES,
    folder: Path | None = None,
) -> dict[str, Gram]:
    """Of several layers whose features come together, some images at a time.

    Parameters
    ----------
    batches : iterable of mappings of str to (batch, feature) arrays
        All features of the same images, by layer.
    n_images, feature_bytes, folder
        See :func:`gram_of_batches`.
    """
    stored, done = None, 0
    try:
        for batch in batches:
            if stored is None:
                sizes = {layer: features.shape[1] for layer, features in batch.items()}
                stored = StoredFeatures(sizes, n_images, feature_bytes, folder)
            for layer, features in batch.items():
                stored.write(layer, done, np.asarray(features, np.float32))
            done += len(features)
        if stored is None or done != n_images:
            raise ValueError(f"batches: of {done} images, expected n_images, {n_images}")
        return {layer: stored.gram(layer) for layer in stored.n_features}
    finally:
        if stored is not None:
            stored.close()


def gram_of_batches(
    batches: Iterable[NDArray],
    n_images: int,
    *,
    feature_bytes: int = FEATURE_BYTES,
    folder: Path | None = None,
) -> Gram:
    """Of a layer's features that come some images at a time, each with all of its features.

    Parameters
    ----------
    batches : iterable of (batch, feature) arrays
    n_images : int
        In all batches together.
    feature_bytes, folder
        See :class:`StoredFeatures`.
    """
    named = ({"": batch} for batch in batches)
    return grams_of_batches(named, n_images, feature_bytes=feature_bytes, folder=folder)[""]


def as_gram(features: NDArray | Gram) -> Gram:
    """Features (image, feature), or their Gram matrix, as the latter."""
    return features if isinstance(features, Gram) else Gram.of(features)


def require_same_images(lengths: Sequence[int], names: Sequence[str]) -> None:
    """Raise a ValueError unless all are of as many images."""
    if len(set(lengths)) > 1:
        said = ", ".join(f"{name} of {n}" for name, n in zip(names, lengths, strict=True))
        raise ValueError(f"images: {said}; expected the same images, in the same order")
