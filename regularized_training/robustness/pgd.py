"""Foolbox's projected gradient descent, with a ball of its own size around each image.

Foolbox takes one radius for all images of a call. Here it is a tensor that spreads over an image,
in the two places where it counts: where to start, and how far to go. All else is Foolbox's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.foolbox_compat import eagerpy as ep
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.noise import unit_noise


class _InBalls(foolbox.attacks.gradient_descent_base.BaseGradientDescent):
    """Starts in each image's own ball."""

    def __init__(self, start: Tensor | None, **settings: Any) -> None:
        super().__init__(random_start=start is not None, **settings)
        self.start = start

    def get_random_start(self, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        """The point of the ball of radius 1, in that of each image."""
        return x0 + ep.astensor(epsilon * self.start)


class LinfInBalls(_InBalls, foolbox.attacks.LinfProjectedGradientDescentAttack):
    """L-inf: balls are cubes."""

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        """The closest point in the cube."""
        return x0 + (x - x0).clip(-epsilon, epsilon)


class L2InBalls(_InBalls, foolbox.attacks.L2ProjectedGradientDescentAttack):
    """L2."""

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        """The closest point in the ball."""
        norm = (x - x0).flatten(start=1).norms.l2(axis=-1).raw.clamp(min=1e-12)
        shrunk = (epsilon.flatten() / norm).clamp(max=1).view_as(epsilon)
        return x0 + (x - x0) * ep.astensor(shrunk)


PGD_ATTACKS = {"L2": L2InBalls, "Linf": LinfInBalls}


def attack_in_balls(
    model: foolbox.PyTorchModel,
    images: Tensor,
    labels: Tensor,
    radii: Tensor,
    *,
    norm: str,
    step_size: float,
    steps: int,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attack images by projected gradient descent, each within a radius of its own.

    Parameters
    ----------
    model : foolbox.PyTorchModel
    images : (n, channels, height, width) Tensor
    labels : (n,) Tensor
        Their classes; any other answer is adversarial.
    radii : (n,) Tensor
    norm : {"L2", "Linf"}
    step_size : float
        Length of a step.
    steps : int
    start : (n, channels, height, width) Tensor, optional
        Where to start from, in a ball of radius 1 (:func:`unit_starts`); at the image by default.

    Returns
    -------
    attacked : (n, channels, height, width) Tensor
        Within the balls.
    success : (n,) bool Tensor
        Whether they are adversarial.
    """
    attack = PGD_ATTACKS[norm](start, abs_stepsize=step_size, steps=steps)
    sizes: Any = radii.to(images.dtype).view(-1, 1, 1, 1)  # Foolbox's types know of numbers only
    attacked = attack.run(model, images, foolbox.Misclassification(labels), epsilon=sizes)
    attacked = attack.project(ep.astensor(attacked), ep.astensor(images), sizes).raw
    with torch.no_grad():
        return attacked, model(attacked).argmax(1) != labels


def unit_starts(index: NDArray[np.int64], shape: tuple[int, ...], seed: int, norm: str) -> Tensor:
    """Points of the ball of radius 1, uniform, for the images with these numbers.

    An image has the same one whichever others are attacked with it. For L2 it is that of Voelker
    et al. 2017, as in Foolbox: of a point on a sphere of two dimensions more, all but two. For L1
    likewise of a point on the surface of a ball of one dimension more, all but one.

    Parameters
    ----------
    index : (n,) int64
    shape : tuple of int
        Of one image.
    seed : int
    norm : {"L2", "Linf", "L1"}

    Returns
    -------
    (n, *shape) float32 Tensor
    """
    if norm == "Linf":
        return unit_noise(index, shape, seed, "uniform")
    if norm == "L1":
        uniform = unit_noise(index, (int(np.prod(shape)) + 1,), seed, "uniform")
        drawn = -uniform.sign() * (-uniform.abs()).log1p()  # of exponential length
        drawn = drawn / drawn.abs().sum(1, keepdim=True)
        return drawn[:, :-1].reshape(-1, *shape)
    drawn = unit_noise(index, (int(np.prod(shape)) + 2,), seed)
    drawn /= drawn.norm(dim=1, keepdim=True)
    return drawn[:, :-2].reshape(-1, *shape)
