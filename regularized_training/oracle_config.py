"""Which oracle predicts responses in place of a brain's encoder; imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from predictive_model.config import Config
from regularized_training.networks.config import NetworkConfig
from regularized_training.training_config import TrainingConfig


class OracleConfig(Config):
    """A network that has learned distorted images, and how neurons are read from it.

    Attributes
    ----------
    network : NetworkConfig
    training : TrainingConfig
        Its ``distorted`` says which distortions, and where the trunk ends. Only the trunk is
        wanted, so that nothing is trained anew above it.
    readout_epochs : int
        Passes over the stimuli in which the readout is fitted to what encoders predict.
    """

    network: NetworkConfig
    training: TrainingConfig
    readout_epochs: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _check(self) -> OracleConfig:
        if self.training.distorted is None:
            raise ValueError(
                "training.distorted: missing, expected the distortions that the oracle has learned "
                "and the end of its trunk"
            )
        return self
