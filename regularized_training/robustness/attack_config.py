"""Which attacks, how strong, and on which images. The attacks are in ``attacks``."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from predictive_model.config import Seed
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
        All are tried and the best is taken for each image. For the boundary attack the radius of
        the trust region over the number of pixels, for PGD the length of a step; those of the
        paper by default.
    steps : tuple of int, optional
        Numbers of iterations, all of which are tried likewise; 100, and for PGD the paper's, by
        default.
    n_images : int or "all"
        Number of images to attack, evenly over the classes, or ``"all"``; 1,000 in the paper.
    max_distance : float, optional
        Of PGD: the largest perturbation that is tried; by default as far apart as two images can
        be.
    random_start : bool
        Of PGD: start anywhere in the ball instead of at the image.
    seed : int
        Decides which images are chosen, and all starts.
    batch_size : int
        Changes the speed alone, but for random starts.
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
        return {
            **values,
            "step_sizes": values.get("step_sizes") or sizes,
            "steps": values.get("steps") or steps,
        }

    @model_validator(mode="after")
    def _check(self) -> AttackConfig:
        if self.method == "pgd" and self.norm not in PGD_NORMS:
            raise ValueError(f"norm: {self.norm} with pgd, expected one of {', '.join(PGD_NORMS)}")
        if min(self.step_sizes) <= 0 or len(set(self.step_sizes)) < len(self.step_sizes):
            raise ValueError(f"step_sizes: {self.step_sizes}, expected distinct positive numbers")
        if min(self.steps) < 1 or len(set(self.steps)) < len(self.steps):
            raise ValueError(f"steps: {self.steps}, expected distinct numbers of at least 1")
        if self.method != "pgd" and (self.max_distance is not None or self.random_start):
            raise ValueError("max_distance, random_start: are for pgd; leave them out")
        return self


class AttackCheckConfig(OnImages):
    """How attacks are checked.

    Attributes
    ----------
    n_images : int
        Number of correctly classified images to use, evenly over the classes.
    distances : tuple of float
        L-inf sizes of the perturbations, rising, pixels in 0 to 1.
    n_noise : int
        Random perturbations of each size that an attack has to beat.
    seed : int
        Decides images and noise.
    """

    n_images: int = Field(default=100, ge=10)
    distances: tuple[float, ...] = Field(default=(0.002, 0.005, 0.01, 0.03), min_length=1)
    n_noise: int = Field(default=10, ge=1)
    seed: Seed = 0

    @field_validator("distances")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not (value[0] > 0 and value[-1] <= 1 and all(a < b for a, b in pairwise(value))):
            raise ValueError(f"{value}: expected rising sizes between 0 and 1")
        return value
