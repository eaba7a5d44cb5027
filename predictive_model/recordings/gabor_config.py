"""A bank of Gabor energies, as a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from predictive_model.config import Config


class GaborConfig(Config):
    """A bank of Gabor energies.

    Parameters
    ----------
    wavelengths : tuple of float, pixels
        Of the gratings; from 2, the finest that pixels can show.
    orientations : int
        Evenly spaced, the first prefers vertical stripes.
    envelope : float
        Standard deviation of the round Gaussian envelope, in wavelengths.
    exponent : float
        Of the energy. 0.5 gives amplitudes; below, high contrasts saturate. Energies themselves
        are so heavy-tailed for natural images that a few images would rule a regression.
    pool : int, pixels
        Amplitudes are averaged over squares of this side.

    Examples
    --------
    >>> GaborConfig(wavelengths=(4, 8), orientations=6).channels
    12
    """

    wavelengths: tuple[Annotated[float, Field(ge=2)], ...] = Field(
        (3.0, 5.0, 8.0, 13.0, 21.0), min_length=1
    )
    orientations: int = Field(8, ge=1)
    envelope: float = Field(0.5, gt=0, le=4)
    exponent: float = Field(0.5, gt=0, le=1)
    pool: int = Field(8, ge=1)

    @property
    def channels(self) -> int:
        """Maps that come out, wavelength by wavelength."""
        return len(self.wavelengths) * self.orientations
