"""The V1 block of Dapello et al. 2020: Gabors, simple and complex cells, and neuronal noise.

It stands in for the first stage of a network. Written from the paper and its published settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.networks.v1_config import Noise, V1Config
from regularized_training.networks.v1_tuning import draw_cells

MEAN, STD = 0.5, 0.5  # by which the block's images are standardised
# Both keep gradients finite where nothing responds.
LEAST_VARIANCE = 1e-4  # of noise
NO_ENERGY = 1e-12  # of a complex cell


class V1Cells(nn.Module):
    """Responses of simple and complex cells, with the noise of neurons.

    A simple cell's response is max(0, g . x), with its Gabor g; a complex cell's is
    sqrt(((g . x)^2 + (h . x)^2) / 2), with h a quarter of a cycle ahead of g; both times the gain.
    Each sees a single channel of the image. Beyond the edge images are continued by 0, which is
    grey. Nothing is learned, nothing is in the state dict: settings and seed decide it all.

    Noise is Gaussian, of the variance of its mean (Poisson-like). Of a mean m = scale * response +
    level it makes m + z sqrt(m), z from the standard normal distribution, which is brought back to
    the responses' units and rectified. Gradients flow through m at given z.

    Parameters
    ----------
    config : V1Config
    n_channels : int
        Of the images.
    simple, complex : int
        Cells at each place.

    Attributes
    ----------
    noise : {"own", "on", "fixed", "off"}
        ``"own"`` is that of the config; see :func:`noise_of`.
    noise_seed : int
        Of fixed noise.
    """

    gabors: Tensor

    def __init__(self, config: V1Config, n_channels: int, simple: int, complex: int) -> None:
        super().__init__()
        self.config, self.simple, self.complex = config, simple, complex
        self.noise: Noise = "own"
        self.noise_seed = config.seed
        banks = []
        # Simple cells, then all first and all second Gabors of complex ones.
        for kind, (n, quadratures) in enumerate(((simple, 1), (complex, 2))):
            rng = np.random.default_rng([config.seed, kind])
            cells = draw_cells(n, config, n_channels, rng)
            of_channel = cells.channel[:, None, None, None] == np.arange(n_channels)[:, None, None]
            for quarters in range(quadratures):
                filters = cells.filters(config, quarters)[:, None] * of_channel
                banks.append(config.gain / quadratures**0.5 * filters)
        gabors = torch.from_numpy(np.concatenate(banks).astype(np.float32))
        self.register_buffer("gabors", gabors, persistent=False)
        self._fixed: tuple[object, Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Responses (batch, simple + complex, height, width) of standardised images."""
        margin = self.config.kernel_size // 2
        seen = F.conv2d(images, self.gabors, stride=self.config.stride, padding=margin)
        simple, even, odd = seen.split([self.simple, self.complex, self.complex], 1)
        complex = (even.square() + odd.square()).clamp(min=NO_ENERGY).sqrt()
        responses = torch.cat([simple.relu(), complex], 1)
        now = self._noise_now()
        return responses if now == "off" else self._noisy(responses, fixed=now == "fixed")

    def _noise_now(self) -> Noise:
        if self.noise != "own":
            return self.noise
        if self.training:
            return "off" if self.config.noise == "off" else "on"
        return "off" if self.config.noise == "training" else self.config.noise

    def _noisy(self, responses: Tensor, *, fixed: bool) -> Tensor:
        scale, level = self.config.noise_scale, self.config.noise_level
        if fixed:
            z = self._fixed_noise(responses)
        else:
            # In the order of a channels-last memory, which is several times as fast.
            like = responses.movedim(1, -1)
            z = torch.randn_like(like, memory_format=torch.contiguous_format).movedim(-1, 1)
        deviation = responses.mul(scale).add_(level + LEAST_VARIANCE).sqrt_()
        # ((m + z sqrt(m)) - level) / scale, with m = scale * response + level.
        return torch.addcmul(responses, z, deviation, value=1 / scale).relu_()

    def _fixed_noise(self, responses: Tensor) -> Tensor:
        """One draw for all images, (1, cells, height, width), drawn on the CPU."""
        key = (self.noise_seed, responses.shape[1:], responses.device, responses.dtype)
        if self._fixed is None or self._fixed[0] != key:
            rng = torch.Generator().manual_seed(self.noise_seed)
            with torch.inference_mode(False):  # or no gradient could be taken with it later
                z = torch.randn(1, *responses.shape[1:], generator=rng)
                self._fixed = (key, z.to(responses.device, responses.dtype))
        return self._fixed[1]


