"""Most exciting images: what the encoder says each neuron would most like to see.

Gradient ascent on the predicted response, as in Walker et al. 2019 and Bashivan et al. 2019, from
several random starts and for many neurons at once. All images have the same root-mean-square
contrast, so that none excites by being stronger, and stay within the grey values of a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from predictive_model.config import Config
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.inspection.single_neurons import (
    SingleNeurons,
    neuron_indices,
    normalised_images,
)

# A neuron's image has converged if its last steps, this part of all, added hardly anything.
LAST_PART = 0.2
HARDLY_ANYTHING = 0.01


class MostExcitingImageConfig(Config):
    """How most exciting images are found.

    Parameters
    ----------
    contrast : float
        Root-mean-square deviation from grey, the mean of the encoder's images, over all pixels and
        in units of those images' standard deviation. As receptive fields fill a small part of an
        image, 0.2 brings the pixels within them near to the ends of the range.
    pixel_range : (lowest, highest)
        Grey values that images may have.
    steps : int
    step_size : float
        Length of the first step relative to that of the image; it falls to 0 linearly.
    smoothing : float
        Standard deviation of the Gaussian by which gradients are smoothed, in pixels of the images
        after downsampling; 0 for none. It keeps out fine structure that excites the encoder
        and no neuron, and makes stripes wider: docs/looking-inside.md says by how much.
    starts : int
        Random images to start from; the best one counts.
    """

    contrast: float = Field(0.2, gt=0)
    pixel_range: tuple[float, float] = (0.0, 255.0)
    steps: int = Field(50, ge=1)
    step_size: float = Field(0.5, gt=0)
    smoothing: float = Field(1.0, ge=0)
    starts: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> MostExcitingImageConfig:
        low, high = self.pixel_range
        if low >= high:
            raise ValueError(f"pixel_range: ({low}, {high}), expected (lowest, highest)")
        return self


@dataclass(frozen=True, eq=False)
class MostExcitingImages:
    """Images and what they do to the encoder.

    Attributes
    ----------
    neurons : (neuron,) int
    images : (neuron, channels, height, width) float32
        Grey values.
    responses : (neuron,) float32
        Predicted, in the units of the recording, at mean gaze and behaviour.
    trace : (step + 1, neuron) float32
        Responses on the way there.
    converged : (neuron,) bool
        Whether the last fifth of the steps raised the response by less than a hundredth.
    """

    neurons: NDArray[np.int64]
    images: NDArray[np.float32]
    responses: NDArray[np.float32]
    trace: NDArray[np.float32]
    converged: NDArray[np.bool_]


def most_exciting_images(
    fitted: FittedEncoder,
    neurons: Sequence[int] | NDArray[np.integer] | None = None,
    config: MostExcitingImageConfig | None = None,
    *,
    seed: int = 0,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
) -> MostExcitingImages:
    """The image that excites each neuron most, among those of one contrast.

    Parameters
    ----------
    fitted : FittedEncoder
    neurons : sequence of int, optional
        All by default, which for thousands of them takes a GPU.
    config : MostExcitingImageConfig, optional
    seed : int
        Of the random starts. A neuron starts from the same images whichever others there are.
    batch_size : int
        Images at a time.

    Raises
    ------
    ValueError
        If there is no such neuron, or the grey values do not reach as far as the contrast.

    Examples
    --------
    >>> found = most_exciting_images(fitted, [3, 7], seed=1)  # doctest: +SKIP
    >>> found.images.shape, found.converged  # doctest: +SKIP
    ((2, 1, 36, 64), array([ True,  True]))
    """
    config = config or MostExcitingImageConfig()
    chosen = neuron_indices(fitted, neurons)
    limits = _limits(fitted, config)
    smoothing = config.smoothing * fitted.config.downsample
    single = SingleNeurons(fitted, device=device)
    starts = _starts(fitted, config, seed).to(device)
    at_once = max(1, batch_size // config.starts)
    parts = [
        _ascend(single, torch.from_numpy(part).to(device), starts, limits, smoothing, config)
        for part in np.split(chosen, range(at_once, len(chosen), at_once))
    ]
    images = torch.cat([part[0] for part in parts])
    trace = torch.cat([part[1] for part in parts], dim=1)
    norm = fitted.normalisation
    before, last = trace[-1 - int(np.ceil(LAST_PART * config.steps))], trace[-1]
    grey = images * norm.image_std + norm.image_mean
    return MostExcitingImages(
        neurons=chosen,
        images=grey.clamp(*config.pixel_range).cpu().numpy(),
        responses=last.cpu().numpy(),
        trace=trace.cpu().numpy(),
        converged=(last - before <= HARDLY_ANYTHING * last.abs()).cpu().numpy(),
    )


def at_contrast(
    fitted: FittedEncoder, images: NDArray, config: MostExcitingImageConfig | None = None
) -> NDArray[np.float32]:
    """Images, (n, channels, height, width) in grey values, at the contrast of most exciting ones.

    Natural images are a fair comparison only at the same contrast.
    """
    config = config or MostExcitingImageConfig()
    norm = fitted.normalisation
    inputs = torch.from_numpy(normalised_images(fitted, images))
    scaled = to_contrast(inputs, config.contrast, _limits(fitted, config))
    grey = scaled * norm.image_std + norm.image_mean
    return grey.clamp(*config.pixel_range).numpy()


def _ascend(
    single: SingleNeurons,
    neurons: Tensor,
    starts: Tensor,
    limits: tuple[float, float],
    smoothing: float,
    config: MostExcitingImageConfig,
) -> tuple[Tensor, Tensor]:
    """Best images (neuron, channels, height, width) and their traces (step + 1, neuron)."""
    rows = neurons.repeat_interleave(len(starts))
    images = to_contrast(starts.repeat(len(neurons), 1, 1, 1), config.contrast, limits)
    trace = []
    for step in range(config.steps + 1):
        images.requires_grad_()
        drive = single.drive(images, rows)
        trace.append(single.responses(drive, rows).detach())
        if step == config.steps:
            break
        # Of the drive and not of the response, which saturates where neurons are silent.
        (gradient,) = torch.autograd.grad(drive.sum(), images)
        gradient = blur(gradient, smoothing)
        size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
        direction = gradient / size.clamp(min=torch.finfo(size.dtype).tiny)
        length = config.step_size * (1 - step / config.steps) * config.contrast
        images = to_contrast(images.detach() + length * direction, config.contrast, limits)
    traces = torch.stack(trace).view(len(trace), len(neurons), len(starts))
    best = traces[-1].argmax(1)
    each = torch.arange(len(neurons), device=best.device)
    found = images.detach().view(len(neurons), len(starts), *images.shape[1:])
    return found[each, best], traces[:, each, best]


def to_contrast(images: Tensor, contrast: float, limits: tuple[float, float]) -> Tensor:
    """Images scaled around 0 and clipped, so that their root mean square is the contrast.

    Clipping takes contrast away, so that the other pixels have to be scaled by more, and some of
    these may then have to be clipped. This is repeated until no further pixel is.

    Parameters
    ----------
    images : (n, channels, height, width) tensor
        An image that is 0 everywhere stays as it is.
    contrast : float
        Less than the distance from 0 to either limit.
    limits : (lowest, highest)
        Below and above 0.
    """
    low, high = limits
    flat = images.flatten(1)
    wanted = contrast**2 * flat.shape[1]
    free = torch.ones_like(flat, dtype=torch.bool)
    for _ in range(flat.shape[1]):
        ends = torch.where(flat > 0, high, low).square()
        left = wanted - (ends * ~free).sum(1, keepdim=True)
        power = (flat.square() * free).sum(1, keepdim=True)
        scaled = flat * (left.clamp(min=0) / power.clamp(min=torch.finfo(flat.dtype).tiny)).sqrt()
        still = free & (scaled >= low) & (scaled <= high)
        if bool((still == free).all()):
            break
        free = still
    clipped = torch.where(flat > 0, high, torch.where(flat < 0, low, 0.0))
    return torch.where(free, scaled, clipped).view_as(images)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Images smoothed by a Gaussian, which weighs only what is within the image."""
    if sigma == 0:
        return images
    reach = int(np.ceil(3 * sigma))
    place = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-((place / sigma) ** 2) / 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    for shape, padding in (((1, 1, -1, 1), (reach, 0)), ((1, 1, 1, -1), (0, reach))):
        weights = kernel.view(shape).expand(channels, -1, -1, -1)
        images = F.conv2d(images, weights, padding=padding, groups=channels)
    return images


def _starts(fitted: FittedEncoder, config: MostExcitingImageConfig, seed: int) -> Tensor:
    """Smooth noise, (start, channels, height, width)."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(config.starts, *fitted.image_shape, generator=rng)
    return blur(noise, max(config.smoothing, 1.0) * fitted.config.downsample)


def _limits(fitted: FittedEncoder, config: MostExcitingImageConfig) -> tuple[float, float]:
    """Lowest and highest pixel on the encoder's scale."""
    norm = fitted.normalisation
    low, high = ((v - norm.image_mean) / norm.image_std for v in config.pixel_range)
    if not low < 0 < high:
        raise ValueError(
            f"pixel_range: {config.pixel_range}, expected a range around {norm.image_mean:.4g}, "
            "the mean of the images that the encoder was fitted to"
        )
    if config.contrast >= min(-low, high):
        raise ValueError(
            f"contrast: {config.contrast}, expected less than {min(-low, high):.3g}, beyond which "
            "images leave the pixel_range"
        )
    return low, high
