"""How two losses become one: at a constant ratio, as Federer et al. 2020 weigh them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regularized_training import parallel


class RatioWeight(nn.Module):
    """lambda of Eq. 2 of Federer et al. 2020: lambda * cost / cross-entropy = r.

    No gradient flows through lambda. With several processes it is the same for all.

    Parameters
    ----------
    static : bool
        Whether lambda stays what it was in the first step, instead of following both losses.
    """

    first: Tensor

    def __init__(self, static: bool = False) -> None:
        super().__init__()
        self.static = static
        self.register_buffer("first", torch.full((), torch.nan))

    def forward(self, ratio: float | Tensor, task_loss: Tensor, cost: Tensor) -> Tensor:
        """lambda of this step.

        Parameters
        ----------
        ratio : float or scalar Tensor
            r.
        task_loss, cost : scalar Tensor
            Cross-entropy and what it is weighed against. A cost of 0 has no gradient either, and
            gets a lambda of 0.
        """
        task_loss, cost = parallel.averaged(torch.stack([task_loss.detach(), cost.detach()]))
        balance = torch.where(cost > 0, task_loss / cost.where(cost > 0, 1), 0)
        if self.static:
            # Without asking whether there is one: a GPU would be waited for in each step.
            self.first.copy_(torch.where(self.first.isnan(), balance, self.first))
            balance = self.first
        return ratio * balance
