"""Normalisation: by constants as the first layer, so that attacks act on pixels, and by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Mean and standard deviation by number of channels: the usual ones of ImageNet for colour.
CHANNEL_STATISTICS = {
    1: ((0.5,), (0.2,)),
    3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel, perhaps blurred.

    Parameters
    ----------
    n_channels : int
        1 or 3.
    mean, std : float or sequence of float, optional
        Of all channels or of each, of pixels in [0, 1]; those of ``CHANNEL_STATISTICS`` by default.

    Raises
    ------
    ValueError
        If there are not as many as channels, or no pixels in [0, 1] can have them.
    """

    mean: Tensor
    std: Tensor
    blur: Tensor | None

    def __init__(
        self,
        n_channels: int,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if n_channels not in CHANNEL_STATISTICS:
            raise ValueError(f"n_channels: {n_channels}, expected 1 for grey or 3 for colour")
        self._n_channels = n_channels
        self.register_buffer("blur", None, persistent=False)
        usual_mean, usual_std = CHANNEL_STATISTICS[n_channels]
        self.by(usual_mean if mean is None else mean, usual_std if std is None else std)

    def by(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        """Normalise by other constants from now on, which are checked as those of the builder."""
        for name, given in (("mean", mean), ("std", std)):
            values = torch.tensor(_of_channels(name, given, self._n_channels))
            # Constants, so not in the state dict.
            self.register_buffer(name, values.view(-1, 1, 1), persistent=False)

    def blur_by(self, sigma: float) -> None:
        """From now on blur images first, by a Gaussian of standard deviation `sigma` pixels.

        It ends after three standard deviations, and beyond the edge there is the outermost pixel.
        """
        radius = math.ceil(3 * sigma)
        weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1.0) / sigma) ** 2)
        n_channels = len(self.mean)
        self.blur = (weights / weights.sum()).to(self.mean).expand(n_channels, 1, 1, -1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, channels, height, width), normalised."""
        if self.blur is not None:
            radius = self.blur.shape[-1] // 2
            images = F.pad(images, (radius,) * 4, mode="replicate")
            images = F.conv2d(images, self.blur, groups=len(self.mean))
            images = F.conv2d(images, self.blur.mT, groups=len(self.mean))
        return (images - self.mean) / self.std


def _of_channels(name: str, given: float | Sequence[float], n_channels: int) -> tuple[float, ...]:
    values = tuple(given) if isinstance(given, Sequence) else (given,) * n_channels
    if len(values) != n_channels:
        raise ValueError(
            f"{name}: {given}, expected one number or {n_channels}, one for each channel"
        )
    if not all(0 <= value <= 1 for value in values):
        raise ValueError(f"{name}: {given}, expected 0 to 1, as pixels are")
    if name == "std" and not all(values):
        raise ValueError(f"{name}: {given}, expected more than 0")
    return tuple(map(float, values))


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """All batch normalisation of a network."""
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def normalised_by_training(network: nn.Module) -> bool:
    """Whether a network, when it is tested, uses statistics that it gathered in training."""
    return any(norm.running_mean is not None for norm in batch_norms(network))


@contextmanager
def normalised_by(
    network: nn.Module, batches: Iterable[Tensor], pass_on: Callable[[Tensor], object]
) -> Iterator[None]:
    """Batch normalisation by the statistics of some images, in place of those of the training.

    What is kept of each batch, of about the same size, is averaged; with a single batch the
    normalisation is that of training mode.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; left as it was.
    batches : iterable of (batch, channels, height, width) Tensor
    pass_on : callable
        Passes a batch through the network, or as much of it as is wanted.
    """
    norms = [norm for norm in batch_norms(network) if norm.running_mean is not None]
    kept = [(n.running_mean, n.running_var, n.num_batches_tracked, n.momentum) for n in norms]
    try:
        for norm in norms:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(norm, name, getattr(norm, name).clone())
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        for batch in batches:
            pass_on(batch)
        for norm in norms:
            norm.eval()
        yield
    finally:
        for norm, before in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var, norm.num_batches_tracked, norm.momentum = before
            norm.eval()
