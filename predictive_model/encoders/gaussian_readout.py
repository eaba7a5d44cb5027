"""Gaussian readout of neuralpredictors, the same numbers in less time on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from predictive_model.encoders.neuralpredictors_compat import FullGaussian2d

# What the neurons of some images see is computed at a time; it stays in a core's own cache.
PART_BYTES = 2**21


class GaussianReadout(FullGaussian2d):
    """Each neuron's features at a point of the core's maps, times its feature vector.

    State dict and results are those of ``FullGaussian2d``, up to the order of summation. On a CPU
    that spends nearly all of its time in ``grid_sample``, which for each neuron and channel goes
    to four distant places in memory. With channels last the four are rows, added up by
    ``embedding_bag``: for 7,776 neurons and maps of 64 x 28 x 56 an image takes a thirtieth of the
    time on one core, and in training, forwards and backwards, a fifth.
    """

    def forward(
        self,
        x: Tensor,
        sample: bool | None = None,
        shift: Tensor | None = None,
        out_idx: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """Responses (batch, neuron) to features (batch, channels, height, width).

        Parameters
        ----------
        x : tensor
        sample : bool, optional
            Draw positions from each neuron's Gaussian; by default in training only.
        shift : (batch, 2) tensor, optional
            Added to all positions of an image.
        out_idx : (chosen,) int64 tensor, optional
            Neurons that are asked for, of whom alone responses come back.
        kwargs
            As in ``FullGaussian2d``, which takes over where they are given.
        """
        if x.device.type != "cpu" or kwargs or not self.align_corners:
            return super().forward(x, sample=sample, shift=shift, out_idx=out_idx, **kwargs)
        n, channels, height, width = x.shape
        if (channels, height, width) != tuple(self.in_shape):
            raise ValueError(
                f"features: shape {tuple(x.shape[1:])}, expected {tuple(self.in_shape)}"
            )
        drawn = self.training if sample is None else sample
        grid = self.sample_grid(batch_size=n if drawn else 1, sample=drawn)[:, :, 0]
        if shift is not None:
            alike = bool((shift == shift[:1]).all())
            grid = grid + (shift[:1] if alike else shift)[:, None]
        features, bias = self.features.view(channels, self.outdims).T, self.bias
        if out_idx is not None:
            grid, features = grid[:, out_idx], features[out_idx]
            bias = None if bias is None else bias[out_idx]
        pixels, shares = neighbours(grid, height, width)
        responses = _Read.apply(
            x.permute(0, 2, 3, 1).flatten(1, 2),
            pixels.expand(n, -1, -1),
            shares.expand(n, -1, -1),
            features.contiguous(),
        )
        return responses if bias is None else responses + bias


class _Read(torch.autograd.Function):
    """What neurons see, times their features; seen anew for the gradient, and never kept.

    Of 7,776 neurons and 256 channels it has 8 MB for each image, which take longer to come back
    from memory than to compute.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, pixels: Tensor, shares: Tensor, features: Tensor) -> Tensor:
        """Responses (batch, neuron).

        Parameters
        ----------
        maps : (batch, pixel, channel) tensor
        pixels, shares : (batch, neuron, 4) tensor
            What :func:`neighbours` returns.
        features : (neuron, channel) tensor
        """
        ctx.save_for_backward(maps, pixels, shares, features)
        parts = _parts(features, maps, pixels, shares)
        return torch.cat([torch.linalg.vecdot(seen_of(*part), features) for part in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor]:
        """Gradients of all but the pixels."""
        maps, pixels, shares, features = ctx.saved_tensors
        of_features = torch.zeros_like(features)
        of_maps, of_shares = [], []
        for some, at, share, wanted in _parts(features, maps, pixels, shares, gradient):
            with torch.enable_grad():
                share = share.detach().requires_grad_()
                seen = seen_of(some, at, share)
            # A neuron's features times each of its four neighbours.
            (products,) = torch.autograd.grad(seen, share, features.expand_as(seen))
            of_shares.append(products * wanted[..., None])
            for one, of_image in zip(seen.detach(), wanted, strict=True):
                of_features.addcmul_(one, of_image[:, None])
            if ctx.needs_input_grad[0]:
                weights = share.detach() * wanted[..., None]
                of_maps.append(_given_back(features, at, weights, some.shape[1]))
        whole = torch.cat(of_maps) if of_maps else None
        return whole, None, torch.cat(of_shares), of_features


def _parts(features: Tensor, *batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """As many images at a time as what neurons see of them fits into ``PART_BYTES``."""
    size = max(1, PART_BYTES // max(1, features.nbytes))
    return zip(*(batch.split(size) for batch in batches), strict=True)


def seen_of(maps: Tensor, pixels: Tensor, shares: Tensor) -> Tensor:
    """Weighted sums of pixels, (batch, point, channel).

    Parameters
    ----------
    maps : (batch, pixel, channel) tensor
    pixels, shares : (batch, point, neighbour) tensor
        Pixels and their weights.
    """
    n, n_pixels, channels = maps.shape
    seen = F.embedding_bag(
        _of_all(pixels, n_pixels).flatten(0, 1),
        maps.reshape(-1, channels),
        per_sample_weights=shares.flatten(0, 1),
        mode="sum",
    )
    return seen.view(n, -1, channels)


def _given_back(features: Tensor, pixels: Tensor, weights: Tensor, n_pixels: int) -> Tensor:
    """For each pixel the features of those who see it, weighted: (batch, pixel, channel)."""
    n, n_points, n_neighbours = pixels.shape
    ascending, order = _of_all(pixels, n_pixels).flatten().sort()
    summed = F.embedding_bag(
        order // n_neighbours % n_points,
        features,
        torch.searchsorted(ascending, torch.arange(n * n_pixels)),
        per_sample_weights=weights.flatten()[order],
        mode="sum",
    )
    return summed.view(n, n_pixels, -1)


def _of_all(pixels: Tensor, n_pixels: int) -> Tensor:
    """Pixels of each image, counted through all images."""
    return pixels + torch.arange(len(pixels))[:, None, None] * n_pixels


def neighbours(grid: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels around points, and what each of them weighs, bilinearly.

    Parameters
    ----------
    grid : (batch, point, 2) tensor
        Horizontal and vertical, from -1 to 1 between the centres of the outermost pixels.
    height, width : int
        Of the maps.

    Returns
    -------
    pixels : (batch, point, 4) int64 tensor
        Counted row by row.
    shares : (batch, point, 4) tensor
        0 of a pixel that would be outside.
    """
    columns, across = _along(grid[..., 0], width)
    rows, down = _along(grid[..., 1], height)
    pixels = [row * width + column for row in rows for column in columns]
    shares = [below * beside for below in down for beside in across]
    return torch.stack(pixels, -1), torch.stack(shares, -1)


def _along(at: Tensor, size: int) -> tuple[list[Tensor], list[Tensor]]:
    """The lower and the upper neighbour along an axis, and the shares of both."""
    position = (at + 1) / 2 * (size - 1)
    lower = position.detach().floor()
    beyond = position - lower
    pixels, shares = [], []
    for pixel, share in ((lower, 1 - beyond), (lower + 1, beyond)):
        pixels.append(pixel.clamp(0, size - 1).long())
        shares.append(share * ((pixel >= 0) & (pixel < size)))
    return pixels, shares
