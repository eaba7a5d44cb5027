"""Settings of lessons that are taught by responses, not by their similarity; import no torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from predictive_model.encoders.config import ReadoutConfig
from regularized_training.lessons.config import BatchNormChoice, LessonConfig
from regularized_training.teachers.kinds import Says


class ResponseLevelConfig(LessonConfig):
    """What such lessons have in common.

    Attributes
    ----------
    method : str
    layer : str
        The end of the trunk, which the task and the lesson share: ``features.16``, conv3-1 after
        its nonlinearity, of ``vgg19_bn``.
    alpha : float
        Weight of the lesson's loss.
    n_stimuli : int
        In a batch; 128 as published, as many as task images.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they are by default.
    batchnorm : {"both", "task", "running"}
        By which statistics stimuli are normalised, see
        :class:`~regularized_training.lessons.config.RegularizerConfig`; as published, those of
        their own batch, which the running statistics follow, too.
    learning_rate_factor : float
        Of the lesson's own parameters, over the network's.
    weight_decay : float
        Of the lesson's own weights, not of biases, positions or variances.
    """

    taught_by: ClassVar[Says] = "responses"

    method: str
    layer: str
    alpha: float = Field(default=1.0, ge=0)
    n_stimuli: int = Field(default=128, ge=2)
    stimulus_size: tuple[int, int] | None = None
    batchnorm: BatchNormChoice = "both"
    learning_rate_factor: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)

    @property
    def layers(self) -> tuple[str, ...]:
        """The end of the trunk, alone."""
        return (self.layer,)


class ResponsesConfig(ResponseLevelConfig):
    """How responses are predicted from the trunk: co-training as Safarani et al. 2021.

    Attributes
    ----------
    weighting : {"learned", "constant"}
        ``learned``: both losses are weighed by variances that are trained with the weights, as
        published; ``alpha`` has no say. ``constant``: the lesson's is multiplied by ``alpha``.
    readout : ReadoutConfig
        From the trunk's features to each neuron; ELU + 1 follows. Its ``gamma``, the weight of the
        L1 norm of the neurons' feature vectors, is 0 as in the published co-training.
    neurons_per_batch : int, optional
        The most that a batch of stimuli teaches, drawn anew for each; all by default, as published.
        Their mean squared error has that of all for its expectation, at a share of the time.
    """

    made_by: ClassVar[str] = "regularized_training.lessons.responses:ResponsesLesson"

    method: Literal["responses"]
    weighting: Literal["learned", "constant"] = "learned"
    readout: ReadoutConfig = ReadoutConfig(
        gauss_type="isotropic", init_mu_range=0.3, init_sigma=0.6, gamma=0.0
    )
    neurons_per_batch: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> ResponsesConfig:
        if self.weighting == "learned" and self.alpha != 1:
            raise ValueError(
                f"alpha: {self.alpha:g}, but weighting is 'learned', which leaves nothing to weigh;"
                " leave it out, or set weighting = 'constant'"
            )
        if self.readout.positions != "free":
            raise ValueError(
                f"readout.positions: {self.readout.positions!r}, expected 'free'; a network knows "
                "nothing of where neurons lie in the cortex"
            )
        if self.neurons_per_batch is not None and self.readout.kind != "gaussian":
            raise ValueError(
                f"neurons_per_batch: {self.neurons_per_batch}, but readout.kind is "
                f"{self.readout.kind!r}, which reads all neurons at once; leave it out, or take a "
                "Gaussian readout"
            )
        return self


class ProjectedConfig(ResponseLevelConfig):
    """What lessons have in common that compare projections of features and of responses.

    Attributes
    ----------
    n_components : int
        Dimensions of both projections, which are linear and learned.
    """

    n_components: int = Field(default=16, ge=1)

    @property
    def fewest_stimuli(self) -> int:
        """With fewer in a batch there is nothing to compare."""
        return 2


class CcaConfig(ProjectedConfig):
    """Deep canonical correlation of trunk and responses, after Pirlot et al. 2022.

    Attributes
    ----------
    ridge : float
        Added to the variances of both projections, r of Andrew et al. 2013.
    """

    made_by: ClassVar[str] = "regularized_training.lessons.cca:CcaLesson"
    waits: ClassVar[bool] = True  # for Cholesky factors and singular values

    method: Literal["cca"]
    ridge: float = Field(default=1e-3, gt=0)

    @property
    def fewest_stimuli(self) -> int:
        """With fewer, projections of anything are correlated."""
        return 2 * self.n_components + 2

    @model_validator(mode="after")
    def _check(self) -> CcaConfig:
        if self.n_stimuli < self.fewest_stimuli:
            raise ValueError(
                f"n_stimuli: {self.n_stimuli}, expected at least {self.fewest_stimuli} for "
                f"n_components = {self.n_components}: with fewer, projections of anything are "
                "correlated"
            )
        return self


class VicregConfig(ProjectedConfig):
    """Variance, invariance and covariance of trunk and responses, Bardes et al. 2022.

    Attributes
    ----------
    invariance, variance, covariance : float
        Weights of the three terms: lambda, mu and nu of Eq. 6; as published.
    """

    made_by: ClassVar[str] = "regularized_training.lessons.vicreg:VicregLesson"

    method: Literal["vicreg"]
    n_components: int = Field(default=64, ge=2)
    invariance: float = Field(default=25.0, ge=0)
    variance: float = Field(default=25.0, ge=0)
    covariance: float = Field(default=1.0, ge=0)
