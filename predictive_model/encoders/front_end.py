"""FrontEnd: what early vision makes of an image before a core learns from it, without learning."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.encoders.config import FrontEndConfig
from predictive_model.recordings.gabor import NO_ENERGY, GaborEnergies

CHUNK = 128  # images filtered at a time; bounds the memory


class FrontEnd(nn.Module):
    """Energies, spots and luminance of images, in squares of pixels, each map standardised.

    It has no parameters. What it makes of an image never changes after :meth:`standardise`, so it
    need be computed only once for each image.

    Parameters
    ----------
    config : FrontEndConfig
    image_shape : (channels, height, width)
        Colours are averaged.

    Attributes
    ----------
    out_shape : (channels, height, width)
        Of the maps.
    mean, std : (channels, 1, 1) tensors
        Taken off and divided by; 0 and 1 before :meth:`standardise`.

    Raises
    ------
    ValueError
        If a Gabor or a spot is too large for the image.

    Examples
    --------
    >>> front_end = FrontEnd(FrontEndConfig(), (1, 64, 64))
    >>> front_end(torch.zeros(10, 1, 64, 64)).shape
    torch.Size([10, 49, 8, 8])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: FrontEndConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.energies = GaborEnergies(config.gabors, image_shape)
        self.out_shape = (config.channels, *self.energies.out_shape[1:])
        for number, sigma in enumerate(config.spots):
            kernel = _gaussian(sigma)
            if len(kernel) // 2 >= min(image_shape[1:]):
                raise ValueError(
                    f"spots: a blur of {sigma:g} pixels reaches {len(kernel) // 2} pixels far, "
                    f"expected less than the shorter side of images of {image_shape[1:]}"
                )
            self.register_buffer(f"blur_{number}", kernel, persistent=False)
        self.register_buffer("mean", torch.zeros(config.channels, 1, 1))
        self.register_buffer("std", torch.ones(config.channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Maps (batch, *out_shape) of normalised images (batch, channels, height, width)."""
        grey = images.mean(1, keepdim=True)
        beside = []
        sharper = grey
        for number in range(len(self.config.spots)):
            blurred = _blur(grey, self.get_buffer(f"blur_{number}"))
            for bright in (sharper - blurred, blurred - sharper):
                energy = bright.relu().square() + NO_ENERGY
                beside.append(energy.pow(self.config.gabors.exponent))
            sharper = blurred
        if self.config.luminance:
            beside.append(grey)
        maps = self.energies(images)
        if beside:
            pooled = F.adaptive_avg_pool2d(torch.cat(beside, dim=1), self.out_shape[1:])
            maps = torch.cat([maps, pooled], dim=1)
        return (maps - self.mean) / self.std

    @torch.no_grad()
    def standardise(self, scans: Iterable[Tensor]) -> None:
        """Give each map mean 0 and variance 1 over all places of some images.

        Parameters
        ----------
        scans : iterable of (n, channels, height, width) tensors
            Normalised train images of each scan that shares the core.
        """
        self.mean.zero_()
        self.std.fill_(1)
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for images in scans:
            for part in images.split(CHUNK):
                maps = self(part).double()
                count += maps[:, 0].numel()
                total = total + maps.sum((0, 2, 3))
                squares = squares + maps.square().sum((0, 2, 3))
        if not count:
            raise ValueError("scans: no images, expected those that the encoder learns from")
        mean = total / count
        std = (squares / count - mean**2).clamp(min=0).sqrt()
        self.mean.copy_(mean[:, None, None])
        # A map that never varies carries nothing; leave its scale.
        self.std.copy_(torch.where(std > 1e-6, std, 1.0)[:, None, None])


def _gaussian(sigma: float) -> Tensor:
    reach = int(np.ceil(3 * sigma))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    return kernel / kernel.sum()


def _blur(images: Tensor, kernel: Tensor) -> Tensor:
    """Images continued by reflection, (batch, 1, height, width), along one axis and the other."""
    padded = F.pad(images, [len(kernel) // 2] * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
