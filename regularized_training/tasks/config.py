"""Which images of a task are used, and how they are varied, as configurations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from predictive_model.config import Config, added

ImagePart = Literal["test", "validation"]


class AugmentConfig(Config):
    """Random crops, mirror images and rotations of the training images.

    Attributes
    ----------
    padding : int
        Shift by up to this many pixels, filling in by reflection; 0 leaves images in place. Of
        images in memory, which have the network's size.
    flip : bool
        Mirror half of the images left to right. Not for digits and letters.
    rotation : float
        Turn by up to this many degrees either way about the centre, filling in by reflection; 15
        for Safarani et al. 2021. Of images in memory; others refuse it.
    min_area : float
        A random crop has at least this share of a picture's area, and is resized to the network's
        size. Of pictures that are read from their files as they are needed.
    """

    padding: int = Field(default=4, ge=0)
    flip: bool = True
    rotation: float = added(0.0, since="0.2.0", ge=0, le=180)
    min_area: float = added(0.08, since="0.2.0", gt=0, le=1)


class OnImages(Config):
    """A base for the settings of evaluations that show a network images of its task.

    Attributes
    ----------
    part : {"test", "validation"}
        Which images: settings that are chosen by the validation part leave the test images unseen.
        Of networks that were trained without it, see ``TrainingConfig.hold_out_validation``.
    """

    part: ImagePart = added("test", since="0.2.0")
