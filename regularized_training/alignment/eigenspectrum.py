"""How fast the variance of a layer's principal components falls: Stringer et al. 2019."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regularized_training.alignment.eigenspectrum_config import EigenspectrumConfig
from regularized_training.alignment.gram import FEATURE_BYTES, NEGLIGIBLE, Gram
from regularized_training.alignment.layer_grams import gram_of_layers
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, in_batches


@dataclass(frozen=True)
class PowerLaw:
    """A line through logarithms: variance = scale * rank^-exponent.

    ``r2`` is that of the logarithms, weighted as in the fit: how far this is a power law at all.
    """

    exponent: float
    scale: float
    r2: float


@dataclass(frozen=True, eq=False)
class Eigenspectrum:
    """Of one layer.

    Attributes
    ----------
    layer : str
    n_features : int
    variances : (component,) float64
        Of the layer's principal components over the images, as shares of their sum, the largest
        first. As many as are not rounding.
    law : PowerLaw or None
        Fitted over the ranks that were asked for. An exponent above 1 is that of a smooth
        representation (Stringer et al. 2019). None where components are fewer than ranks.
    """

    layer: str
    n_features: int
    variances: NDArray[np.float64]
    law: PowerLaw | None


def eigenspectra(
    network: nn.Module,
    layers: tuple[str, ...],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: EigenspectrumConfig,
    device: str | torch.device = "cpu",
    *,
    feature_bytes: int = FEATURE_BYTES,
) -> list[Eigenspectrum]:
    """Eigenspectrum of each layer over images, and its exponent.

    Variances of principal components are eigenvalues of the Gram matrix over images, so that what
    is held grows with the number of images and not with the layer. A network says the same of an
    image each time, so that variance need not be cross-validated as that of neurons is; one with
    noise of its own has its noise counted.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    layers : tuple of str
        As :class:`~regularized_training.networks.layer_reader.LayerReader` names them.
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    config : EigenspectrumConfig
        Whose own choice of layers is not read.
    device : str or torch.device
    feature_bytes : int
        See :func:`~regularized_training.alignment.layer_grams.gram_of_layers`.

    Raises
    ------
    LayerError
        If there is no such layer.
    ValueError
        If images are fewer than asked for, or no layer has as many components as are fitted.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    batches = (
        to_float(torch.from_numpy(images[part])) for part in in_batches(chosen, config.batch_size)
    )
    grams = gram_of_layers(
        network, layers, batches, len(chosen), device=device, feature_bytes=feature_bytes
    )
    spectra = {layer: spectrum_of(gram) for layer, gram in grams.items()}
    if all(len(variances) < config.last_rank for variances in spectra.values()):
        known = ", ".join(f"{layer} {len(variances)}" for layer, variances in spectra.items())
        raise ValueError(
            f"eigenspectrum.last_rank: {config.last_rank}, but no layer has as many principal "
            f"components over {len(chosen)} images: {known}; lower it, or name other layers"
        )
    return [
        Eigenspectrum(layer, grams[layer].n_features, variances, _law(variances, config))
        for layer, variances in spectra.items()
    ]


def _law(variances: NDArray[np.float64], config: EigenspectrumConfig) -> PowerLaw | None:
    if len(variances) < config.last_rank:
        return None
    return power_law(variances, config.first_rank, config.last_rank)


def spectrum_of(gram: Gram) -> NDArray[np.float64]:
    """Variances of principal components as shares of their sum, the largest first.

    Those that are rounding are left out; none are left of features that do not vary.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(2000, 3)) * [3, 1, 1]
    >>> spectrum_of(Gram.of(features)).round(1).tolist()
    [0.8, 0.1, 0.1]
    """
    power = np.linalg.eigvalsh(gram.products)[::-1]
    power = power[(power > NEGLIGIBLE * power[0]) & (power > 0)]
    shares: NDArray[np.float64] = power / power.sum()
    return shares


def cross_validated_variances(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Variances of what two repeats of the same images share, as shares of their sum.

    Cross-validated principal components (Stringer et al. 2019): axes are those of one repeat, the
    variance along each is the covariance of both repeats, which noise that is independent between
    them does not enlarge; the mean of both ways round. From inner products of images, never of
    features.

    Parameters
    ----------
    first, second : (image, feature) arrays
        Responses of the same neurons to the same images, in the same order.

    Returns
    -------
    (component,) float64
        By falling variance of a repeat with its noise. Where little is shared they may be below 0,
        which :func:`power_law` refuses.

    Raises
    ------
    ValueError
        If the two are of different shapes, or share no variance.
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"repeats: shapes {first.shape} and {second.shape}, expected (image, feature) twice"
        )
    x, y = (part - part.mean(0) for part in (first.astype(np.float64), second.astype(np.float64)))
    shared = x @ y.T
    several = []
    for one in (x, y):
        power, axes = np.linalg.eigh(one @ one.T)
        axes = axes[:, power > NEGLIGIBLE * power[-1]][:, ::-1]
        several.append((axes * (shared @ axes)).sum(0))
    n = min(map(len, several))
    variances: NDArray[np.float64] = np.mean([one[:n] for one in several], axis=0)
    if not variances.sum() > 0:
        raise ValueError("repeats: they share no variance; are images in the same order in both?")
    return variances / variances.sum()


def power_law(variances: NDArray[np.float64], first_rank: int, last_rank: int) -> PowerLaw:
    """The power law variance ~ rank^-alpha, by weighted least squares of logarithms.

    A rank weighs 1 / rank, as in the program that Stringer et al. 2019 published with their paper:
    ranks lie closer to each other on the logarithmic axis the higher they are, and would otherwise
    decide alone.

    Parameters
    ----------
    variances : (component,) float64
        Above 0, the largest first.
    first_rank, last_rank : int
        Counted from 1, ends included.

    Examples
    --------
    >>> law = power_law(3.0 * np.arange(1, 101) ** -1.5, 11, 100)
    >>> round(law.exponent, 6), round(law.scale, 6), round(law.r2, 6)
    (1.5, 3.0, 1.0)
    """
    if not 1 <= first_rank < last_rank <= len(variances):
        raise ValueError(
            f"ranks: {first_rank} to {last_rank}, expected two or more of the {len(variances)} "
            "components there are"
        )
    ranks = np.arange(first_rank, last_rank + 1)
    below = int((variances[ranks - 1] <= 0).sum())
    if below:
        raise ValueError(
            f"variances: {below} of ranks {first_rank} to {last_rank} are 0 or less, expected all "
            "above 0; lower last_rank"
        )
    x, y = np.log(ranks), np.log(variances[ranks - 1])
    weight = 1 / ranks
    weight = weight / weight.sum()
    dx, dy = x - weight @ x, y - weight @ y
    slope = (weight * dx) @ dy / ((weight * dx) @ dx)
    rest, total = weight @ (dy - slope * dx) ** 2, weight @ dy**2
    r2 = 1 - rest / total if total > 0 else 1.0
    return PowerLaw(float(-slope), float(np.exp(weight @ y - slope * (weight @ x))), float(r2))
