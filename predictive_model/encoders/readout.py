"""Factorised readout: where a neuron looks, times what it looks for.

neuralpredictors' ``FullFactorized2d`` normalises its masks along one axis only and has no penalty
on rough ones, without which a mask over a whole image fits noise.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

_TINY = 1e-6


class FactorisedReadout(nn.Module):
    """Each neuron's non-negative spatial mask of sum 1, and a vector of features.

    After Klindt et al. 2017. Suits neurons with large receptive fields, such as those of V4, for
    which the single point of a Gaussian readout is too small. It cannot follow a shifter.

    Parameters
    ----------
    in_shape : (channels, height, width)
        Of the core's output.
    outdims : int
        Number of neurons.
    mean_activity : (neuron,) tensor, optional
        Initial bias.
    gamma : float
        Weight of the L1 norm of the feature vectors.
    smoothness : float
        Weight of the squared differences between neighbours in a mask, relative to `gamma`.
    init_width : float
        Standard deviation of the Gaussian that masks start from; the map is 2 wide and high.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        outdims: int,
        mean_activity: Tensor | None = None,
        *,
        gamma: float,
        smoothness: float,
        init_width: float = 0.5,
    ) -> None:
        super().__init__()
        channels, self.height, self.width = in_shape
        self.outdims, self.gamma, self.smoothness = outdims, gamma, smoothness
        self.init_width = init_width
        self.spatial = nn.Parameter(torch.empty(outdims, self.height * self.width))
        self.features = nn.Parameter(torch.empty(outdims, channels))
        self.bias = nn.Parameter(torch.empty(outdims))
        self.initialize(mean_activity)

    def initialize(self, mean_activity: Tensor | None = None) -> None:
        """Gaussian masks in the middle, small random features, bias from the mean activity."""
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, self.height), torch.linspace(-1, 1, self.width), indexing="ij"
        )
        bump = torch.exp(-(x**2 + y**2) / (2 * self.init_width**2)).flatten()
        with torch.no_grad():
            # The scale is free, since masks are normalised; this one suits Adam's step size.
            self.spatial.copy_((bump / bump.sum().sqrt()).expand_as(self.spatial))
            self.features.normal_(0, 0.05)
            self.bias.zero_()
            if mean_activity is not None:
                self.bias.copy_(mean_activity)

    @property
    def masks(self) -> Tensor:
        """(neuron, height * width), not negative, each of sum 1."""
        size = self.spatial.abs()
        return size / (size.sum(1, keepdim=True) + _TINY)

    def forward(self, x: Tensor, *, shift: Tensor | None = None) -> Tensor:
        """Responses (batch, neuron) to features (batch, channels, height, width)."""
        if shift is not None:
            raise ValueError("a factorised readout cannot be shifted; use a Gaussian one")
        # Channels last, as the core delivers them: (batch, place, channel).
        places = x.permute(0, 2, 3, 1).flatten(1, 2)
        seen = torch.einsum("bpc,np->bnc", places, self.masks)
        return (seen * self.features).sum(2) + self.bias

    def regularizer(self, reduction: Literal["sum"] = "sum") -> Tensor:
        """Sum over neurons of feature L1 norm and mask roughness."""
        masks = self.masks.view(-1, self.height, self.width)
        rough = masks.diff(dim=1).pow(2).sum() + masks.diff(dim=2).pow(2).sum()
        return self.gamma * (self.features.abs().sum() + self.smoothness * rough)
