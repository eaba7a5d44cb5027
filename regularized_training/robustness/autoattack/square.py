"""The square attack of Andriushchenko et al. 2020, in L1 as by Croce and Hein 2021.

It follows no gradient: it changes a square at a random place, and keeps what brings the right
class's lead down. What is drawn for an image depends on the seed and its number alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regularized_training.robustness.autoattack.asked import AskedNetwork, margin
from regularized_training.robustness.autoattack.geometry import into_ball, size
from regularized_training.robustness.draws import in_blocks

FIRST_SHARE = 0.8  # of an image's pixels, that the first square covers
# After so many queries the share is halved, as in the ensemble, whatever the number of queries.
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
TILES = 5  # along the shorter side, in the first image of L2 and L1
STEEPNESS = {"L2": 2, "L1": 4}  # of hills; in L1 they stand out more
AT_ONCE = 32  # queries whose draws are made together; changing it changes what is drawn
STREAM = 5  # tells these draws from others with the same seed


def square(
    network: AskedNetwork,
    images: Tensor,
    labels: Tensor,
    index: NDArray[np.int64],
    *,
    norm: str,
    epsilon: float,
    queries: int,
    seed: int,
) -> Tensor:
    """Look for images in balls that a network misclassifies, by random search.

    Parameters
    ----------
    network : AskedNetwork
    images : (n, channels, height, width) Tensor
    labels : (n,) Tensor
    index : (n,) int64
        The images' numbers, which decide what is drawn for them.
    norm : {"Linf", "L2", "L1"}
    epsilon : float
    queries : int
    seed : int

    Returns
    -------
    (n, channels, height, width) Tensor
        Within the balls; misclassified where that was found.
    """
    channels, height, width = images.shape[1:]
    start = torch.from_numpy(_first_signs(index, (channels, height, width), norm, seed))
    best = _first(images, start.to(images), epsilon, norm)
    lead = margin(network.logits(best), labels)
    found = best.clone()
    rows = (lead >= 0).nonzero().flatten()
    best, lead = best[rows], lead[rows]
    for query in range(1, queries):
        if not len(rows):
            break
        chunk, place = divmod(query - 1, AT_ONCE)
        if place == 0:
            drawn = torch.from_numpy(_drawn(index, channels, chunk, seed)).to(images)
        numbers = drawn[rows, place]
        covered = _share(query) * height * width
        origin = images[rows]
        change = _square_change if norm == "Linf" else _moved_mass
        proposed = change(best, origin, numbers, covered, epsilon, norm)
        new = margin(network.logits(proposed), labels[rows])
        better = new < lead
        best = torch.where(better.view(-1, 1, 1, 1), proposed, best)
        lead = torch.where(better, new, lead)
        fooled = lead < 0
        if fooled.any():
            found[rows[fooled]] = best[fooled]
            rows, best, lead = rows[~fooled], best[~fooled], lead[~fooled]
    return found


def _share(query: int) -> float:
    """Of pixels that a square covers in this query."""
    return FIRST_SHARE / 2 ** sum(query > when for when in HALVED)


def _drawn(index: NDArray[np.int64], channels: int, chunk: int, seed: int) -> NDArray[np.float32]:
    """Uniform numbers for some queries of each image, (n, query, number)."""
    numbers = (AT_ONCE, channels + 5)
    # The last number of a key tells streams apart even where those before are 0.
    key = (seed, chunk, STREAM)
    (drawn,) = in_blocks(index, key, lambda rng, n: (rng.random((n, *numbers), np.float32),))
    return drawn


def _first_signs(
    index: NDArray[np.int64], shape: tuple[int, int, int], norm: str, seed: int
) -> NDArray[np.float32]:
    """-1 or 1 for each column in L-inf, else for each tile, of every channel."""
    channels, height, width = shape
    tile = max(1, min(height, width) // TILES)
    cells = (1, width) if norm == "Linf" else (height // tile, width // tile)

    def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float32]]:
        return (2 * rng.integers(0, 2, (n, channels, *cells)).astype(np.float32) - 1,)

    return in_blocks(index, (seed, STREAM + 1), draw)[0]


def _first(images: Tensor, signs: Tensor, epsilon: float, norm: str) -> Tensor:
    """Vertical stripes in L-inf, else tiles with a pattern that is strong in their middle.

    In L1 they are made too long and then cut, by which only the middles remain.
    """
    if norm == "Linf":
        return into_ball(images + epsilon * signs, images, epsilon, norm)
    tile = max(1, min(images.shape[2:]) // TILES)
    pattern = _hill(tile, tile, STEEPNESS[norm]).to(images)
    tiled = torch.kron(signs, pattern)
    change = torch.zeros_like(images)
    change[:, :, : tiled.shape[2], : tiled.shape[3]] = tiled
    length = epsilon if norm == "L2" else 2 * images.shape[1] * epsilon
    change = change * (length / size(change, norm)).view(-1, 1, 1, 1)
    return into_ball(images + change, images, epsilon, norm)


def _square_change(
    best: Tensor, origin: Tensor, numbers: Tensor, covered: float, epsilon: float, norm: str
) -> Tensor:
    """Algorithm 2 of Andriushchenko et al. 2020: a square at the ball's edge, of one colour."""
    height, width = best.shape[2:]
    side = min(max(round(covered**0.5), 1), height, width)
    rows, columns = _corners(numbers[:, 0], height - side), _corners(numbers[:, 1], width - side)
    inside = _within(rows, side, height)[:, None, :, None]
    inside = inside & _within(columns, side, width)[:, None, None, :]
    colour = torch.where(numbers[:, 5:] < 0.5, -epsilon, epsilon)[:, :, None, None]
    return torch.where(inside, (origin + colour).clamp(0, 1), best)


