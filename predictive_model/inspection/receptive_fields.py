"""Receptive fields of an encoder's neurons: maps, their centres and sizes, and the core's filters.

A linear map, the mean gradient of the response, shows a simple cell's stripes and nearly vanishes
for a complex cell, whose gradients point both ways. The sensitivity map, their root mean square,
shows where either of them looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from predictive_model.encoders.readout import FactorisedReadout
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.inspection.single_neurons import (
    SingleNeurons,
    grid_positions,
    neuron_indices,
    normalised_images,
)


@dataclass(frozen=True, eq=False)
class ReceptiveFields:
    """Maps of some neurons, in responses per grey value.

    Attributes
    ----------
    neurons : (neuron,) int
    linear : (neuron, channels, height, width) float32
        Gradient of the response with respect to the image, averaged over images.
    sensitivity : (neuron, channels, height, width) float32
        Root mean square of the gradient over images.
    """

    neurons: NDArray[np.int64]
    linear: NDArray[np.float32]
    sensitivity: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Moments:
    """Centres and widths of maps, in pixels; the first pixel is at (0, 0).

    Attributes
    ----------
    centre : (map, 2)
        Horizontal and vertical.
    covariance : (map, 2, 2)
        Of the Gaussian envelope.
    """

    centre: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @property
    def size(self) -> NDArray[np.float64]:
        """Standard deviation of a round envelope of the same area, (map,) pixels."""
        return np.linalg.det(self.covariance).clip(0) ** 0.25


@dataclass(frozen=True)
class MapGeometry:
    """Where the core's map lies on the image.

    Attributes
    ----------
    shape : (height, width)
        Of the map.
    step : (horizontal, vertical)
        Pixels of the image from one place of the map to the next.
    start : (horizontal, vertical)
        Pixel of the image, counted from 0, on which the map's first place is centred. Half a pixel
        where a place is the average of an even number of pixels.
    """

    shape: tuple[int, int]
    step: tuple[float, float]
    start: tuple[float, float]

    @property
    def pixels_per_unit(self) -> NDArray[np.float64]:
        """Horizontal and vertical pixels to a unit of a Gaussian readout's grid, (2,)."""
        return np.array(self.step) * (np.array(self.shape[::-1]) - 1) / 2

    def pixels(self, places: NDArray) -> NDArray[np.float64]:
        """Pixels of the image, (..., 2), at places of the map, (..., 2), both counted from 0."""
        return np.array(self.start) + np.array(self.step) * np.asarray(places, np.float64)


