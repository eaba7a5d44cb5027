"""Robustness by other means than a teacher: what to learn in place of images; imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from predictive_model.config import Config


class PgdConfig(Config):
    """Adversarial training by projected gradient descent, Madry et al. 2018.

    Every image is replaced by the worst one that is found in a ball around it. It is looked for by
    the network as it is tested: without dropout, and by the statistics that it gathered.

    Attributes
    ----------
    norm : {"Linf", "L2"}
    epsilon : float
        Radius of the ball, pixels in 0 to 1; 8 / 255 as published for L-inf, CIFAR-10.
    steps : int
    step_size : float, optional
        2.5 epsilon / steps by default, by which the ball's edge can be reached from anywhere in it.
    """

    method: Literal["pgd"]
    norm: Literal["Linf", "L2"] = "Linf"
    epsilon: float = Field(default=8 / 255, gt=0)
    steps: int = Field(default=7, ge=1)
    step_size: float | None = Field(default=None, gt=0)

    @property
    def length(self) -> float:
        """Of a step."""
        return 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size

    def __str__(self) -> str:
        """As results call it."""
        return f"PGD {self.norm} {self.epsilon:.3g}"


class NoiseConfig(Config):
    """Gaussian noise in some of the images, Rusak et al. 2020.

    Attributes
    ----------
    deviation : float
        Standard deviation, pixels in 0 to 1.
    share : float
        Probability that an image has it; half as published.
    """

    method: Literal["noise"]
    deviation: float = Field(gt=0, le=2)
    share: float = Field(default=0.5, gt=0, le=1)

    def __str__(self) -> str:
        """As results call it."""
        return f"noise {self.deviation:.3g}"


Hardened = Annotated[PgdConfig | NoiseConfig, Field(discriminator="method")]
