"""Auto-PGD: projected gradient descent that finds its step size by itself.

In L-inf and L2 that of Croce and Hein 2020, in L1 that of Croce and Hein 2021, whose steps change
few pixels. An image that is fooled leaves the batch at the next checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from regularized_training.robustness.autoattack.asked import Asked, AskedNetwork, Loss
from regularized_training.robustness.autoattack.geometry import into_ball, size

MOMENTUM = 0.75  # alpha
ENOUGH = 0.75  # rho: of an interval's steps, how many have to raise the loss
L1_SPARSITY = 0.2  # of pixels, that the first steps in L1 change
L1_INTERVAL = 0.04  # of all steps, from one checkpoint to the next
L1_BALLS = ((3, 0.3), (2, 0.3), (1, 0.4))  # radii in epsilon, and shares of the steps

LossOf = Callable[[Tensor], Loss]  # for images with these numbers in the batch


@dataclass
class _Walk:
    """Where the images of a batch are that are not yet fooled; one row for each."""

    number: Tensor  # in the batch that was given
    origin: Tensor
    labels: Tensor
    here: Tensor
    gradient: Tensor
    value: Tensor
    best: Tensor  # where the loss was largest
    best_gradient: Tensor
    best_value: Tensor
    step: Tensor

    def keep(self, kept: Tensor) -> None:
        """Go on with these rows alone."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[kept])

    def note(self, asked: Asked) -> None:
        """What the network says of the images as they are now."""
        self.value, self.gradient = asked.value, asked.gradient
        better = asked.value > self.best_value
        rows = _of_images(better)
        self.best = torch.where(rows, self.here, self.best)
        self.best_gradient = torch.where(rows, asked.gradient, self.best_gradient)
        self.best_value = torch.where(better, asked.value, self.best_value)

    def return_to_best(self, some: Tensor) -> None:
        """Go on from where the loss was largest."""
        self.here = torch.where(_of_images(some), self.best, self.here)
        self.gradient = torch.where(_of_images(some), self.best_gradient, self.gradient)
        self.value = torch.where(some, self.best_value, self.value)


def apgd(
    network: AskedNetwork,
    images: Tensor,
    labels: Tensor,
    loss: LossOf,
    start: Tensor,
    *,
    norm: str,
    epsilon: float,
    steps: int,
) -> Tensor:
    """Look for images in balls that a network misclassifies.

    Parameters
    ----------
    network : AskedNetwork
    images : (n, channels, height, width) Tensor
    labels : (n,) Tensor
    loss : callable
        What is to become large, of the images with the numbers that it is given.
    start : (n, channels, height, width) Tensor
        Where to start from, in a ball of radius 1.
    norm : {"Linf", "L2", "L1"}
    epsilon : float
        Radius.
    steps : int
        How often the network is asked, but for once at the start of each ball.

    Returns
    -------
    (n, channels, height, width) Tensor
        Within the balls; misclassified where that was found.
    """
    found = images.clone()
    if norm != "L1":
        walk = _begin(network, images, labels, loss, images + epsilon * start, norm, epsilon)
        _dense(network, walk, loss, found, norm, epsilon, steps)
        return found
    # Balls larger than allowed come first, so that a start is found outside the smallest.
    here, sparsity = images + L1_BALLS[0][0] * epsilon * start, None
    for times, share in L1_BALLS:
        radius = times * epsilon
        walk = _begin(network, images, labels, loss, here, norm, radius)
        if sparsity is None:
            sparsity = torch.full_like(walk.value, L1_SPARSITY * images[0].numel())
        inside = found if times == 1 else None
        _sparse(network, walk, loss, inside, sparsity, radius, max(1, round(share * steps)))
        if times > 1:
            here = walk.best
            sparsity = _n_changed(into_ball(here, images, epsilon, norm) - images) / 1.5
    return found


def _begin(
    network: AskedNetwork,
    images: Tensor,
    labels: Tensor,
    loss: LossOf,
    here: Tensor,
    norm: str,
    epsilon: float,
) -> _Walk:
    number = torch.arange(len(images), device=images.device)
    here = into_ball(here, images, epsilon, norm)
    asked = network.ask(here, loss(number))
    step = torch.full_like(asked.value, epsilon if norm == "L1" else 2 * epsilon)
    return _Walk(
        number, images, labels, here, asked.gradient, asked.value,
        here, asked.gradient, asked.value, step,
    )  # fmt: skip


