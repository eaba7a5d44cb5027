"""A network as attacks ask it: answers, and gradients of losses, averaged over its own noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor], Tensor]  # of (n, class) logits, (n,): what an attack makes large


class Asked(NamedTuple):
    """What a network says of images.

    Attributes
    ----------
    value : (n,) Tensor
        The loss.
    gradient : (n, channels, height, width) Tensor
        Of the loss.
    logits : (n, class) Tensor
    """

    value: Tensor
    gradient: Tensor
    logits: Tensor


class AskedNetwork:
    """Expectation over transformations (Athalye et al. 2018): k passes instead of one.

    A network with noise of its own answers by the mean of its logits over k passes; losses and
    their gradients are means over them. A step then follows how the network answers on the whole
    and not one draw of its noise.

    Parameters
    ----------
    network : callable
        Takes images in [0, 1]; its parameters need no gradients meanwhile.
    eot : int
        k; 1 for a network without noise.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], eot: int = 1) -> None:
        self.network, self.eot = network, eot

    def logits(self, images: Tensor) -> Tensor:
        """Mean logits, (n, class)."""
        with torch.no_grad():
            total = self.network(images)
            for _ in range(self.eot - 1):
                total = total + self.network(images)
        return total / self.eot

    def ask(self, images: Tensor, loss: Loss) -> Asked:
        """The mean of a loss, its gradient, and the mean logits."""
        images = images.detach().requires_grad_(True)
        passes = [self._pass(images, loss) for _ in range(self.eot)]
        if self.eot == 1:
            return passes[0]
        return Asked(*(torch.stack(part).mean(0) for part in zip(*passes, strict=True)))

    def _pass(self, images: Tensor, loss: Loss) -> Asked:
        with torch.enable_grad():
            logits = self.network(images)
            value = loss(logits)
            # An answer that does not depend on the image has no gradient, which is one of 0.
            (gradient,) = torch.autograd.grad(value.sum(), images, allow_unused=True)
        gradient = torch.zeros_like(images) if gradient is None else gradient
        return Asked(value.detach(), gradient.nan_to_num(), logits.detach())


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the right class leads, z_y - max z_i over i other than y, (n,).

    Parameters
    ----------
    logits : (n, class) Tensor
    labels : (n,) Tensor

    Examples
    --------
    >>> margin(torch.tensor([[3.0, 1.0, 2.0], [0.0, 4.0, 1.0]]), torch.tensor([0, 2])).tolist()
    [1.0, -3.0]
    """
    of_class = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return of_class - others.amax(1)


def cross_entropy(labels: Tensor) -> Loss:
    """-log p_y."""
    return lambda logits: nn.functional.cross_entropy(logits, labels, reduction="none")


def targeted_dlr(labels: Tensor, targets: Tensor) -> Loss:
    """Eq. 7 of Croce and Hein 2020: -(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2).

    Difference of logits ratio: it does not vanish as a network becomes sure of itself, and does not
    change with the scale of its logits. Of three classes the third stands for the fourth.

    Parameters
    ----------
    labels, targets : (n,) Tensor

    Examples
    --------
    >>> loss = targeted_dlr(torch.tensor([0]), torch.tensor([1]))
    >>> logits = torch.tensor([[6.0, 2.0, 4.0, 0.0]])
    >>> loss(logits), loss(100 * logits)
    (tensor([-0.8000]), tensor([-0.8000]))
    """

    def loss(logits: Tensor) -> Tensor:
        ranked = logits.sort(dim=1, descending=True).values
        third, fourth = ranked[:, 2], ranked[:, min(3, logits.shape[1] - 1)]
        lead = (logits.gather(1, labels[:, None]) - logits.gather(1, targets[:, None]))[:, 0]
        return -lead / (ranked[:, 0] - (third + fourth) / 2).clamp(min=1e-12)

    return loss


def likeliest_others(logits: Tensor, labels: Tensor, n: int) -> Tensor:
    """The n classes other than the right one that a network finds most probable, (image, n).

    All others, if they are fewer than n.

    Examples
    --------
    >>> likeliest_others(torch.tensor([[5.0, 1.0, 3.0]]), torch.tensor([0]), 9).tolist()
    [[2, 1]]
    """
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.argsort(dim=1, descending=True)[:, : min(n, logits.shape[1] - 1)]
