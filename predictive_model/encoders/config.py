"""EncoderConfig: what an encoder is made of."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from predictive_model.config import Config, added
from predictive_model.recordings.gabor_config import GaborConfig

Positive = Annotated[int, Field(ge=1)]


class FrontEndConfig(Config):
    """Maps that an encoder's core sees in place of pixels.

    A few hundred images are too few to learn filters from. With fixed ones, an encoder of macaque
    V4 has only to learn how to combine them.

    Parameters
    ----------
    gabors : GaborConfig
        Energies in bands of frequency and orientation. Its ``pool`` and ``exponent`` hold for spots
        as well.
    spots : tuple of float, pixels
        Sizes of bright and dark spots, which energies do not tell apart: half-rectified, squared
        differences between an image and its blur by the first of these standard deviations,
        between that and the next blur, and so on. Rising; none if empty.
    luminance : bool
        The average of the pixels.

    Examples
    --------
    >>> FrontEndConfig().channels
    49
    """

    gabors: GaborConfig = GaborConfig(exponent=0.25)
    spots: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 2.0, 4.0, 8.0)
    luminance: bool = True

    @field_validator("spots")
    @classmethod
    def _rising(cls, spots: tuple[float, ...]) -> tuple[float, ...]:
        if any(wide <= narrow for narrow, wide in pairwise(spots)):
            raise ValueError(f"spots: {spots}, expected rising standard deviations")
        return spots

    @property
    def channels(self) -> int:
        """Maps that come out: energies, bright and dark spots by size, luminance."""
        return self.gabors.channels + 2 * len(self.spots) + self.luminance


class CoreConfig(Config):
    """Stacked convolutions with batch normalisation and ELU, shared by all neurons.

    The defaults are those of Walker et al. 2019: three layers of 32 channels, each seeing all
    layers before it, all of them read out.
    """

    layers: int = Field(3, ge=1, le=12)
    hidden_channels: int = Field(32, ge=1)
    input_kernel: int = Field(7, ge=1)
    hidden_kernel: Positive | tuple[Positive, ...] = Field(
        3, description="of all later layers, or of each"
    )
    hidden_dilation: int = Field(1, ge=1)
    depth_separable: bool = False
    linear: bool = Field(False, description="no nonlinearity between layers: an LN model")
    skip: int = Field(3, ge=0, description="how many earlier layers a layer sees; 0 and 1: one")
    stack: Literal["all", "last"] | Positive = Field(
        "all", description="layers that are read out: all, the last, or that many of the last"
    )
    pad_input: bool = False
    input_dropout: float = Field(0.0, ge=0, lt=1, description="of whole channels, in training")
    output_dropout: float = Field(0.0, ge=0, lt=1, description="of whole channels, in training")
    momentum: float = Field(0.1, gt=0, le=1, description="of batch normalisation")
    gamma_input: float = Field(0.02, ge=0, description="smoothness of the input filters")
    gamma_hidden: float = Field(0.0, ge=0, description="group sparsity of the hidden filters")
    norm: Literal["affine", "plain", "offset", "scale", "none"] = added(
        "affine",
        since="0.2.0",
        description="what batch normalisation learns: scale and offset, nothing, or one of them; "
        "or no normalisation",
    )
    bias: bool = added(
        False,
        since="0.2.0",
        description="of convolutions: of the later ones, and of the first if it has no norm",
    )
    final_nonlinearity: bool = added(
        True, since="0.2.0", description="after the last layer, unless the core is linear"
    )

    @field_validator("hidden_kernel")
    @classmethod
    def _one_or_each(cls, kernels: int | tuple[int, ...], info: ValidationInfo) -> object:
        layers = info.data.get("layers")
        if isinstance(kernels, tuple) and layers is not None and len(kernels) != layers - 1:
            raise ValueError(
                f"hidden_kernel: {len(kernels)} sizes, expected one, or {layers - 1} for "
                f"{layers} layers"
            )
        return kernels

    @field_validator("stack")
    @classmethod
    def _no_more_than_there_are(cls, stack: str | int, info: ValidationInfo) -> object:
        layers = info.data.get("layers")
        if isinstance(stack, int) and layers is not None and stack > layers:
            raise ValueError(f"stack: {stack}, expected at most the {layers} layers there are")
        return stack

    @model_validator(mode="after")
    def _has_smoothness(self) -> CoreConfig:
        if self.input_kernel < 3 and self.gamma_input:
            raise ValueError(
                f"gamma_input: {self.gamma_input:g}, expected 0 for an input_kernel of "
                f"{self.input_kernel}, since smoothness compares a pixel with those around it"
            )
        return self


class ReadoutConfig(Config):
    """From the core's features to each neuron.

    ``gaussian`` is the readout of Lurz et al. 2021: one learned position and feature vector per
    neuron. ``factorised`` gives each neuron a spatial mask and a feature vector, for large
    receptive fields; it takes no shifter. With ``positions = "cortical"`` a small network, by
    default with a final tanh, predicts a Gaussian readout's positions from where the neurons lie
    in the cortex.
    """

    kind: Literal["gaussian", "factorised"] = "gaussian"
    gauss_type: Literal["full", "uncorrelated", "isotropic"] = "full"
    init_mu_range: float = Field(0.3, gt=0, le=1)
    init_sigma: float = Field(0.1, gt=0)
    positions: Literal["free", "cortical"] = "free"
    position_layers: int = Field(1, ge=0, description="hidden layers, if positions are cortical")
    position_features: int = Field(30, ge=1, description="units of each of these layers")
    position_inputs: int = added(
        2, since="0.2.0", ge=1, le=3, description="coordinates of the cortex that positions see"
    )
    position_tanh: bool = added(
        True, since="0.2.0", description="keeps predicted positions within the image"
    )
    gamma: float = Field(
        0.003, ge=0, description="L1 of the feature vectors, averaged over neurons"
    )
    smoothness: float = Field(
        10.0, ge=0, description="of factorised masks, relative to gamma: squared differences"
    )


class ShifterConfig(Config):
    """From pupil position to a shift of all readout positions of a scan.

    ``mlp`` as in Lurz et al. 2021: layers of tanh units. ``affine`` as in Walker et al. 2019: one
    linear map and a tanh, its mean squared weight penalised by ``gamma``.
    """

    kind: Literal["mlp", "affine"] = "mlp"
    gamma: float = Field(0.0, ge=0, description="of an affine shifter")
    layers: int = Field(3, ge=1)
    hidden_channels: int = Field(5, ge=1)

    @model_validator(mode="after")
    def _has_penalty(self) -> ShifterConfig:
        if self.kind == "mlp" and self.gamma:
            raise ValueError(
                f"gamma: {self.gamma:g}, expected 0 for an mlp, which has no penalty; use an "
                "affine shifter"
            )
        return self


class ModulatorConfig(Config):
    """Gain of each neuron from behaviour, before or after the output nonlinearity.

    Before it as in the static models of Walker et al. 2019, after it as in the movie models of
    Sinz et al. 2018. After is the default: there, the gain scales the firing rate itself.
    """

    hidden_layers: int = Field(1, ge=0)
    hidden_channels: int = Field(10, ge=1)
    position: Literal["before", "after"] = "after"
    gamma: float = Field(0.01, ge=0)


class EncoderConfig(Config):
    """What an encoder is made of.

    Examples
    --------
    >>> EncoderConfig(core=CoreConfig(hidden_channels=16), shifter=None).core.layers
    3
    """

    front_end: FrontEndConfig | None = Field(
        None, description="fixed filters, whose maps the core sees in place of pixels"
    )
    core: CoreConfig = CoreConfig()
    readout: ReadoutConfig = ReadoutConfig()
    shifter: ShifterConfig | None = None
    modulator: ModulatorConfig | None = None
    behaviour_channels: bool = Field(
        False, description="behaviour enters the core as constant channels beside the image"
    )
    downsample: int = Field(1, ge=1, description="average pixels in squares of this side first")

    @model_validator(mode="after")
    def _possible(self) -> EncoderConfig:
        if self.readout.kind == "factorised":
            if self.shifter is not None:
                raise ValueError(
                    "readout.kind: a factorised readout cannot be shifted; use 'gaussian', or set "
                    "shifter to None"
                )
            if self.readout.positions == "cortical":
                raise ValueError(
                    "readout.positions: a factorised readout has masks instead of positions; use "
                    "'free'"
                )
        return self

    @property
    def uses_behaviour(self) -> bool:
        """Whether the behaviour of a trial is among the inputs."""
        return self.modulator is not None or self.behaviour_channels
