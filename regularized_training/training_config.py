"""How a task network is trained, as a configuration."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from predictive_model.config import Config, added
from regularized_training.lessons.config import AnyLesson
from regularized_training.tasks.config import AugmentConfig


class TrainingConfig(Config):
    """How to train, with the schedule of Li et al. 2019 by default.

    Attributes
    ----------
    epochs, batch_size : int
        40 and 64 in the paper.
    schedule : {"restart", "one_cycle", "constant"}
        ``restart``: multiply the learning rate by `decay` every `decay_every` epochs and start
        over at each multiple of `restart_epoch`. ``one_cycle``: rise linearly during the fraction
        `warmup` of the training, then fall to zero along a cosine, which gets by with few epochs.
    learning_rate : float
        The highest of the schedule.
    decay_every, decay, restart_epoch
        Of ``restart``.
    warmup : float
        Of ``one_cycle``.
    optimizer : {"sgd", "adam"}
    momentum : float
        Of stochastic gradient descent.
    weight_decay : float
        Of the weights of convolutions and linear layers, not of biases, batch normalisation or
        layer weights.
    augment : AugmentConfig
        Random crops and mirror images.
    n_train, n_test : int, optional
        Number of images to use, evenly over the classes and the same ones for every seed.
    hold_out_validation : bool
        Train without the validation part of the task, a tenth of its training images, and measure
        accuracy on it after each epoch. By default the network learns all of them, as published.
    shuffled_labels : float
        Fraction of the training images whose labels are shuffled among them, which keeps the
        number of each class; the seed chooses them.
    precision : {"float32", "bfloat16"}
        Of the network's passes, by torch's automatic mixed precision. The losses are float32 in
        either case. ``bfloat16`` is for GPUs and processors with instructions for it; others are
        far slower with it.
    regularizer : LessonConfig, optional
        How to learn from a teacher: as Li et al. 2019, as Federer et al. 2020, or by another
        lesson; None to train on the task alone.
    """

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=64, ge=2)
    schedule: Literal["restart", "one_cycle", "constant"] = "restart"
    learning_rate: float = Field(default=0.1, gt=0)
    decay_every: int = Field(default=4, ge=1)
    decay: float = Field(default=0.3, gt=0, le=1)
    restart_epoch: int = Field(default=20, ge=1)
    warmup: float = Field(default=0.2, ge=0, lt=1)
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    augment: AugmentConfig = AugmentConfig()
    n_train: int | None = Field(default=None, ge=2)
    n_test: int | None = Field(default=None, ge=1)
    shuffled_labels: float = Field(default=0.0, ge=0, le=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    regularizer: AnyLesson | None = None
    hold_out_validation: bool = added(False, since="0.2.0")

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.n_train is not None and self.n_train < self.batch_size:
            raise ValueError(
                f"batch_size: {self.batch_size}, expected 2 to {self.n_train}, the value of n_train"
            )
        return self

    def learning_rate_at(self, epoch: float) -> float:
        """Learning rate at an epoch, which need not be a whole number."""
        if self.schedule == "restart":
            return self.learning_rate * self.decay ** (
                int(epoch) % self.restart_epoch // self.decay_every
            )
        if self.schedule == "constant":
            return self.learning_rate
        done = epoch / self.epochs
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        return (
            self.learning_rate
            * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
            / 2
        )

    def alpha_at(self, epoch: float) -> float:
        """Weight of the teacher's loss at an epoch; 0 without a regulariser."""
        if self.regularizer is None:
            return 0.0
        return self.regularizer.alpha_at(epoch, self.epochs)
