"""How strong weak attacks are, and on which images; imports no torch."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from predictive_model.config import Seed
from regularized_training.networks.v1_config import Noise
from regularized_training.robustness.autoattack.config import BallNorm
from regularized_training.tasks.config import OnImages

PUBLISHED_RADII: dict[BallNorm, float] = {"Linf": 1 / 1020, "L2": 0.15, "L1": 40.0}
PUBLISHED_SIZE = 224  # pixels a side, of the images that these radii are of


class WhiteBoxConfig(OnImages):
    """Untargeted projected gradient descent in weak balls, as Dapello et al. 2020 attack networks.

    Attributes
    ----------
    radii : dict of {"Linf", "L2", "L1"} to float
        Of the balls around images of 224 x 224 pixels in 0 to 1; 1/1020, 0.15 and 40 as published.
        They are scaled to images of other sizes, see :func:`scaled_radius`.
    strengths : tuple of float
        Rising factors that all radii are multiplied with; 1 and 4 as published.
    n_images : int or "all"
        Number of images to attack, evenly over the classes, or ``"all"``.
    steps : int
        64 as published.
    step_size : float
        Length of a step, as a share of the ball's radius; 1/32 as published.
    random_start : bool
        Start anywhere in the ball instead of at the image.
    eot : int
        Passes through a network with noise of its own that answers and gradients are averaged over
        (expectation over transformations). One is made through a network without noise.
    noise : {"own", "on", "fixed", "off"}
        That of a V1 block, also where the attack is judged: as the network's settings have it,
        drawn anew in each pass, one draw by `seed` for all images and passes, or none.
    seed : int
        Decides which images are chosen, random starts, and the network's own noise.
    batch_size : int
        Changes the speed alone, unless the network has noise of its own.

    Examples
    --------
    >>> config = WhiteBoxConfig()
    >>> round(config.radius("L2", 4, 112, 112), 3)
    0.3
    """

    radii: dict[BallNorm, float] = Field(default=PUBLISHED_RADII, min_length=1)
    strengths: tuple[float, ...] = Field(default=(1.0, 4.0), min_length=1)
    n_images: Annotated[int, Field(ge=1)] | Literal["all"] = 1000
    steps: int = Field(default=64, ge=1)
    step_size: float = Field(default=1 / 32, gt=0, le=2)
    random_start: bool = False
    eot: int = Field(default=1, ge=1)
    noise: Noise = "own"
    seed: Seed = 0
    batch_size: int = Field(default=100, ge=1)

    @field_validator("radii")
    @classmethod
    def _in_order(cls, value: dict[BallNorm, float]) -> dict[BallNorm, float]:
        for norm, radius in value.items():
            if not 0 < radius < math.inf:
                raise ValueError(
                    f"{norm}: {radius:g}, expected a radius above 0; a ball of 0 holds the image "
                    "alone, and its accuracy is stored beside the others anyway"
                )
        return {norm: value[norm] for norm in PUBLISHED_RADII if norm in value}

    @field_validator("strengths")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        rising = all(a < b for a, b in pairwise(value))
        if not (rising and value[0] > 0 and value[-1] < math.inf):
            raise ValueError(
                f"{value}, expected rising factors above 0; accuracy without an attack is stored "
                "anyway"
            )
        return value

    @model_validator(mode="after")
    def _pixels_allow(self) -> WhiteBoxConfig:
        largest = self.radii.get("Linf", 0.0) * self.strengths[-1]
        if largest > 1:
            raise ValueError(
                f"radii.Linf, strengths: a ball of {largest:g}, expected at most 1: pixels are in "
                "0 to 1"
            )
        return self

    def radius(self, norm: BallNorm, strength: float, height: int, width: int) -> float:
        """Of a ball around images of some size."""
        return strength * scaled_radius(self.radii[norm], norm, height, width)


def scaled_radius(radius: float, norm: BallNorm, height: int, width: int) -> float:
    """A ball's radius for images of another size than 224 x 224.

    A perturbation of the same size at every pixel has a norm that does not depend on the number of
    pixels in L-inf, grows with its square root in L2, and with itself in L1. So an L2 ball is
    scaled by size / 224 and an L1 ball by (size / 224)^2. Channels do not count.

    Examples
    --------
    >>> [scaled_radius(0.5, norm, 32, 32) for norm in ("Linf", "L2", "L1")]  # by 1, 1/7, 1/49
    [0.5, 0.07142857142857142, 0.01020408163265306]
    """
    power = {"Linf": 0.0, "L2": 0.5, "L1": 1.0}[norm]
    scaled: float = radius * (height * width / PUBLISHED_SIZE**2) ** power
    return scaled
