"""Behavioural modulator: a gain for every neuron from running and pupil size.

neuralpredictors 0.3.0 has a place for a modulator and no modulator to put there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# exp() of a larger number is no gain a cortex shows, and overflows the loss early in a fit.
LOG_GAIN_LIMIT = 3.0


class Gain(nn.Module):
    """Multiplicative gain of each neuron, the exponential of a small network's output.

    After the static models of Walker et al. 2019. The output layer starts at zero, so that an
    untrained gain is 1 and leaves the encoder as it is.

    Parameters
    ----------
    n_neurons : int
    n_inputs : int
        Columns of behaviour.
    hidden_channels : int
        Units of each hidden layer.
    hidden_layers : int
        0 makes the logarithm of the gain linear in behaviour.
    """

    def __init__(
        self, n_neurons: int, n_inputs: int, *, hidden_channels: int, hidden_layers: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_inputs
        for _ in range(hidden_layers):
            layers += [nn.Linear(width, hidden_channels), nn.ELU()]
            width = hidden_channels
        output = nn.Linear(width, n_neurons)
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
        self.mlp = nn.Sequential(*layers, output)

    def log_gain(self, behaviour: Tensor) -> Tensor:
        """Logarithm of the gain, (batch, neuron), for behaviour (batch, k)."""
        return LOG_GAIN_LIMIT * torch.tanh(self.mlp(behaviour) / LOG_GAIN_LIMIT)

    def forward(self, x: Tensor, behavior: Tensor) -> Tensor:
        """Responses (batch, neuron) times the gain under ``behavior`` (batch, k)."""
        return x * torch.exp(self.log_gain(behavior))

    def regularizer(self) -> Tensor:
        """Mean squared weight of the output layer, so that its size does not follow n_neurons."""
        output = self.mlp[-1]
        assert isinstance(output, nn.Linear)
        return output.weight.pow(2).mean()
