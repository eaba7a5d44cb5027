"""Spatter of Hendrycks and Dietterich 2019: drops of water or of mud on a lens.

What its arguments are says :mod:`~regularized_training.robustness.corruptions.noise`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regularized_training.robustness.blurring import blurred
from regularized_training.robustness.corruptions.filters import (
    correlated,
    mirrored,
)
from regularized_training.robustness.corruptions.noise import Draws, Size
from regularized_training.robustness.corruptions.severities import Parameters

WATER = (175 / 255, 238 / 255, 238 / 255)
MUD = (63 / 255, 42 / 255, 20 / 255)
WEAK, STRONG = 50, 150  # edges: gradients that belong to one if a strong one is beside them
FARTHEST = 20  # pixels from an edge that are told apart
SIDE, DIAGONAL, KNIGHT = 1.0, 1.4, 2.1969  # lengths of steps, by which distances are measured
EMBOSS = ((-2.0, -1, 0), (-1, 1, 1), (0, 1, 2))


def draw_spatter(rng: np.random.Generator, n: int, size: Size, p: Parameters) -> Draws:
    """What drops are made of."""
    return (rng.standard_normal((n, 1, *size), np.float32),)


def spatter(images: Tensor, p: Parameters, normal: Tensor) -> Tensor:
    """Cover images with water (severities 1 to 3) or mud.

    ``p`` is mean and standard deviation of the liquid, the blur that makes drops of it in pixels,
    the threshold below which there is none, strength of the water or blur of the mud, and whether
    it is mud.
    """
    mean, deviation, blur, threshold, strength, is_mud = p
    liquid = blurred(normal * deviation + mean, blur, "nearest")
    if is_mud >= 0.5:
        covered = blurred((liquid > threshold).float(), strength, "nearest")
        covered = torch.where(covered < 0.8, 0.0, covered)
        return images * (1 - covered) + covered * _colour(MUD, images)
    liquid = torch.where(liquid < threshold, 0.0, liquid)
    pixels = (liquid * 255).floor() % 256
    shine = pixels * _relief(pixels)
    shine = shine / shine.amax((2, 3), keepdim=True).clamp(min=1e-6)
    return images + strength * shine * _colour(WATER, images)


def _colour(colour: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(colour, device=images.device).view(1, 3, 1, 1)


def _relief(pixels: Tensor) -> Tensor:
    """How light falls on drops: their distance from an edge, equalised and embossed."""
    distance = _distance(edges(pixels)).clamp(max=FARTHEST)
    distance = _equalised((_box_mean(distance) + 1e-4).floor())
    kernel = torch.tensor(EMBOSS, device=pixels.device)
    embossed = correlated(distance, kernel).clamp(0, 255)
    return _box_mean(embossed).round()


def _box_mean(images: Tensor) -> Tensor:
    return F.avg_pool2d(mirrored(images, 1), 3, 1)


def edges(pixels: Tensor) -> Tensor:
    """Edges by Canny's method, (n, 1, height, width) bool.

    Parameters
    ----------
    pixels : (n, 1, height, width) Tensor
        0 to 255.
    """
    padded = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=pixels.device)
    dx = F.conv2d(padded, across[None, None])
    dy = F.conv2d(padded, across.T[None, None])
    size = dx.abs() + dy.abs()
    around = F.pad(size, (1, 1, 1, 1))
    height, width = pixels.shape[2:]

    def beside(down: int, right: int) -> Tensor:
        return around[:, :, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    steepness = np.tan(np.pi / 8)
    flat = dy.abs() < dx.abs() * steepness
    steep = dy.abs() > dx.abs() * (steepness + 2)
    rising = torch.signbit(dx) != torch.signbit(dy)
    horizontal = (size > beside(0, -1)) & (size >= beside(0, 1))
    vertical = (size > beside(-1, 0)) & (size >= beside(1, 0))
    falling_peak = (size > beside(-1, -1)) & (size > beside(1, 1))
    rising_peak = (size > beside(-1, 1)) & (size > beside(1, -1))
    diagonal = torch.where(rising, rising_peak, falling_peak)
    peak = torch.where(flat, horizontal, torch.where(steep, vertical, diagonal))
    weak = peak & (size > WEAK)
    found = weak & (size > STRONG)
    while True:
        grown = (F.max_pool2d(found.float(), 3, 1, 1) > 0) & weak
        if torch.equal(grown, found):
            return found
        found = grown


def _distance(is_edge: Tensor) -> Tensor:
    """Length of the shortest way to an edge in steps to neighbours and of a knight, in pixels."""
    height, width = is_edge.shape[2:]
    far = torch.full(is_edge.shape, float(FARTHEST + 1), device=is_edge.device)
    distance = torch.where(is_edge, 0.0, far)
    steps = [(0, 1, SIDE), (1, 1, DIAGONAL), (1, 2, KNIGHT)]
    ways = {
        (sign_y * y, sign_x * x, length)
        for a, b, length in steps
        for y, x in ((a, b), (b, a))
        for sign_y in (-1, 1)
        for sign_x in (-1, 1)
    }
    while True:
        around = F.pad(distance, (2, 2, 2, 2), value=float(FARTHEST + 1))
        nearer = distance
        for down, right, length in sorted(ways):
            beside = around[:, :, 2 + down : 2 + down + height, 2 + right : 2 + right + width]
            nearer = torch.minimum(nearer, beside + length)
        if torch.equal(nearer, distance):
            return distance
        distance = nearer


def _equalised(levels: Tensor) -> Tensor:
    """Levels 0 to 255 by their rank among the pixels of an image: its histogram made flat."""
    n = len(levels)
    flat = levels.reshape(n, -1).long()
    counts = torch.zeros(n, 256, device=levels.device)
    counts.scatter_add_(1, flat, torch.ones(flat.shape, device=levels.device))
    total = counts.cumsum(1)
    lowest = total.gather(1, flat.amin(1, keepdim=True))
    rest = flat.shape[1] - lowest
    # An image of one level stays as it is.
    table = ((total - lowest) * 255 / rest.clamp(min=1)).round()
    table = torch.where(rest > 0, table, torch.arange(256.0, device=levels.device))
    return table.gather(1, flat).view(levels.shape)
