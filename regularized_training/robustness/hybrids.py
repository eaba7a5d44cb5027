"""Which frequencies a network goes by: hybrids of two images, Li et al. 2023."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regularized_training.robustness.hybrids_config import FrequencyFilter, HybridConfig
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating, in_batches

_PAIRS = 71  # tells the draw of pairs from that of images


@dataclass(frozen=True, eq=False)
class HybridAnswers:
    """What a network answers to hybrids, at each cut.

    Attributes
    ----------
    cuts : (cut,) float64
        In cycles per image height.
    low, high : (cut,) float64
        Shares of hybrids that are classified as the image whose low, or high, frequencies they
        have. The rest are classified as neither.
    clipped : (cut,) float64
        Share of pixels, of all channels, that were below 0 or above 1 and were clipped.
    clean_accuracy : float
        Of the images whose low frequencies are shown, as they are.
    n : int
        Number of pairs.
    """

    cuts: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    clipped: NDArray[np.float64]
    clean_accuracy: float
    n: int

    @property
    def neither(self) -> NDArray[np.float64]:
        """Share of hybrids that are classified as neither image, (cut,)."""
        neither: NDArray[np.float64] = 1 - self.low - self.high
        return neither

    @property
    def crossings(self) -> NDArray[np.float64]:
        """See :func:`crossings`."""
        return crossings(self.cuts, self.low - self.high)

    @property
    def equal_at(self) -> float | None:
        """The cut at which either image is answered as often; None if there is none.

        A network that goes by low frequencies needs few of them to answer the low image: its cut
        is low. Where chance has the two change places several times, the geometric mean.
        """
        found = self.crossings
        return float(np.exp(np.log(found).mean())) if len(found) else None


def answers_to_hybrids(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: HybridConfig,
    device: str | torch.device = "cpu",
) -> HybridAnswers:
    """Which of two images a network sees in their hybrid, as a function of the cut between them.

    Every network meets the same hybrids. A hybrid has the mean luminance of the image whose low
    frequencies it has, and is clipped to 0 to 1.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    config : HybridConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, are fewer than asked for, or all of one class, or
        if a cut is beyond the highest frequency of the images.
    """
    chosen = chosen_images(images, labels, config.n_images, config.seed)
    cuts = config.cuts_of(images.shape[2])
    partners = chosen[pairs(labels[chosen], config.seed)]
    low, high, clipped = (np.zeros(len(cuts)) for _ in range(3))
    right = 0
    places = np.arange(len(chosen))
    with evaluating(network, device), torch.inference_mode():
        for part in in_batches(places, config.batch_size):
            of_low, of_high = chosen[part], partners[part]
            below, above = (
                to_float(torch.from_numpy(images[of]).to(device)) for of in (of_low, of_high)
            )
            as_they_are = network(below).argmax(1).cpu().numpy()
            right += int((as_they_are == labels[of_low]).sum())
            for i, cut in enumerate(cuts):
                mixed = hybrid(below, above, cut, config.filter)
                made = mixed.clamp(0, 1).contiguous(memory_format=torch.channels_last)
                answers = network(made).argmax(1).cpu().numpy()
                low[i] += (answers == labels[of_low]).sum()
                high[i] += (answers == labels[of_high]).sum()
                clipped[i] += _outside(mixed)
    n, pixels = len(chosen), math.prod(images.shape[1:])
    return HybridAnswers(np.array(cuts), low / n, high / n, clipped / (n * pixels), right / n, n)


def _outside(images: Tensor) -> int:
    """Number of pixels outside 0 to 1 by more than rounding."""
    return int(((images < -1e-5) | (images > 1 + 1e-5)).sum())


def hybrid(low: Tensor, high: Tensor, cut: float, kind: FrequencyFilter = "gaussian") -> Tensor:
    """Low frequencies of some images with high ones of others, not clipped.

    G L + (1 - G) H of Oliva et al. 2006 for each frequency of the two, G being the gain at it: the
    low image, and above the cut what the other differs by. Images are continued periodically
    beyond their edges.

    Parameters
    ----------
    low, high : (n, channels, height, width) Tensor
    cut : float
        In cycles per image height.
    kind : {"gaussian", "ideal"}

    Returns
    -------
    (n, channels, height, width) Tensor
        With the mean of `low`.

    Examples
    --------
    >>> black, white = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    >>> hybrid(white, black, 1.0).unique().tolist()
    [1.0]
    """
    size = (low.shape[2], low.shape[3])
    passed = gain(cut, *size, kind).to(low)
    made: Tensor = low + torch.fft.irfft2(torch.fft.rfft2(high - low) * (1 - passed), s=size)
    return made


def gain(cut: float, height: int, width: int, kind: FrequencyFilter) -> Tensor:
    """What a low-pass filter leaves of each frequency of the half-plane, 1 at zero.

    Parameters
    ----------
    cut : float
        In cycles per image height: a frequency is as far from zero in any direction.
    height, width : int
    kind : {"gaussian", "ideal"}
        2^-(f / cut)^2, which is 1/2 at the cut; or 1 up to the cut and 0 above it.

    Returns
    -------
    (height, width // 2 + 1) float32 Tensor
    """
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(width, dtype=torch.float64)
    squared = (down.square() + across.square()) * (height / cut) ** 2
    passed = torch.exp2(-squared) if kind == "gaussian" else squared <= 1 + 1e-9
    return passed.float()


def pairs(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """For each image one of another class, all those as likely.

    Parameters
    ----------
    labels : (n,) int64
    seed : int

    Returns
    -------
    (n,) int64
        Places in `labels`.

    Raises
    ------
    ValueError
        If all are of one class.
    """
    by_class = np.argsort(labels, kind="stable")
    classes, first, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(
            "images: all are of one class, expected two or more: a hybrid is of two classes"
        )
    own = np.searchsorted(classes, labels)
    # A place among the images of other classes: those of the own class are skipped.
    drawn = np.random.default_rng((seed, _PAIRS)).integers(len(labels) - counts[own])
    drawn += np.where(drawn >= first[own], counts[own], 0)
    partners: NDArray[np.int64] = by_class[drawn]
    return partners


def crossings(cuts: NDArray[np.float64], difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a difference changes its sign, interpolated linearly over the logarithm of the cut.

    Parameters
    ----------
    cuts, difference : (cut,) float64
        Cuts rise.

    Returns
    -------
    (crossing,) float64
        None where the difference is 0 all the time; where it is 0 for several cuts between two
        signs, the middle of them.

    Examples
    --------
    >>> crossings(np.array([1.0, 4.0]), np.array([-0.5, 0.5])).tolist()
    [2.0]
    >>> crossings(np.array([1.0, 4.0]), np.array([0.2, 0.5])).tolist()
    []
    """
    signed = np.flatnonzero(difference)
    before, after = signed[:-1], signed[1:]
    changes = np.sign(difference[before]) != np.sign(difference[after])
    before, after = before[changes], after[changes]
    x, y = np.log(cuts), difference
    gap = after - before
    # Neighbours by interpolation; with zeros between them, the middle of the zeros.
    slope = (x[after] - x[before]) / (y[after] - y[before])
    places = np.where(gap == 1, x[before] - y[before] * slope, (x[before + 1] + x[after - 1]) / 2)
    found: NDArray[np.float64] = np.exp(places)
    return found
