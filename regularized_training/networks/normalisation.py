"""Normalisation as the first layer, so that noise and attacks act on images in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Mean and standard deviation by number of channels: the usual ones of ImageNet for colour.
CHANNEL_STATISTICS = {
    1: ((0.5,), (0.2,)),
    3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel.

    Parameters
    ----------
    n_channels : int
        1 or 3; see ``CHANNEL_STATISTICS``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        if n_channels not in CHANNEL_STATISTICS:
            raise ValueError(f"n_channels: {n_channels}, expected 1 for grey or 3 for colour")
        mean, std = CHANNEL_STATISTICS[n_channels]
        # Constants, so not in the state dict.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, channels, height, width), normalised."""
        return (images - self.mean) / self.std