def _moved_mass(
    best: Tensor, origin: Tensor, numbers: Tensor, covered: float, epsilon: float, norm: str
) -> Tensor:
    """Algorithm 3 of Andriushchenko et al. 2020: what one square had goes to another.

    Squared lengths are what is shared out in L2, lengths in L1, where each channel may have that of
    all, and what is too long is cut.
    """
    height, width = best.shape[2:]
    side = min(max(round(covered**0.5), 3), height, width)
    side -= side % 2 == 0
    power = 2 if norm == "L2" else 1
    change = best - origin
    taken = _window(numbers[:, 0], numbers[:, 1], side, best)
    given = _window(numbers[:, 2], numbers[:, 3], side, best)
    pattern = _two_hills(side, STEEPNESS[norm]).to(best)
    turned = (numbers[:, 4] < 0.5).view(-1, 1, 1)
    pattern = torch.where(turned, pattern.T, pattern)[:, None]
    pattern = pattern / pattern.abs().pow(power).sum((2, 3), keepdim=True) ** (1 / power)
    sign = torch.where(numbers[:, 5:] < 0.5, -1.0, 1.0)[:, :, None, None]

    def mass(of: Tensor) -> Tensor:
        return of.abs().pow(power).sum((2, 3), keepdim=True)

    unused = (epsilon**power - mass(change).sum(1, keepdim=True)).clamp(min=0)
    there = change.flatten(2).gather(2, given.expand(-1, change.shape[1], -1))
    there = there.unflatten(2, (side, side))
    emptied = change.flatten(2).scatter(2, taken.expand(-1, change.shape[1], -1), 0.0)
    emptied = emptied.scatter(2, given.expand(-1, change.shape[1], -1), 0.0).view_as(change)
    available = mass(change) - mass(emptied) + unused / change.shape[1]
    available = available if norm == "L2" else available * change.shape[1]
    shape = sign * pattern + there / (mass(there) ** (1 / power)).clamp(min=1e-12)
    scale = (available.clamp(min=0) / mass(shape).clamp(min=1e-12)) ** (1 / power)
    filled = emptied.flatten(2).scatter(
        2, given.expand(-1, change.shape[1], -1), (shape * scale).flatten(2)
    )
    filled = filled.view_as(change)
    if norm == "L2":  # what pixels had no room for is not lost
        filled = filled * (epsilon / size(filled, norm).clamp(min=1e-12)).view(-1, 1, 1, 1)
    return into_ball(origin + filled, origin, epsilon, norm)


def _corners(number: Tensor, most: int) -> Tensor:
    """Whole numbers 0 ... most from uniform ones, all alike probable."""
    return (number * (most + 1)).long().clamp(max=most)


def _within(first: Tensor, side: int, length: int) -> Tensor:
    """Which places a window covers, (n, length) bool."""
    place = torch.arange(length, device=first.device)
    return (place >= first[:, None]) & (place < first[:, None] + side)


def _window(number: Tensor, other: Tensor, side: int, images: Tensor) -> Tensor:
    """Places of the pixels of a window in flat images, (n, 1, side * side)."""
    height, width = images.shape[2:]
    along = torch.arange(side, device=images.device)
    rows = _corners(number, height - side)[:, None, None] + along[:, None]
    columns = _corners(other, width - side)[:, None, None] + along
    return (rows * width + columns).flatten(1)[:, None]


def _hill(height: int, width: int, steepness: int) -> Tensor:
    """Eq. 2 of Andriushchenko et al. 2020: sum of 1 / (n + 1 - k)^2 over k = 0 ... M(r, s).

    n is half the height, and M how many pixels r, s lies from the edge, where the pattern is flat.
    The power is 2 in L2.
    """
    n = height // 2
    rows = (torch.arange(height) - n).abs()[:, None]
    columns = (torch.arange(width) - width // 2).abs()
    inward = (n - torch.maximum(rows, columns)).clamp(min=0)
    terms = torch.tensor([(n + 1.0 - k) ** -steepness for k in range(n + 1)])
    return terms.cumsum(0)[inward]


@cache
def _two_hills(side: int, steepness: int) -> Tensor:
    """A hill on the left half of a square, and a valley on the right."""
    left = side // 2
    return torch.cat([_hill(side, left, steepness), -_hill(side, side - left, steepness)], 1)
