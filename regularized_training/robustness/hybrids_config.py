"""Which hybrid images a network is asked about; imports no torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from predictive_model.config import Seed
from regularized_training.tasks.config import OnImages

FrequencyFilter = Literal["gaussian", "ideal"]


class HybridConfig(OnImages):
    """Low frequencies of one image with the high ones of another: Li et al. 2023.

    Attributes
    ----------
    cuts : tuple of float, optional
        Rising frequencies in cycles per image height that divide low from high ones, up to half the
        height in pixels; by default 1, 2^1/2, 2, ... as far as that.
    filter : {"gaussian", "ideal"}
        A Gaussian passes half of the amplitude at the cut; an ideal filter passes all up to the cut
        and nothing above it.
    n_images : int, optional
        Number of images whose low frequencies are shown, evenly over the classes; all by default.
    seed : int
        Decides which images are chosen, and which two make a pair.
    batch_size : int
        Changes the speed alone.

    Examples
    --------
    >>> [round(cut, 2) for cut in HybridConfig().cuts_of(8)]
    [1.0, 1.41, 2.0, 2.83, 4.0]
    """

    cuts: tuple[float, ...] | None = Field(default=None, min_length=1)
    filter: FrequencyFilter = "gaussian"
    n_images: int | None = Field(default=1000, ge=2)
    seed: Seed = 0
    batch_size: int = Field(default=256, ge=1)

    @field_validator("cuts")
    @classmethod
    def _rising(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and not (value[0] > 0 and all(a < b for a, b in pairwise(value))):
            raise ValueError(
                f"{value}, expected rising frequencies above 0, in cycles per image height"
            )
        return value

    def cuts_of(self, height: int) -> tuple[float, ...]:
        """The cuts for images of a height in pixels.

        Raises
        ------
        ValueError
            If a cut is beyond the highest frequency of these images.
        """
        nyquist = height / 2
        if self.cuts is None:
            if height < 2:
                raise ValueError(f"images: {height} pixel high, expected at least 2")
            return tuple(2 ** (i / 2) for i in range(2 * height) if 2 ** (i / 2) <= nyquist)
        if self.cuts[-1] > nyquist:
            raise ValueError(
                f"hybrids.cuts: {self.cuts[-1]:g} cycles per image height, expected at most "
                f"{nyquist:g}, the highest frequency of images {height} pixels high; leave it out"
            )
        return self.cuts
