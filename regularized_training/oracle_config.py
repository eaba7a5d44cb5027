"""Which oracle predicts responses in place of a brain's encoder; imports no torch."""

from __future__ import annotations

from pydantic import Field, field_validator

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
        wanted, so that ``retrained`` has no say and is false.
    readout_epochs : int
        Passes over the stimuli in which the readout is fitted to what encoders predict.
    """

    network: NetworkConfig
    training: TrainingConfig
    readout_epochs: int = Field(default=10, ge=1)

    @field_validator("training")
    @classmethod
    def _trunk_alone(cls, training: TrainingConfig) -> TrainingConfig:
        if training.distorted is None:
            raise ValueError(
                "distorted: missing, expected the distortions that the oracle has learned and the "
                "end of its trunk"
            )
        if training.labels is not None:
            raise ValueError(
                f"labels: {training.labels!r}, but an oracle learns the right labels; leave it out"
            )
        alone = training.distorted.model_copy(update={"retrained": False})
        return training.model_copy(update={"distorted": alone})

    @property
    def layer(self) -> str:
        """The end of the trunk."""
        assert self.training.distorted is not None, "which is checked"
        return self.training.distorted.layer