def _dense(
    network: AskedNetwork,
    walk: _Walk,
    loss: LossOf,
    found: Tensor,
    norm: str,
    epsilon: float,
    steps: int,
) -> None:
    """Algorithm 1 of Croce and Hein 2020, from a walk's beginning; fills in what is found."""
    previous = walk.here
    rose = torch.zeros_like(walk.value)
    halved = torch.zeros_like(walk.value, dtype=torch.bool)
    best_then = walk.best_value
    fooled = torch.zeros_like(halved)
    checkpoints = _checkpoints(steps)
    last = 0
    for k in range(1, steps + 1):
        stepped = walk.here + _of_images(walk.step) * _steepest(walk.gradient, norm)
        stepped = into_ball(stepped, walk.origin, epsilon, norm)
        weight = MOMENTUM if k > 1 else 1.0
        moved = walk.here + weight * (stepped - walk.here) + (1 - weight) * (walk.here - previous)
        previous, before = walk.here, walk.value
        walk.here = into_ball(moved, walk.origin, epsilon, norm)
        asked = network.ask(walk.here, loss(walk.number))
        walk.note(asked)
        rose += walk.value > before
        fooled |= _keep_fooled(walk, asked, found)
        if k not in checkpoints:
            continue
        # The loss rose too seldom, or has not found anything better since the last checkpoint.
        stuck = (rose < ENOUGH * (k - last)) | (~halved & (walk.best_value <= best_then))
        walk.step = torch.where(stuck, walk.step / 2, walk.step)
        walk.return_to_best(stuck)
        halved, best_then, last = stuck, walk.best_value, k
        rose = torch.zeros_like(rose)
        going = ~fooled
        if not going.any():
            return
        walk.keep(going)
        previous, rose, halved = previous[going], rose[going], halved[going]
        best_then, fooled = best_then[going], fooled[going]


def _sparse(
    network: AskedNetwork,
    walk: _Walk,
    loss: LossOf,
    found: Tensor | None,
    sparsity: Tensor,
    epsilon: float,
    steps: int,
) -> None:
    """Algorithm 1 of Croce and Hein 2021 in one ball; fills in what is found, unless it is None."""
    interval = max(1, int(L1_INTERVAL * steps))
    fooled = torch.zeros_like(walk.labels, dtype=torch.bool)
    for k in range(1, steps + 1):
        stepped = walk.here + _of_images(walk.step) * _steepest_few(walk.gradient, sparsity)
        walk.here = into_ball(stepped, walk.origin, epsilon, "L1")
        asked = network.ask(walk.here, loss(walk.number))
        walk.note(asked)
        if found is not None:
            fooled |= _keep_fooled(walk, asked, found)
        if k % interval:
            continue
        now = (_n_changed(walk.best - walk.origin) / 1.5).clamp(min=1)
        fewer = now < 0.95 * sparsity
        slower = (walk.step / 1.5).clamp(min=epsilon / 10)
        walk.step = torch.where(fewer, torch.full_like(slower, epsilon), slower)
        walk.return_to_best(fewer)
        sparsity = now
        if found is not None:
            going = ~fooled
            if not going.any():
                return
            walk.keep(going)
            sparsity, fooled = sparsity[going], fooled[going]


def _keep_fooled(walk: _Walk, asked: Asked, found: Tensor) -> Tensor:
    wrong = asked.logits.argmax(1) != walk.labels
    found[walk.number[wrong]] = walk.here[wrong]
    return wrong


def _checkpoints(steps: int) -> set[int]:
    """Eq. 2 and below of Croce and Hein 2020: when step sizes are looked at, ever more often.

    At shares of the steps p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06).
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return {min(steps, int(-(-share * steps // 1))) for share in shares[1:]}


def _steepest(gradient: Tensor, norm: str) -> Tensor:
    """Direction of length 1 in which the loss rises most."""
    if norm == "Linf":
        return gradient.sign()
    # A gradient may be so small that its square is 0.
    scaled = gradient / _of_images(gradient.flatten(1).abs().amax(1).clamp(min=1e-30))
    return scaled / _of_images(size(scaled, "L2").clamp(min=1e-12))


def _steepest_few(gradient: Tensor, sparsity: Tensor) -> Tensor:
    """Direction of L1 length 1 that changes as many pixels as asked for, all by the same amount."""
    flat = gradient.flatten(1)
    largest = flat.abs().argsort(dim=1, descending=True)
    n = sparsity.clamp(1, flat.shape[1]).floor()[:, None]
    ranks = torch.arange(flat.shape[1], device=flat.device).expand_as(flat)
    few = torch.zeros_like(flat).scatter(1, largest, (ranks < n).to(flat.dtype))
    direction = flat.sign() * few
    length = direction.abs().sum(1, keepdim=True).clamp(min=1)
    return (direction / length).view_as(gradient)


def _n_changed(change: Tensor) -> Tensor:
    return (change != 0).flatten(1).sum(1).to(change.dtype)


def _of_images(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
