"""How an encoder is fitted, as a configuration, and what each epoch of a fit did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from predictive_model.config import Config


class FitConfig(Config):
    """How an encoder is fitted.

    Adam with early stopping on the mean validation correlation. When it has not risen for
    ``patience`` epochs the best state is restored and the learning rate multiplied by ``decay``;
    after ``decay_steps`` of these the fit ends.

    The loss is a mean over trials and neurons and the penalties do not grow with either, so all
    settings keep their meaning whatever the size of batches and populations.
    """

    loss: Literal["poisson", "mse"] = "poisson"
    batch_size: int = Field(128, ge=1, description="distinct images, with all their trials")
    learning_rate: float = Field(0.005, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="decoupled from the gradient, as in AdamW")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the core in training; all else is float32"
    )
    max_epochs: int = Field(200, ge=1)
    patience: int = Field(5, ge=1)
    decay: float = Field(0.3, gt=0, lt=1)
    decay_steps: int = Field(3, ge=1)
    tolerance: float = Field(1e-6, ge=0, description="a rise smaller than this is none")


@dataclass(frozen=True)
class FitEpoch:
    """What one epoch did."""

    epoch: int
    loss: float
    penalty: float
    validation_correlation: float
    learning_rate: float
    seconds: float
