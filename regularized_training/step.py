"""One step of a training: the losses, their gradient, and what the optimiser makes of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from regularized_training.tasks.batches import to_float


class Step:
    """Called with what a step sees, it makes the step.

    Parameters
    ----------
    losses : nn.Module
        A :class:`~regularized_training.joint_loss.JointLoss`, or what replicates it.
    optimizer : Optimizer
        Over its parameters. Groups of them may have ``lr_factor``, which the learning rate is
        multiplied with.
    """

    def __init__(self, losses: nn.Module, optimizer: Optimizer) -> None:
        self.losses, self.optimizer = losses, optimizer

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        learning_rate: float | Tensor,
        strength: float | Tensor | None,
        drawn: Sequence[Sequence[Tensor]],
    ) -> Tensor:
        """Task loss, teacher's loss summed over its batches, number of correct answers; (3,).

        Parameters
        ----------
        images : (batch, channels, height, width) uint8 Tensor
            On the device, as all tensors.
        labels : (batch,) int64 Tensor
        learning_rate : float or scalar Tensor
        strength : float or scalar Tensor or None
            Of the lesson; None without one.
        drawn : sequence
            What the lesson drew for each of its batches.
        """
        self.set_learning_rate(learning_rate)
        self.optimizer.zero_grad(set_to_none=True)
        total, losses = self.losses(to_float(images), labels, strength, drawn)
        total.backward()
        self.optimizer.step()
        made: Tensor = losses.detach()
        return made

    def set_learning_rate(self, learning_rate: float | Tensor) -> None:
        """Of all groups of parameters."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_factor", 1.0)
