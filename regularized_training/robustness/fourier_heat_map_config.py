"""Which Fourier basis perturbations a network is tested with; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from predictive_model.config import Seed
from regularized_training.tasks.config import OnImages

BANDS = ("low", "middle", "high")
EDGES = (1 / 6, 1 / 3)  # cycles per pixel: thirds of the highest frequency along an axis


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Frequencies of a heat map, and those of them that have to be tried.

    A real wave of a frequency is that of its opposite too, and at the highest frequency of an even
    number of pixels the opposite is the same.

    Attributes
    ----------
    down, across : (rows,) and (columns,) int64
        Of the map, in cycles per image height and width; symmetric about zero, which is in the
        middle.
    tried : (k, 2) int64
        One of each frequency and its opposite, down and across.
    number : (rows, columns) int64
        Which of those tried each cell of the map shows.
    radius : (k,) float64
        Of those tried, in cycles per pixel.
    """

    down: NDArray[np.int64]
    across: NDArray[np.int64]
    tried: NDArray[np.int64]
    number: NDArray[np.int64]
    radius: NDArray[np.float64]

    def in_band(self, band: str) -> NDArray[np.bool_]:
        """Which of those tried are in a band, by how far they are from zero."""
        place = BANDS.index(band)
        inside: NDArray[np.bool_] = np.digitize(self.radius, EDGES, right=True) == place
        return inside


class FourierHeatMapConfig(OnImages):
    """Errors under each wave of a given size: Yin et al. 2019.

    Attributes
    ----------
    norm : float
        L2 norm of the perturbation in each channel, of pixels in 0 to 1. As published 4 for images
        of 32 pixels and 15.7 for images of 224.
    largest : int, optional
        Highest frequency along each axis, in cycles per image; all by default. 31 as published for
        images of 224 pixels.
    step : int
        Every so many frequencies along each axis, from zero on.
    n_images : int, optional
        Number of images, evenly over the classes; all if None.
    seed : int
        Decides which images are chosen, and the signs of waves.
    batch_size : int
        Perturbed images in a pass; changes the speed alone.

    Examples
    --------
    >>> FourierHeatMapConfig().frequencies(32, 32).number.shape
    (33, 33)
    >>> len(FourierHeatMapConfig().frequencies(32, 32).tried)  # about half of 32 x 32
    514
    """

    norm: float = Field(default=4.0, gt=0)
    largest: int | None = Field(default=None, ge=1)
    step: int = Field(default=1, ge=1)
    n_images: int | None = Field(default=1000, ge=1)
    seed: Seed = 0
    batch_size: int = Field(default=512, ge=1)

    def frequencies(self, height: int, width: int) -> Frequencies:
        """The frequencies for images of a size in pixels.

        Raises
        ------
        ValueError
            If these images have no frequencies as high.
        """
        side = min(height, width)
        if self.largest is not None and self.largest > side // 2:
            raise ValueError(
                f"fourier_heat_map.largest: {self.largest} cycles per image, expected at most "
                f"{side // 2}, the highest frequency of images of {height} x {width} pixels; leave "
                "it out"
            )
        if self.step > (self.largest or side // 2):
            raise ValueError(
                f"fourier_heat_map.step: {self.step}, expected at most "
                f"{self.largest or side // 2}, or zero is the only frequency"
            )
        down, across = (self._along(size) for size in (height, width))
        size = np.array([height, width])
        cells = np.stack(np.meshgrid(down, across, indexing="ij"), -1)
        # By remainders, a frequency that pixels cannot tell from another is the same.
        own, opposite = ((sign * cells) % size @ np.array([width, 1]) for sign in (1, -1))
        _, first, number = np.unique(
            np.minimum(own, opposite), return_index=True, return_inverse=True
        )
        tried = cells.reshape(-1, 2)[first]
        radius = np.hypot(*(tried / size).T)
        return Frequencies(down, across, tried, number.reshape(own.shape), radius)

    def _along(self, size: int) -> NDArray[np.int64]:
        last = size // 2 if self.largest is None else self.largest
        positive = np.arange(0, last + 1, self.step)
        return np.concatenate([-positive[:0:-1], positive])
