"""Balls around images, and planes beside them, within what an image can be: pixels in 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor


def size(change: Tensor, norm: str) -> Tensor:
    """Norm of each perturbation, (n,).

    Parameters
    ----------
    change : (n, channels, height, width) Tensor
    norm : {"Linf", "L2", "L1"}
    """
    flat = change.flatten(1)
    if norm == "Linf":
        return flat.abs().amax(1)
    return flat.norm(dim=1) if norm == "L2" else flat.abs().sum(1)


def into_ball(images: Tensor, origin: Tensor, epsilon: float | Tensor, norm: str) -> Tensor:
    """Points of balls around images, with pixels in 0 to 1.

    The closest one for L-inf and L1; for L2 the closest of the ball, cut to what pixels can be,
    which stays in the ball, since its centre is an image.

    Parameters
    ----------
    images, origin : (n, channels, height, width) Tensor
        `origin` in [0, 1].
    epsilon : float or (n,) Tensor
        Radius, of all balls or of each.
    norm : {"Linf", "L2", "L1"}
    """
    change = images - origin
    radii = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device).view(-1, 1, 1, 1)
    if norm == "Linf":
        change = change.clamp(-radii, radii)
    elif norm == "L2":
        longer = size(change, "L2").clamp(min=1e-12).view(-1, 1, 1, 1)
        change = change * (radii / longer).clamp(max=1)
    else:
        flat = _into_l1_ball(change.flatten(1), origin.flatten(1), radii.flatten(1).double())
        change = flat.view_as(origin)
    return (origin + change).clamp(0, 1)


def _into_l1_ball(change: Tensor, origin: Tensor, epsilon: Tensor) -> Tensor:
    """Proposition 2.1 of Croce and Hein 2021: sign(u) min(max(|u| - lambda, 0), room).

    The lengths sum to epsilon, or lambda is 0. Their sum falls with lambda in straight pieces,
    which meet where a length becomes 0 and where it becomes what the pixel has room for. Radii are
    (n, 1) or (1, 1).
    """
    length = change.abs().double()
    room = torch.where(change > 0, 1 - origin, origin).double()
    meet = torch.cat([length, length - room], 1)
    meet, order = meet.sort(1, descending=True)
    steeper = torch.ones_like(length)
    slope = torch.cat([steeper, -steeper], 1).gather(1, order).cumsum(1)
    pieces = slope[:, :-1] * (meet[:, :-1] - meet[:, 1:])
    total = _after_0(pieces.cumsum(1))
    last = ((total <= epsilon).sum(1, keepdim=True) - 1).clamp(min=0)
    beyond = (epsilon - total.gather(1, last)) / slope.gather(1, last).clamp(min=1)
    threshold = (meet.gather(1, last) - beyond).clamp(min=0)
    kept = (length - threshold).clamp(min=0).minimum(room)
    return (change.sign() * kept).to(change.dtype)


def _after_0(sums: Tensor) -> Tensor:
    """Sums, with a 0 before the first."""
    return torch.nn.functional.pad(sums, (1, 0))


def onto_plane(images: Tensor, normal: Tensor, gain: Tensor, norm: str) -> Tensor:
    """The smallest change with <normal, change> = gain that leaves pixels in 0 to 1.

    Where no image lies that far, the change that comes closest. By water-filling: all pixels move
    at a speed that the norm decides until they have no room left; in L1 one after another.

    Parameters
    ----------
    images, normal : (n, channels, height, width) Tensor
    gain : (n,) Tensor
    norm : {"Linf", "L2", "L1"}

    Returns
    -------
    (n, channels, height, width) Tensor
    """
    x = images.flatten(1).double()
    toward = normal.flatten(1).double() * gain.sign().double()[:, None]
    wanted, worth = gain.abs().double()[:, None], toward.abs()
    room = torch.where(toward > 0, 1 - x, x).where(worth > 0, 0.0)
    if norm == "L1":
        order = worth.argsort(dim=1, descending=True)
        before = _after_0((worth * room).gather(1, order).cumsum(1))[:, :-1]
        left = (wanted - before).clamp(min=0) / worth.gather(1, order).clamp(min=1e-30)
        length = torch.empty_like(room).scatter(1, order, left.minimum(room.gather(1, order)))
    else:
        speed = worth if norm == "L2" else (worth > 0).double()
        until = room / speed.clamp(min=1e-30)
        time, order = until.sort(1)
        stopped = _after_0((worth * room).gather(1, order).cumsum(1))
        moving = (worth * speed).gather(1, order)
        moving = _after_0(moving.flip(1).cumsum(1)).flip(1)  # summed from the end, to be exactly 0
        time = _after_0(time)
        last = ((stopped + time * moving) <= wanted).sum(1, keepdim=True) - 1
        stopped, moving = stopped.gather(1, last), moving.gather(1, last)
        length = ((wanted - stopped) / moving.clamp(min=1e-30) * speed).minimum(room)
    return (toward.sign() * length).to(images.dtype).view_as(images)