class V1Block(nn.Module):
    """Cells, and a 1 x 1 convolution to the channels of what comes after them.

    Parameters
    ----------
    config : V1Config
    n_channels : int
        Of the images, standardised by ``MEAN`` and ``STD``.
    n_out : int
    width : int
        Of the network; the number of cells is in proportion to it.
    """

    def __init__(self, config: V1Config, n_channels: int, n_out: int, width: int) -> None:
        super().__init__()
        simple, complex = config.cells(width)
        self.cells = V1Cells(config, n_channels, simple, complex)
        self.bottleneck = nn.Conv2d(simple + complex, n_out, 1, bias=False)
        nn.init.kaiming_normal_(self.bottleneck.weight, nonlinearity="linear")

    def forward(self, images: Tensor) -> Tensor:
        """Features (batch, n_out, height, width) of standardised images."""
        return self.bottleneck(self.cells(images))


@contextmanager
def noise_of(network: nn.Module, noise: Noise, seed: int | None = None) -> Iterator[None]:
    """A network's V1 with another noise for a while, in training and in evaluation mode alike.

    Parameters
    ----------
    network : nn.Module
        Others than those with a V1 block stay as they are.
    noise : {"own", "on", "fixed", "off"}
        As its configuration has it; drawn anew in each pass, from torch's generator; one draw for
        all images, by `seed`, so that what it says of an image depends on nothing else; or none.
    seed : int, optional
        That of the configuration by default.

    Examples
    --------
    >>> from regularized_training.networks.architectures import build_network
    >>> from regularized_training.networks.config import NetworkConfig
    >>> config = NetworkConfig.model_validate({"width": 2, "v1": {"stride": 8}})
    >>> network = build_network(config, n_channels=1, n_classes=10, seed=0).eval()
    >>> images = torch.rand(4, 1, 32, 32)
    >>> with noise_of(network, "fixed", seed=1):
    ...     bool(network(images).equal(network(images)))
    True
    """
    cells = [module for module in network.modules() if isinstance(module, V1Cells)]
    before = [(one.noise, one.noise_seed) for one in cells]
    for one in cells:
        one.noise = noise
        one.noise_seed = one.config.seed if seed is None else seed
    try:
        yield
    finally:
        for one, (was, was_seed) in zip(cells, before, strict=True):
            one.noise, one.noise_seed = was, was_seed


def put_v1_first(
    network: nn.Module, config: V1Config, replaced: tuple[str, ...], width: int
) -> None:
    """Have a V1 block stand in for the first stage of a network.

    Parameters
    ----------
    network : nn.Module
        The block takes the place of its first replaced module; the others pass on what they get.
    config : V1Config
    replaced : tuple of str
        Modules from the image on. The first convolution among them says how many channels the block
        sees, and the last how many it passes on.
    width : int

    Raises
    ------
    ValueError
        If there is no such module, or no convolution among them.
    """
    modules = dict(network.named_modules())
    unknown = [name for name in replaced if name not in modules]
    if unknown:
        raise ValueError(
            f"v1.replaces: {', '.join(unknown)} are no modules of {type(network).__name__}; "
            f"expected some of {', '.join(name for name, _ in network.named_children())}, or of "
            "their submodules"
        )
    convolutions = [
        module
        for name in replaced
        for module in modules[name].modules()
        if isinstance(module, nn.Conv2d)
    ]
    if not convolutions:
        raise ValueError(
            f"v1.replaces: no convolution in {', '.join(replaced)}, expected the network's first "
            "stage, whose convolutions say how many channels there are"
        )
    block = V1Block(config, convolutions[0].in_channels, convolutions[-1].out_channels, width)
    for name in replaced:
        network.set_submodule(name, nn.Identity())
    network.set_submodule(replaced[0], block)
