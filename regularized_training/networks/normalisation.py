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
        1 or 3.
    mean, std : tuple of float, optional
        Of each channel; those of ``CHANNEL_STATISTICS`` by default.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        n_channels: int,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        if n_channels not in CHANNEL_STATISTICS:
            raise ValueError(f"n_channels: {n_channels}, expected 1 for grey or 3 for colour")
        usual_mean, usual_std = CHANNEL_STATISTICS[n_channels]
        # Constants, so not in the state dict.
        for name, values in (("mean", mean or usual_mean), ("std", std or usual_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, channels, height, width), normalised."""
        return (images - self.mean) / self.std
