"""Accuracy, confidence and calibration under noise: Fig. 4 of Li et al. 2019."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from predictive_model.config import Seed
from regularized_training.robustness.draws import blocks
from regularized_training.robustness.noise_levels import NoiseKind, require_levels
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating
from regularized_training.tasks.config import OnImages

BINS = 15  # of confidence, for the calibration error


class NoiseConfig(OnImages):
    """Which noise, how much of it, and on which images.

    Attributes
    ----------
    kind : {"gaussian", "uniform", "salt_and_pepper"}
        Added to every pixel, or, for the last, the pixel is made white or black.
    levels : tuple of float
        For images in [0, 1]: standard deviations of Gaussian noise, half-widths of uniform noise,
        or fractions of pixels made white or black, half of them each. The paper does not give its
        own.
    clamp : bool
        Bring noisy pixels back to [0, 1], as in an image that could be shown.
    seed : int
        Decides the noise, and which images are chosen.
    n_images : int, optional
        Number of images to use, evenly over the classes; all by default.
    batch_size : int
        Changes the speed alone.
    """

    kind: NoiseKind = "gaussian"
    levels: tuple[float, ...] = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
    clamp: bool = True
    seed: Seed = 0
    n_images: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _check_levels(self) -> NoiseConfig:
        require_levels(self.levels, self.kind)
        return self


@dataclass(frozen=True)
class NoiseScores:
    """What a network makes of images at each level of noise.

    Attributes
    ----------
    levels : tuple of float
        As in the configuration.
    accuracy : tuple of float
        Fraction of images classified correctly.
    confidence : tuple of float
        Mean probability of the class that is answered.
    calibration_error : tuple of float
        Expected calibration error of Guo et al. 2017, see :func:`calibration_error`.
    n : int
        Number of images.
    """

    levels: tuple[float, ...]
    accuracy: tuple[float, ...]
    confidence: tuple[float, ...]
    calibration_error: tuple[float, ...]
    n: int


def accuracy_under_noise(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: NoiseConfig,
    device: str | torch.device = "cpu",
) -> NoiseScores:
    """Accuracy, confidence and calibration of a network on images with noise.

    An image has the same noise for every network, scaled by the level: it is drawn from the seed
    and the image's number alone. Differences between networks and levels are thus paired.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; moved to `device`, evaluated in evaluation mode and left in the
        mode it came in.
    images : (n, channels, height, width) uint8
    labels : (n,) int64
    config : NoiseConfig
    device : str or torch.device

    Returns
    -------
    NoiseScores

    Raises
    ------
    ValueError
        If images and labels do not fit together, or are fewer than asked for.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    n, shape = len(chosen), images.shape[1:]
    confidence = torch.zeros(len(config.levels), n, device=device)
    correct = torch.zeros(len(config.levels), n, dtype=torch.bool, device=device)
    with evaluating(network, device), torch.inference_mode():
        for start in range(0, n, config.batch_size):
            rows = slice(start, start + config.batch_size)
            index = chosen[rows]
            noise = unit_noise(index, shape, config.seed, config.kind).to(device)
            clean = to_float(torch.from_numpy(images[index]).to(device))
            answers = torch.from_numpy(labels[index]).to(device)
            for i, level in enumerate(config.levels):
                noisy = add_noise(clean, noise, level, config.kind)
                if config.clamp:
                    noisy.clamp_(0, 1)
                logits = network(noisy.contiguous(memory_format=torch.channels_last))
                # Of the softmax only the largest entry is wanted.
                largest, answer = logits.float().max(1)
                confidence[i, rows] = (largest - logits.float().logsumexp(1)).exp()
                correct[i, rows] = answer == answers
    by_level = list(zip(confidence.cpu().numpy(), correct.cpu().numpy(), strict=True))
    return NoiseScores(
        levels=config.levels,
        accuracy=tuple(float(right.mean()) for _, right in by_level),
        confidence=tuple(float(sure.mean(dtype=np.float64)) for sure, _ in by_level),
        calibration_error=tuple(calibration_error(sure, right) for sure, right in by_level),
        n=n,
    )


def calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], n_bins: int = BINS
) -> float:
    """Eq. 3 of Guo et al. 2017: mean of |accuracy - confidence| over bins of confidence.

    Parameters
    ----------
    confidence : (n,)
        Probability of the class that was answered.
    correct : (n,) bool
        Whether it was right.
    n_bins : int
        Bins of equal width; each counts as often as it has answers.

    Examples
    --------
    >>> calibration_error(np.array([0.9, 0.9]), np.array([True, False]))
    0.4
    """
    bins = np.minimum((np.asarray(confidence, np.float64) * n_bins).astype(np.int64), n_bins - 1)
    gap = np.bincount(bins, np.asarray(correct, np.float64) - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(bins))


def add_noise(clean: Tensor, noise: Tensor, level: float | Tensor, kind: NoiseKind) -> Tensor:
    """Images with so much of the noise that :func:`unit_noise` has drawn, not clamped.

    Parameters
    ----------
    clean, noise : (batch, channels, height, width) Tensor
    level : float or (batch, 1, 1, 1) Tensor
        See :class:`NoiseConfig`; one for all images, or one for each.
    kind : str
    """
    if kind != "salt_and_pepper":
        if isinstance(level, Tensor):
            return torch.addcmul(clean, noise, level)
        return torch.add(clean, noise, alpha=level)
    changed = noise.abs() > 1 - level
    return torch.where(changed, (noise > 0).to(clean.dtype), clean)


def unit_noise(
    index: NDArray[np.int64], shape: tuple[int, ...], seed: int, kind: NoiseKind = "gaussian"
) -> Tensor:
    """Noise of level 1 for the images with these numbers.

    An image's noise does not depend on which others are asked for.

    Parameters
    ----------
    index : (batch,) int64
    shape : tuple of int
        Of one image: (channels, height, width).
    seed : int
    kind : str
        Normal with standard deviation 1, or uniform between -1 and 1, which also says for each
        pixel at which fraction it becomes white or black, and which of the two.

    Returns
    -------
    (batch, channels, height, width) float32 Tensor
    """
    channels, *size = shape
    drawn = 1 if kind == "salt_and_pepper" else channels  # white or black in all its channels

    def draw(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        if kind == "gaussian":
            return rng.standard_normal((n, drawn, *size), np.float32)
        return 2 * rng.random((n, drawn, *size), np.float32) - 1

    noise = blocks(index, (seed,), draw)
    return torch.from_numpy(noise).expand(-1, channels, *size).contiguous()
