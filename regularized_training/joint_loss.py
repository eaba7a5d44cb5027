"""One loss of a network's task and its lesson, and the optimiser that follows its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.distortions import Distorting
from regularized_training.hardening import Change
from regularized_training.lessons.lesson import Lesson
from regularized_training.training_config import TrainingConfig


class TrainingError(ValueError):
    """A training that cannot go on: says where it stopped and what to change."""


class JointLoss(nn.Module):
    """One loss of the task's and the teacher's; both, and the number of correct answers.

    Parameters
    ----------
    network : nn.Module
    n_classes : int
    lesson : Lesson, optional
    precision : {"float32", "bfloat16"}
    distorting : Distorting, optional
        Of the same network: images are learned as they are and distorted.
    change : callable, optional
        Makes of images and labels what is learned in their place.
    """

    def __init__(
        self,
        network: nn.Module,
        n_classes: int,
        lesson: Lesson | None,
        precision: str,
        distorting: Distorting | None = None,
        change: Change | None = None,
    ) -> None:
        super().__init__()
        self.network, self._n_classes = network, n_classes
        self._distorting, self._change = distorting, change
        self._lesson, self._mixed = lesson, precision == "bfloat16"
        self.learned = None if lesson is None else lesson.module

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        strength: float | Tensor | None,
        drawn: Sequence[Sequence[Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """What the gradient is taken of, and what it was made of.

        Parameters
        ----------
        images : (batch, channels, height, width) float32 Tensor
            In [0, 1].
        labels : (batch,) int64 Tensor
        strength : float or scalar Tensor or None
            Of the lesson; None without one.
        drawn : sequence
            What the lesson drew for each of its batches, on the device.

        Returns
        -------
        scalar Tensor
        (3,) Tensor
            Task loss, the lesson's summed over its batches, number of correct answers; of images
            that were shown twice, the mean of both.
        """
        times = 1 if self._distorting is None else 2
        labels = labels.repeat(times)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._mixed):
            if self._change is not None:
                images = self._change(images, labels)
            if self._distorting is None:
                logits, apart = self.network(images), None
            else:
                logits, apart = self._distorting(images)
            _require_logits(logits, len(labels), self._n_classes)
            losses = [] if self._lesson is None else [self._lesson.loss(*one) for one in drawn]
        task_loss = F.cross_entropy(logits.float(), labels)
        total = task_loss if apart is None else task_loss + apart
        taught = task_loss.new_zeros(())
        if self._lesson is not None and strength is not None:
            losses = [loss.float() for loss in losses]
            total = self._lesson.total(strength, task_loss, losses)
            if losses:
                taught = torch.stack(losses).sum()
        n_correct = (logits.detach().argmax(1) == labels).sum() / times
        return total, torch.stack([task_loss, taught, n_correct])


def _require_logits(logits: object, n: int, n_classes: int) -> None:
    """Raise a TrainingError if a network, which may be anyone's, answers in another form."""
    if not isinstance(logits, Tensor) or logits.shape != (n, n_classes):
        shape = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else None
        found = shape or f"a {type(logits).__name__}"
        raise TrainingError(
            f"network: answered with {found}, expected logits of shape ({n}, {n_classes}), one for "
            "each class; have its builder keep to n_classes, and return logits alone"
        )


def make_optimizer(
    network: nn.Module, lesson: Lesson | None, config: TrainingConfig
) -> torch.optim.Optimizer:
    """The optimiser of a configuration, over the network's parameters and the lesson's own.

    Groups of the latter may have ``lr_factor``, what the learning rate is multiplied with.
    """
    parameters = list(network.parameters())
    groups: Any = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {
            "params": [p for p in parameters if p.ndim == 1],
            "weight_decay": config.weight_decay if config.weight_decay_of == "all" else 0.0,
        },
    ]
    for group in () if lesson is None else lesson.parameter_groups():
        alike = group["weight_decay"] == groups[1]["weight_decay"]
        if alike and group.keys() == groups[1].keys():
            groups[1]["params"] += group["params"]
        else:
            groups.append(group)
    # One operator for all parameters, not three or more for each, where torch has it.
    fused = parameters[0].device.type in ("cpu", "cuda")
    if config.optimizer == "adam":
        # What else it counts on the host would stay in a recorded step as it was then.
        capturable = config.graph
        return torch.optim.Adam(groups, lr=config.learning_rate, fused=fused, capturable=capturable)
    optimizer = torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, fused=fused
    )
    if config.momentum:
        _begin_momentum(optimizer)
        # A checkpoint may be of a step in which some parameters had had no gradient yet.
        optimizer.register_load_state_dict_post_hook(_begin_momentum)
    return optimizer


def _begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Momentum of 0, which is none, where there is none yet: those of a group must all have it.

    A lesson that rests has no gradient, so that its parameters may begin later than the network's.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad:
                state = optimizer.state[parameter]
                state.setdefault("momentum_buffer", torch.zeros_like(parameter))
