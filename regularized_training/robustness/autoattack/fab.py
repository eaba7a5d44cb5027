"""FAB, the fast adaptive boundary attack of Croce and Hein 2020, towards a class.

It looks for the closest image that a network misclassifies: where the network is taken for linear,
the next point is the closest on the boundary, drawn to the original image; and it goes on from
between the two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regularized_training.robustness.autoattack.asked import AskedNetwork
from regularized_training.robustness.autoattack.geometry import onto_plane, size

OVERSHOOT = 1.05  # eta
MOST_DRAWN = 0.1  # alpha_max: how much the original counts
BACKWARD = 0.9  # beta
SEARCH_STEPS = 3  # of the last search, between the image and the closest one


def fab(
    network: AskedNetwork,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    *,
    norm: str,
    steps: int,
    enough: float,
) -> Tensor:
    """Look for the closest images that a network misclassifies.

    Parameters
    ----------
    network : AskedNetwork
    images : (n, channels, height, width) Tensor
    labels, targets : (n,) Tensor
        Whose boundary is followed. Any wrong answer counts.
    norm : {"Linf", "L2", "L1"}
    steps : int
    enough : float
        An image that is fooled within this distance leaves the batch.

    Returns
    -------
    (n, channels, height, width) Tensor
        The closest that were found; the images themselves where none was.
    """
    found = images.clone()
    far = torch.full((len(images),), torch.inf, device=images.device)
    rows = torch.arange(len(images), device=images.device)
    here = images
    for _ in range(steps):
        here = _next(network, here, images[rows], labels[rows], targets[rows], norm)
        wrong = network.logits(here).argmax(1) != labels[rows]
        distance = size(here - images[rows], norm)
        closer = wrong & (distance < far[rows])
        found[rows[closer]], far[rows[closer]] = here[closer], distance[closer]
        back = torch.where(wrong, BACKWARD, 1.0).view(-1, 1, 1, 1)
        here = images[rows] + back * (here - images[rows])
        going = far[rows] > enough
        rows, here = rows[going], here[going]
        if not len(rows):
            break
    return _searched(network, images, labels, found)


def _next(
    network: AskedNetwork,
    here: Tensor,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    norm: str,
) -> Tensor:
    """Eq. 10 of Croce and Hein 2020: between both points' projections, beyond the boundary."""
    asked = network.ask(
        here,
        lambda logits: (
            logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])
        )[:, 0],
    )  # fmt: skip
    # The boundary of the network's linear approximation: <gradient, change> = -value from here.
    back = (asked.gradient * (images - here)).flatten(1).sum(1)
    gain = torch.cat([-asked.value, -asked.value - back])
    both, normal = torch.cat([here, images]), asked.gradient.repeat(2, 1, 1, 1)
    change, of_image = onto_plane(both, normal, gain, norm).chunk(2)
    lengths = size(change, norm), size(of_image, norm)
    drawn = (lengths[0] / (lengths[0] + lengths[1]).clamp(min=1e-12)).clamp(max=MOST_DRAWN)
    drawn = drawn.view(-1, 1, 1, 1)
    moved = (1 - drawn) * (here + OVERSHOOT * change) + drawn * (images + OVERSHOOT * of_image)
    return moved.clamp(0, 1)


def _searched(network: AskedNetwork, images: Tensor, labels: Tensor, found: Tensor) -> Tensor:
    """Bisection between images and the closest misclassified ones."""
    right, wrong = images, found
    for _ in range(SEARCH_STEPS):
        middle = (right + wrong) / 2
        fooled = (network.logits(middle).argmax(1) != labels).view(-1, 1, 1, 1)
        right = torch.where(fooled, right, middle)
        wrong = torch.where(fooled, middle, wrong)
    return wrong
