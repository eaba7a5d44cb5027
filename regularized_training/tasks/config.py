"""How training images are varied, as a configuration."""

from __future__ import annotations

from pydantic import Field

from predictive_model.config import Config


class AugmentConfig(Config):
    """Random crops and mirror images of the training images.

    Attributes
    ----------
    padding : int
        Shift by up to this many pixels, filling in by reflection; 0 leaves images in place.
    flip : bool
        Mirror half of the images left to right. Not for digits and letters.
    """

    padding: int = Field(default=4, ge=0)
    flip: bool = True
