"""The optimiser of a training takes the steps of torch's plain one, also of what begins later."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from regularized_training.joint_loss import make_optimizer
from regularized_training.training_config import TrainingConfig


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_parameters_may_have_their_first_gradient_later(optimizer: str) -> None:
    """As those of a lesson that rests at first; they may also have had none at a checkpoint."""
    rng = torch.Generator().manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    config = TrainingConfig(optimizer=optimizer, weight_decay_of="all")
    follows = make_optimizer(ours, None, config)
    theirs = copy.deepcopy(ours)
    ordered = sorted(theirs.parameters(), key=lambda p: -p.ndim)  # weights before biases
    rate, decay = config.learning_rate, config.weight_decay
    plain: torch.optim.Optimizer = torch.optim.Adam(ordered, rate, weight_decay=decay)
    if optimizer == "sgd":
        plain = torch.optim.SGD(ordered, rate, config.momentum, weight_decay=decay)
    for step in range(4):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=rng)
            other.grad = mine.grad.clone()
        if step < 2:
            ours[1].zero_grad()
            theirs[1].zero_grad()
        follows.step()
        plain.step()
        if step == 1:  # what torch's own optimiser knows by now
            known = follows.state_dict() | {"state": copy.deepcopy(plain.state_dict()["state"])}
            follows.load_state_dict(known)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
