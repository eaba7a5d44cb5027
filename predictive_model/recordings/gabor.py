"""GaborEnergies: a fixed bank of quadrature Gabors, the textbook model of complex cells."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.recordings.gabor_config import GaborConfig

# Filters end where their envelope has fallen to exp(-2.2 ** 2 / 2) = 0.09 of its peak.
EXTENT = 2.2
# Amplitudes change no faster than the envelope, so each standard deviation of it is sampled at
# least that often, and not necessarily at every pixel.
SAMPLES_PER_SIGMA = 2
# Keeps the gradient finite where there is no contrast; natural images have energies around 1.
NO_ENERGY = 1e-6


class GaborEnergies(nn.Module):
    """Amplitude of an image in each band of frequency and orientation, in squares of pixels.

    The sum of squares of an image's products with an even and an odd Gabor (Adelson and Bergen
    1985), raised to ``exponent``. It has no parameters. Filters are blind to uniform light and
    have norm 1; images are continued by reflection.

    Parameters
    ----------
    config : GaborConfig
    image_shape : (channels, height, width)
        Colours are averaged.

    Attributes
    ----------
    out_shape : (channels, height, width)
        Of the maps: wavelength by wavelength the orientations, in the order of the config.

    Raises
    ------
    ValueError
        If a filter is too large to be centred on each pixel of the image.

    Examples
    --------
    >>> energies = GaborEnergies(GaborConfig(wavelengths=(4, 8)), (1, 64, 64))
    >>> energies(torch.zeros(10, 1, 64, 64)).shape
    torch.Size([10, 16, 8, 8])
    """

    def __init__(self, config: GaborConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, self.image_shape = config, tuple(image_shape)
        _, height, width = image_shape
        rows, columns = max(1, height // config.pool), max(1, width // config.pool)
        self.out_shape = (config.channels, rows, columns)
        self.strides = []
        for number, wavelength in enumerate(config.wavelengths):
            filters = torch.from_numpy(gabor_bank(config, wavelength))
            if filters.shape[-1] // 2 >= min(height, width):
                raise ValueError(
                    f"wavelengths: a Gabor of {wavelength:g} pixels is {filters.shape[-1]} wide, "
                    f"expected less than twice the shorter side of the image, {height} x {width}; "
                    "leave it out or use a smaller envelope"
                )
            # What follows from the config does not have to be stored with an encoder's weights.
            self.register_buffer(f"filters_{number}", filters[:, None], persistent=False)
            steps = [n for n in range(1, config.pool + 1) if config.pool % n == 0]
            finest = config.envelope * wavelength / SAMPLES_PER_SIGMA
            self.strides.append(max([step for step in steps if step <= finest], default=1))

    def forward(self, images: Tensor) -> Tensor:
        """Maps (batch, *out_shape) of images (batch, channels, height, width)."""
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images: shape {tuple(images.shape)}, expected (batch, "
                f"{', '.join(map(str, self.image_shape))})"
            )
        grey = images.mean(1, keepdim=True)
        maps = []
        for number, stride in enumerate(self.strides):
            filters = self.get_buffer(f"filters_{number}")
            margin = filters.shape[-1] // 2
            first = (stride - 1) // 2  # in the middle of the pixels that a sample stands for
            padded = F.pad(grey, [margin] * 4, mode="reflect")[:, :, first:, first:]
            even, odd = F.conv2d(padded, filters, stride=stride).chunk(2, dim=1)
            energy = even.square() + odd.square() + NO_ENERGY
            places = self.out_shape[1:]
            maps.append(F.adaptive_avg_pool2d(energy.pow(self.config.exponent), places))
        return torch.cat(maps, dim=1)


def gabor_bank(config: GaborConfig, wavelength: float) -> NDArray[np.float32]:
    """Filters (2 * orientation, side, side) of one wavelength: the even ones, then the odd."""
    sigma = config.envelope * wavelength
    reach = int(np.ceil(EXTENT * sigma))
    n = config.orientations
    place = np.broadcast_to(np.arange(-reach, reach + 1, dtype=np.float32), (n, 2 * reach + 1))
    pairs = gabor_pairs(
        place,
        place,
        orientation=np.pi * np.arange(n) / n,
        frequency=np.full(n, 1 / wavelength),
        sigma=np.full((n, 2), sigma),
    )
    return np.concatenate(pairs)


def gabor_pairs(
    dx: NDArray[np.float32],
    dy: NDArray[np.float32],
    *,
    orientation: NDArray[np.float64],
    frequency: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Even and odd Gabors, each blind to uniform light and of norm 1.

    Parameters
    ----------
    dx : (n, width), pixels
        Of each column from the centre of each Gabor.
    dy : (n, height), pixels
    orientation : (n,) radians
        Direction across the stripes: 0 prefers vertical stripes.
    frequency : (n,) cycles per pixel
    sigma : (n, 2) pixels
        Standard deviation of the envelope across and along the stripes.

    Returns
    -------
    even, odd : (n, height, width) float32
    """
    cos, sin = (f(orientation).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    across = cos * dx[:, None, :] + sin * dy[:, :, None]
    along = cos * dy[:, :, None] - sin * dx[:, None, :]
    widths = sigma.astype(np.float32)[:, :, None, None]
    envelope = np.exp(-((across / widths[:, 0]) ** 2 + (along / widths[:, 1]) ** 2) / 2)
    angle = (2 * np.pi * frequency).astype(np.float32)[:, None, None] * across
    even, odd = (envelope * f(angle) for f in (np.cos, np.sin))
    for gabor in (even, odd):
        light = gabor.sum((1, 2)) / envelope.sum((1, 2))
        gabor -= light[:, None, None] * envelope
        gabor /= np.linalg.norm(gabor, axis=(1, 2), keepdims=True)
    return even, odd
