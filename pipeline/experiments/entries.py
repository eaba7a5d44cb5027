"""What stands in the lists of an experiment file: sources, teachers and variants."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.experiments.content import merged
from predictive_model.config import Config, what_is_wrong
from regularized_training.lessons.batch_ratio import BatchRatio
from regularized_training.lessons.config import LI, lesson_config
from regularized_training.networks.config import NetworkConfig
from regularized_training.teachers.config import DEFAULT_PREDICTABILITY, TeacherConfig
from regularized_training.teachers.kinds import weighs_neurons
from regularized_training.training_config import TrainingConfig


class Source(Config):
    """Encoders that are in the database already, and images for them to speak of.

    Attributes
    ----------
    encoders : tuple of str
        Names of scans, each with one encoder, as `neuroteach import encoder` brings them.
    stimuli : str
        Name of the images, which `neuroteach import stimuli --name` gives them, or their key.
    """

    encoders: tuple[str, ...] = Field(min_length=1)
    stimuli: str = Field(min_length=1)

    @field_validator("encoders")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{', '.join(value)}: expected every encoder once")
        return value


class TeacherEntry(TeacherConfig):
    """A teacher in an experiment: which, from whom, and how it teaches.

    Attributes
    ----------
    source : str, optional
        One of the experiment's sources; its recordings by default.
    network : dict
        Settings that differ from those of the table ``network``, or of a variant.
    training : dict
        Settings that differ from those of the table ``training``, but for the regulariser's.
    regularizer : dict
        Settings that differ from those of ``training.regularizer``; all of them, if it names
        another ``method``.
    alphas : tuple of float
        Train with each of these weights of the similarity loss, or ratios of an RSM; by default
        with the regulariser's.
    batch_ratios : tuple of str
        Train with each of these ratios of batches, ``"1:4"``; by default with the regulariser's.
    """

    source: str | None = None
    network: dict[str, Any] = {}
    training: dict[str, Any] = {}
    regularizer: dict[str, Any] = {}
    alphas: tuple[float, ...] = ()
    batch_ratios: tuple[BatchRatio, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _predictability_of_recordings(cls, values: Any) -> Any:
        """Neurons of the experiment's own recordings are weighed by the best choice there is.

        Of encoders that come from elsewhere no trials are there to weigh their neurons by.
        """
        if not isinstance(values, dict) or values.get("source") or "predictability" in values:
            return values
        kind, rsm = values.get("kind"), bool(values.get("rsm"))
        if isinstance(kind, str) and weighs_neurons(kind, rsm=rsm):
            return {**values, "predictability": DEFAULT_PREDICTABILITY}
        return values

    @property
    def teacher(self) -> TeacherConfig:
        """The teacher alone."""
        return TeacherConfig(**{name: getattr(self, name) for name in TeacherConfig.model_fields})

    def built(self, network: NetworkConfig) -> NetworkConfig:
        """How networks that are taught by it are built.

        Raises
        ------
        ValueError
            If it has a setting that cannot work.
        """
        if not self.network:
            return network
        try:
            return NetworkConfig.model_validate(merged(network.model_dump(), self.network))
        except ValidationError as error:
            raise ValueError(f"teachers: {self.kind}: network: {what_is_wrong(error)}") from error

    def trainings(self, config: TrainingConfig) -> list[TrainingConfig]:
        """How networks are trained with it: one setting for each alpha and ratio of batches."""
        described = merged(config.model_dump(), self.training)
        if self.kind == "none":
            return [TrainingConfig.model_validate({**described, "regularizer": None})]
        whole = merged(described, {"regularizer": self.regularizer})
        strength = lesson_config(whole["regularizer"].get("method", LI)).strength
        alphas: list[dict[str, Any]] = [{strength: alpha} for alpha in self.alphas] or [{}]
        ratios = [{"batch_ratio": ratio} for ratio in self.batch_ratios] or [{}]
        changes = [alpha | ratio for alpha in alphas for ratio in ratios]
        taught = [merged(whole, {"regularizer": change}) for change in changes]
        return [TrainingConfig.model_validate(one) for one in taught]


class Variant(Config):
    """Settings of network and training that differ from the experiment's.

    Attributes
    ----------
    network, training : dict
        As in the tables of these names.
    """

    network: dict[str, Any] = {}
    training: dict[str, Any] = {}
