"""Which attacks, how strong, and on which images. The attacks are in ``attacks``."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from predictive_model.config import Seed, added
from regularized_training.tasks.config import OnImages

Method = Literal["brendel_bethge", "pgd"]
Norm = Literal["L2", "Linf", "L1", "L0"]

PGD_NORMS = ("L2", "Linf")
# Of the paper. It prints 0.03 twice in the first; the last is taken for 0.3.
BOUNDARY_STEP_SIZES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
PGD_STEP_SIZES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PGD_STEPS = (10, 30, 50, 100, 200)


class AttackConfig(OnImages):
    """Which attack, how strong, and on which images.

    Attributes
    ----------
    method : {"brendel_bethge", "pgd"}
        The gradient-based boundary attack of Brendel et al. 2019, which starts from another image
        and walks along the decision boundary; or projected gradient descent, repeated within
        balls of different sizes until the smallest is found that holds an adversarial image.
    norm : {"L2", "Linf", "L1", "L0"}
        Of perturbations of images in [0, 1]; PGD has L2 and Linf.
    step_sizes : tuple of float, optional
        All are tried and the best is taken for each image, in whatever order they are listed. For
        the boundary attack the radius of the trust region over the number of pixels, at most 1, for
        PGD the length of a step, at most 1 in L-inf; those of the paper if left out.
    steps : tuple of int, optional
        Numbers of iterations, all of which are tried likewise; 100, and for PGD the paper's, if
        left out.
    n_images : int or "all"
        Number of images to attack, evenly over the classes, or ``"all"``; 1,000 in the paper.
    max_distance : float, optional
        Of PGD: the largest perturbation that is tried; by default as far apart as two images can
        be, which in L-inf is 1.
    random_start : bool
        Of PGD: start anywhere in the ball instead of at the image.
    seed : int
        Decides which images are chosen, and all starts.
    batch_size : int
        Changes the speed alone.
    """

    method: Method
    norm: Norm
    step_sizes: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    n_images: Annotated[int, Field(ge=1)] | Literal["all"] = 1000
    max_distance: float | None = Field(default=None, gt=0)
    random_start: bool = False
    seed: Seed = 0
    batch_size: int = Field(default=100, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        pgd = values.get("method") == "pgd"
        sizes, steps = (PGD_STEP_SIZES, PGD_STEPS) if pgd else (BOUNDARY_STEP_SIZES, (100,))
        return {"step_sizes": sizes, "steps": steps, **values}

    @model_validator(mode="after")
    def _check(self) -> AttackConfig:
        pgd = self.method == "pgd"
        if pgd and self.norm not in PGD_NORMS:
            raise ValueError(f"norm: {self.norm} with pgd, expected one of {', '.join(PGD_NORMS)}")
        most = math.inf if pgd and self.norm == "L2" else 1.0
        sizes, steps = self.step_sizes, self.steps
        if not (_distinct(sizes) and min(sizes) > 0 and max(sizes) <= most):
            bound = "" if most == math.inf else " of at most 1, since pixels are in 0 to 1"
            raise ValueError(
                f"step_sizes: {sizes}, expected at least one, all distinct positive numbers"
                f"{bound}; leave it out for those of the paper"
            )
        if not (_distinct(steps) and min(steps) >= 1):
            raise ValueError(
                f"steps: {steps}, expected at least one, all distinct numbers of at least 1; leave "
                "it out for the default"
            )
        if not pgd and (self.max_distance is not None or self.random_start):
            raise ValueError("max_distance, random_start: are for pgd; leave them out")
        if self.norm == "Linf" and (self.max_distance or 0) > 1:
            raise ValueError(
                f"max_distance: {self.max_distance:g}, expected at most 1 with Linf: pixels are in "
                "0 to 1"
            )
        return self


def _distinct(values: tuple[float, ...]) -> bool:
    return 0 < len(set(values)) == len(values)


class AttackCheckConfig(OnImages):
    """How attacks are checked.

    Attributes
    ----------
    n_images : int
        Number of correctly classified images to use, evenly over the classes; all of them, where a
        network classifies fewer correctly.
    distances : tuple of float
        L-inf sizes of the perturbations, rising, pixels in 0 to 1.
    n_noise : int
        Random perturbations of each size that an attack has to beat.
    seed : int
        Decides images and noise.
    autoattack : bool
        Check the ensemble of Croce and Hein 2020 too, at a small budget, in balls of these sizes.
    """

    n_images: int = Field(default=100, ge=10)
    distances: tuple[float, ...] = Field(default=(0.002, 0.005, 0.01, 0.03), min_length=1)
    n_noise: int = Field(default=10, ge=1)
    seed: Seed = 0
    autoattack: bool = added(False, since="0.2.0")

    @field_validator("distances")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not (value[0] > 0 and value[-1] <= 1 and all(a < b for a, b in pairwise(value))):
            raise ValueError(f"{value}: expected rising sizes between 0 and 1")
        return value
