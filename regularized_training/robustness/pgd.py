"""Foolbox's projected gradient descent, with a ball of its own size around each image.

Foolbox takes one radius for all images of a call. Here it is a tensor that spreads over an image,
in the two places where it counts: where to start, and how far to go. Gradients may be means over
passes through a network with noise of its own. All else is Foolbox's own, but for the L1 ball:
Foolbox shrinks a perturbation to it, here the closest point is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.autoattack.asked import AskedNetwork
from regularized_training.robustness.autoattack.geometry import into_ball
from regularized_training.robustness.foolbox_compat import eagerpy as ep
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.noise import unit_noise


class _InBalls(foolbox.attacks.gradient_descent_base.BaseGradientDescent):
    """Starts in each image's own ball, and follows the mean gradient of several passes."""

    def __init__(self, start: Tensor | None, *, eot: int = 1, **settings: Any) -> None:
        super().__init__(random_start=start is not None, **settings)
        self.start, self.eot = start, eot

    def value_and_grad(self, loss_fn: Any, x: ep.Tensor) -> tuple[ep.Tensor, ep.Tensor]:
        """Means over passes: expectation over transformations, Athalye et al. 2018."""
        value, gradient = super().value_and_grad(loss_fn, x)
        for _ in range(self.eot - 1):
            further = super().value_and_grad(loss_fn, x)
            value, gradient = value + further[0], gradient + further[1]
        return value / self.eot, gradient / self.eot

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


class L1InBalls(_InBalls, foolbox.attacks.L1ProjectedGradientDescentAttack):
    """L1; a step is along the gradient, scaled to its length in L1."""

    def project(self, x: ep.Tensor, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        """The closest point in the ball, with pixels in 0 to 1."""
        return ep.astensor(into_ball(x.raw, x0.raw, epsilon.flatten(), "L1"))


PGD_ATTACKS: dict[str, Any] = {"L2": L2InBalls, "Linf": LinfInBalls, "L1": L1InBalls}


def attack_in_balls(
    model: foolbox.PyTorchModel,
    images: Tensor,
    labels: Tensor,
    radii: Tensor,
    *,
    norm: str,
    step_size: float | Tensor,
    steps: int,
    start: Tensor | None = None,
    eot: int = 1,
) -> tuple[Tensor, Tensor]:
    """Attack images by projected gradient descent, each within a radius of its own.

    Parameters
    ----------
    model : foolbox.PyTorchModel
    images : (n, channels, height, width) Tensor
    labels : (n,) Tensor
        Their classes; any other answer is adversarial.
    radii : (n,) Tensor
    norm : {"L2", "Linf", "L1"}
    step_size : float or (n,) Tensor
        Length of a step, for all images or for each.
    steps : int
    start : (n, channels, height, width) Tensor, optional
        Where to start from, in a ball of radius 1 (:func:`unit_starts`); at the image by default.
    eot : int
        Passes through a network with noise of its own that gradients are averaged over, and logits
        where success is judged.

    Returns
    -------
    attacked : (n, channels, height, width) Tensor
        Within the balls.
    success : (n,) bool Tensor
        Whether they are adversarial.
    """
    if isinstance(step_size, Tensor):
        length: Any = ep.astensor(step_size.to(images.dtype).view(-1, 1, 1, 1))
    else:
        length = step_size
    attack = PGD_ATTACKS[norm](start, abs_stepsize=length, steps=steps, eot=eot)
    sizes: Any = radii.to(images.dtype).view(-1, 1, 1, 1)  # Foolbox's types know of numbers only
    attacked = attack.run(model, images, foolbox.Misclassification(labels), epsilon=sizes)
    attacked = attack.project(ep.astensor(attacked), ep.astensor(images), sizes).raw
    return attacked, AskedNetwork(model, eot).logits(attacked).argmax(1) != labels


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
