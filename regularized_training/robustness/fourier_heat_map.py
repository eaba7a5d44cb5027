"""How much waves of each frequency disturb a network: Yin et al. 2019."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regularized_training.robustness.draws import in_blocks
from regularized_training.robustness.fourier_heat_map_config import (
    BANDS,
    FourierHeatMapConfig,
    Frequencies,
)
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating, in_batches

_KEY = 72  # tells these random numbers from those of other perturbations


@dataclass(frozen=True, eq=False)
class FourierHeatMap:
    """Error rates under Fourier basis perturbations.

    Attributes
    ----------
    frequencies : Frequencies
    error : (k,) float64
        Fraction of images that are misclassified, of each frequency that was tried.
    clean_error : float
        Of the same images as they are.
    n : int
        Number of images.
    """

    frequencies: Frequencies
    error: NDArray[np.float64]
    clean_error: float
    n: int

    @property
    def map(self) -> NDArray[np.float64]:
        """Error rates, (rows, columns), frequency zero in the middle, the rest mirrored at it."""
        cells: NDArray[np.float64] = self.error[self.frequencies.number]
        return cells

    @property
    def bands(self) -> dict[str, float | None]:
        """Mean error of low, middle and high frequencies; None of a band without any."""
        found = {}
        for band in BANDS:
            inside = self.frequencies.in_band(band)
            found[band] = float(self.error[inside].mean()) if inside.any() else None
        return found


def fourier_heat_map(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: FourierHeatMapConfig,
    device: str | torch.device = "cpu",
) -> FourierHeatMap:
    """Error rate of a network when a wave of each frequency is added to its images.

    To each channel of each image r v U is added, U being the wave, of L2 norm 1, v the norm, and r
    a random sign. Every network meets the same perturbed images. Nothing is clipped.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    config : FourierHeatMapConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, are fewer than asked for, or have no frequencies
        as high as asked for.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    channels, height, width = images.shape[1:]
    frequencies = config.frequencies(height, width)
    n_tried = len(frequencies.tried)
    wrong, clean = torch.zeros(n_tried, dtype=torch.int64, device=device), 0
    per_pass = min(len(chosen), config.batch_size)
    at_once = max(1, config.batch_size // per_pass)
    of_frequencies = in_batches(np.arange(n_tried), at_once)
    with evaluating(network, device), torch.inference_mode():
        for part in in_batches(chosen, config.batch_size):
            x = to_float(torch.from_numpy(images[part]).to(device))
            y = torch.from_numpy(labels[part]).to(device)
            clean += int((network(x).argmax(1) != y).sum())
            signs = torch.from_numpy(random_signs(part, n_tried, channels, config.seed))
            for some in of_frequencies:
                waves = config.norm * fourier_basis(frequencies.tried[some], height, width)
                r = signs[:, some].to(device).movedim(1, 0)  # (frequency, image, channel)
                added = r[..., None, None] * waves.to(device)[:, None, None]
                made = (x + added).flatten(0, 1).contiguous(memory_format=torch.channels_last)
                answers = network(made).argmax(1).view(len(some), len(part))
                wrong[some[0] : some[-1] + 1] += (answers != y).sum(1)
    n = len(chosen)
    return FourierHeatMap(frequencies, wrong.cpu().numpy() / n, clean / n, n)


def fourier_basis(frequencies: NDArray[np.int64], height: int, width: int) -> Tensor:
    """Waves cos(2 pi (f_y y / height + f_x x / width)) of L2 norm 1.

    Their discrete Fourier transform is real, and 0 but at the frequency and its opposite.

    Parameters
    ----------
    frequencies : (k, 2) int64
        Down and across, in cycles per image.
    height, width : int

    Returns
    -------
    (k, height, width) float32 Tensor

    Examples
    --------
    >>> fourier_basis(np.array([[0, 0], [0, 2]]), 1, 4).tolist()
    [[[0.5, 0.5, 0.5, 0.5]], [[0.5, -0.5, 0.5, -0.5]]]
    """
    f = torch.from_numpy(frequencies).double()
    down = f[:, :1] * torch.arange(height, dtype=torch.float64) / height
    across = f[:, 1:] * torch.arange(width, dtype=torch.float64) / width
    waves = torch.cos(2 * math.pi * (down[:, :, None] + across[:, None]))
    return (waves / waves.flatten(1).norm(dim=1)[:, None, None]).float()


def random_signs(
    index: NDArray[np.int64], n_frequencies: int, channels: int, seed: int
) -> NDArray[np.int8]:
    """1 or -1, as likely, for each image, frequency and channel, whatever the batch.

    Parameters
    ----------
    index : (n,) int64
        Numbers of the images.
    n_frequencies, channels, seed : int

    Returns
    -------
    (n, n_frequencies, channels) int8
    """

    def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int8]]:
        return (1 - 2 * rng.integers(2, size=(n, n_frequencies, channels), dtype=np.int8),)

    (signs,) = in_blocks(index, (seed, _KEY), draw)
    return signs
