"""Training on clean and distorted images in equal parts, as the oracle of Safarani et al. 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from regularized_training.networks.layer_reader import LayerReader, readable_layers
from regularized_training.robustness.corruptions.config import Corruption, is_corruption
from regularized_training.robustness.corruptions.corrupt import corrupt_at_random
from regularized_training.robustness.noise import add_noise
from regularized_training.robustness.noise_levels import NoiseKind
from regularized_training.training_config import DistortedConfig


def distorted(images: Tensor, by: Mapping[NoiseKind | Corruption, Sequence[float]]) -> Tensor:
    """Each image with one of several distortions, drawn at random, between 0 and 1.

    Draws are those of torch's generator of the images' device.

    Parameters
    ----------
    images : (batch, channels, height, width) Tensor
        In [0, 1].
    by : mapping of kinds of noise to their levels, or of corruptions to their severities
        All levels and severities are as likely.

    Examples
    --------
    >>> images = torch.full((64, 1, 8, 8), 0.5)
    >>> noisy = distorted(images, {"gaussian": [0.1], "salt_and_pepper": [1.0]})
    >>> extreme = ((noisy == 0) | (noisy == 1)).all(3).all(2)  # of salt and pepper alone
    >>> 0 < extreme.sum() < 64
    tensor(True)
    """
    device, n = images.device, sum(map(len, by.values()))
    chosen = torch.randint(n, (len(images), 1, 1, 1), device=device)
    first = 0
    made = images
    for kind, levels in by.items():
        if is_corruption(kind):
            made = _corrupted(made, kind, levels, chosen.flatten() - first)
            first += len(levels)
            continue
        # Level 0 where another kind, or another level, was drawn.
        level = torch.zeros(chosen.shape, device=device, dtype=images.dtype)
        for place, value in enumerate(levels, first):
            level.masked_fill_(chosen == place, value)
        first += len(levels)
        made = add_noise(made, unit_noise_like(images, kind), level, kind)
    return made.clamp(0, 1)


def _corrupted(
    images: Tensor, corruption: Corruption, severities: Sequence[float], chosen: Tensor
) -> Tensor:
    """Those images corrupted whose number in `chosen` is that of a severity."""
    made = images.clone()
    # Corruptions draw by NumPy, and on the CPU.
    rng = np.random.default_rng(int(torch.randint(2**62, ())))
    for place, severity in enumerate(severities):
        rows = torch.nonzero(chosen == place).flatten()
        if len(rows):
            pixels = (images[rows] * 255).round().to(torch.uint8)
            pixels = corrupt_at_random(pixels, corruption, int(severity), rng)
            made[rows] = pixels.to(images.dtype) / 255
    return made


def unit_noise_like(images: Tensor, kind: NoiseKind) -> Tensor:
    """Noise of level 1, as of :func:`~regularized_training.robustness.noise.unit_noise`."""
    if kind == "gaussian":
        return torch.randn_like(images)
    # A pixel is white or black in all its channels.
    like = images[:, :1] if kind == "salt_and_pepper" else images
    return 2 * torch.rand_like(like) - 1


class Distorting:
    """Shows a network each batch twice, clean and distorted, and compares what its trunk makes.

    Parameters
    ----------
    network : nn.Module
    config : DistortedConfig

    Raises
    ------
    LayerError
        If there is no such layer.
    """

    def __init__(self, network: nn.Module, config: DistortedConfig) -> None:
        self._config = config
        self._read = LayerReader(network, (config.layer, readable_layers(network)[-1]))

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the clean images and then of the distorted ones, and the second loss.

        Parameters
        ----------
        images : (batch, channels, height, width) float32 Tensor
            In [0, 1].
        """
        both = torch.cat([images, distorted(images, self._config.by)])
        features, logits = self._read(both.contiguous(memory_format=torch.channels_last))
        clean, other = features.float().chunk(2)
        return logits, self._config.distance * (clean - other).square().mean()
