"""Which attacks of the ensemble, in which balls, and on which images; imports no torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from predictive_model.config import Seed, added
from regularized_training.networks.v1_config import Noise
from regularized_training.tasks.config import OnImages

BallNorm = Literal["Linf", "L2", "L1"]
AttackName = Literal["apgd_ce", "apgd_t", "fab_t", "square"]

ATTACKS: tuple[AttackName, ...] = ("apgd_ce", "apgd_t", "fab_t", "square")
# Of what the benchmark RobustBench reports for CIFAR-10: the first two are its balls, the third is
# that of Croce and Hein 2021.
PUBLISHED_EPSILONS: dict[str, float] = {"Linf": 8 / 255, "L2": 0.5, "L1": 12.0}


class AutoAttackConfig(OnImages):
    """The ensemble of Croce and Hein 2020, at its published budget unless told otherwise.

    Attributes
    ----------
    norm : {"Linf", "L2", "L1"}
        Of perturbations of images in [0, 1].
    epsilons : tuple of float
        Radii of the balls, rising, pixels in 0 to 1; of an L-inf ball at most 1. By default the one
        that is usual for images of 32 pixels: 8/255, 0.5, 12.
    attacks : tuple of str
        Which, in this order: ``apgd_ce``, ``apgd_t``, ``fab_t`` and ``square``.
    n_images : int or "all"
        Number of images to attack, evenly over the classes, or ``"all"``.
    steps : int
        Iterations of each of the attacks that follow gradients, for each target.
    n_targets : int
        Classes that a targeted attack aims at, the most probable first.
    queries : int
        Queries of the square attack.
    eot : int
        Passes through a network with noise of its own that answers, losses and gradients are
        averaged over; 1 for a network without.
    noise : {"own", "on", "fixed", "off"}
        That of a V1 block, also where the attack is judged: as the network's settings have it,
        drawn anew in each pass, one draw by `seed` for all images and passes, or none.
    seed : int
        Decides which images are chosen, all that attacks draw, and the network's own noise.
    batch_size : int
        Changes the speed alone, unless the network has noise of its own.
    """

    norm: BallNorm = "Linf"
    epsilons: tuple[float, ...] = Field(min_length=1)
    attacks: tuple[AttackName, ...] = Field(default=ATTACKS, min_length=1)
    n_images: Annotated[int, Field(ge=1)] | Literal["all"] = 1000
    steps: int = Field(default=100, ge=1)
    n_targets: int = Field(default=9, ge=1)
    queries: int = Field(default=5000, ge=1)
    eot: int = Field(default=1, ge=1)
    seed: Seed = 0
    batch_size: int = Field(default=250, ge=1)
    noise: Noise = added("own", since="0.2.0")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        usual = PUBLISHED_EPSILONS.get(str(values.get("norm", "Linf")), 1.0)
        return {"epsilons": (usual,), **values}

    @field_validator("attacks")
    @classmethod
    def _each_once(cls, value: tuple[AttackName, ...]) -> tuple[AttackName, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{value}: expected each attack once")
        return value

    @model_validator(mode="after")
    def _check_epsilons(self) -> AutoAttackConfig:
        most = 1.0 if self.norm == "Linf" else float("inf")
        rising = all(a < b for a, b in pairwise(self.epsilons))
        if not (rising and self.epsilons[0] > 0 and self.epsilons[-1] <= most):
            bound = " and at most 1, since pixels are in 0 to 1" if self.norm == "Linf" else ""
            raise ValueError(
                f"epsilons: {self.epsilons}, expected rising radii above 0{bound}; a radius of 8 "
                "grey levels is 8/255"
            )
        return self