def map_geometry(fitted: FittedEncoder) -> MapGeometry:
    """Where the core's map lies on the image, from kernels, padding, downsampling and front end.

    Place u of a convolution of stride 1 is centred on place u + (d (k - 1)) / 2 - p of its input,
    with kernel k, dilation d and padding p. Place u of an image averaged over squares of s pixels
    is centred on pixel s u + (s - 1) / 2. A front end averages over squares as well; where their
    side does not divide that of its images, s is not whole, and places are up to half a pixel of
    these off.
    """
    trimmed = 0.0
    for convolution in fitted.encoder.core.modules():
        if isinstance(convolution, nn.Conv2d):
            reach = convolution.dilation[0] * (convolution.kernel_size[0] - 1) / 2
            trimmed += reach - float(convolution.padding[0])
    factor, front_end = fitted.config.downsample, fitted.encoder.front_end
    sides = [side // factor for side in fitted.image_shape[1:]]
    seen = sides if front_end is None else front_end.out_shape[1:]
    height, width = (int(places - 2 * trimmed) for places in seen)
    down, across = (factor * side / places for side, places in zip(sides, seen, strict=True))
    return MapGeometry(
        shape=(height, width),
        step=(across, down),
        start=(across * trimmed + (across - 1) / 2, down * trimmed + (down - 1) / 2),
    )


def readout_positions(fitted: FittedEncoder) -> NDArray[np.float64]:
    """Where each neuron looks at mean gaze, (neuron, 2) pixels: horizontal, vertical.

    A Gaussian readout's position plus the shift at mean pupil position; the centre of mass of a
    factorised readout's mask. The core's kernels may be off-centre, and a map of the receptive
    field with them.

    Examples
    --------
    >>> readout_positions(fitted).shape  # doctest: +SKIP
    (60, 2)
    """
    geometry = map_geometry(fitted)
    height, width = geometry.shape
    readout = fitted.encoder.readout[fitted.data_key]
    if isinstance(readout, FactorisedReadout):
        masks = readout.masks.detach().cpu().numpy().reshape(-1, height, width)
        return geometry.pixels(_mean_and_covariance(masks)[0])
    grid = grid_positions(fitted).double().numpy()
    size = np.array([width, height])
    if readout.align_corners:
        return geometry.pixels((grid + 1) / 2 * (size - 1))
    return geometry.pixels(((grid + 1) * size - 1) / 2)


def receptive_fields(
    fitted: FittedEncoder,
    images: NDArray,
    neurons: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> ReceptiveFields:
    """Linear and sensitivity maps of neurons, from gradients at images.

    Pupil position and behaviour are at their means. For a model that is not blind to it, a single
    grey image gives the gradient there.

    Parameters
    ----------
    fitted : FittedEncoder
    images : (n, channels, height, width) uint8 or float32
        A hundred natural images are enough; the time is proportional to images times neurons.
    neurons : sequence of int, optional
        All by default.
    batch_size : int
        Pairs of image and neuron at a time.

    Raises
    ------
    ValueError
        If the images have another shape than the encoder's, or there is no such neuron.

    Examples
    --------
    >>> fields = receptive_fields(fitted, recording.images[:100], [3, 7])  # doctest: +SKIP
    >>> moments(fields.sensitivity).centre.shape  # doctest: +SKIP
    (2, 2)
    """
    chosen = neuron_indices(fitted, neurons)
    inputs = torch.from_numpy(normalised_images(fitted, images)).to(device)
    single = SingleNeurons(fitted, device=device)
    n, k = len(inputs), len(chosen)
    total = torch.zeros(k, *fitted.image_shape, device=device)
    squares = torch.zeros_like(total)
    for start in range(0, n * k, batch_size):
        pair = torch.arange(start, min(start + batch_size, n * k), device=device)
        mine = pair // n
        neuron = torch.from_numpy(chosen).to(device)[mine]
        rows = inputs[pair % n].requires_grad_()
        responses = single.responses(single.drive(rows, neuron), neuron)
        (gradient,) = torch.autograd.grad(responses.sum(), rows)
        total.index_add_(0, mine, gradient)
        squares.index_add_(0, mine, gradient.square())
    scale = fitted.normalisation.image_std
    return ReceptiveFields(
        neurons=chosen,
        linear=(total / n / scale).cpu().numpy(),
        sensitivity=((squares / n).sqrt() / scale).cpu().numpy(),
    )


def moments(maps: NDArray) -> Moments:
    """Centre and width of the Gaussian whose square is distributed like the squares of a map.

    Squares make little of what is small and far away. Those of a Gaussian are sqrt(2) narrower
    than itself, which is undone.

    Parameters
    ----------
    maps : (map, channels, height, width)
        A map that is 0 everywhere is centred in the middle and has no width.

    Examples
    --------
    >>> y, x = np.mgrid[:24, :32]
    >>> gaussian = np.exp(-((x - 20) ** 2 + (y - 9) ** 2) / (2 * 3**2))
    >>> found = moments(gaussian[None, None])
    >>> found.centre.round(1).tolist(), found.size.round(1).tolist()
    ([[20.0, 9.0]], [3.0])
    """
    if maps.ndim != 4:
        raise ValueError(f"maps: shape {maps.shape}, expected (map, channels, height, width)")
    centre, covariance = _mean_and_covariance((np.asarray(maps, np.float64) ** 2).sum(1))
    return Moments(centre, 2 * covariance)


def _mean_and_covariance(weights: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of places (x, y) under weights (map, height, width) that are not negative."""
    weights = np.asarray(weights, np.float64)
    height, width = weights.shape[1:]
    total = weights.sum((1, 2))
    blank = total <= 0
    share = weights / np.where(blank, 1, total)[:, None, None]
    x, y = np.arange(width), np.arange(height)
    centre = np.stack([share.sum(1) @ x, share.sum(2) @ y], axis=1)
    centre[blank] = (width - 1) / 2, (height - 1) / 2
    dx, dy = x - centre[:, :1], y - centre[:, 1:]
    xx = (share.sum(1) * dx**2).sum(1)
    yy = (share.sum(2) * dy**2).sum(1)
    xy = np.einsum("nyx,ny,nx->n", share, dy, dx)
    return centre, np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2)


def first_layer_filters(fitted: FittedEncoder) -> NDArray[np.float32]:
    """Filters that the core puts on the image, coarse ones first.

    Returns
    -------
    (filter, channels, height, width) float32
        Each divided by its largest absolute weight, since batch normalisation takes out the scale;
        in the order of the spatial frequency at which their power is centred. Channels of
        behaviour are left out. A pixel is one of the image after downsampling.

    Raises
    ------
    ValueError
        If the core sees the maps of a front end in place of the image.

    Examples
    --------
    >>> first_layer_filters(fitted).shape  # doctest: +SKIP
    (32, 1, 15, 15)
    """
    if fitted.encoder.front_end is not None:
        raise ValueError(
            "front_end: this encoder's core sees the maps of fixed filters, and its weights on "
            "these are no filters on the image; look at receptive_fields instead"
        )
    first = next(m for m in fitted.encoder.core.modules() if isinstance(m, nn.Conv2d))
    filters = first.weight.detach().cpu().numpy()[:, : fitted.image_shape[0]]
    largest = np.abs(filters).max((1, 2, 3), keepdims=True)
    filters = (filters / np.where(largest > 0, largest, 1)).astype(np.float32)
    size = 4 * max(filters.shape[2:])
    power = (np.abs(np.fft.fft2(filters, s=(size, size))) ** 2).sum(1)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    total = power.sum((1, 2))
    centred = (power * frequency).sum((1, 2)) / np.where(total > 0, total, 1)
    return filters[np.argsort(centred, kind="stable")]
