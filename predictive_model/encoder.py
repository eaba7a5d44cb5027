"""Encoder: a convolutional core, a Gaussian readout, and if wanted a shifter and a modulator."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.config import Config
from predictive_model.core import Core
from predictive_model.modulator import GainModulator
from predictive_model.neuralpredictors_compat import (
    FiringRateEncoder,
    FullGaussian2d,
    MLPShifter,
    MultiReadoutBase,
)
from predictive_model.readout import FactorisedReadout
from predictive_model.recording import Recording


class CoreConfig(Config):
    """Stacked convolutions with batch normalisation and ELU, shared by all neurons.

    The defaults are those of Walker et al. 2019: three layers of 32 channels, each seeing all
    layers before it, all of them read out.
    """

    layers: int = Field(3, ge=1, le=12)
    hidden_channels: int = Field(32, ge=1)
    input_kernel: int = Field(7, ge=1)
    hidden_kernel: int = Field(3, ge=1)
    hidden_dilation: int = Field(1, ge=1)
    depth_separable: bool = False
    skip: int = Field(3, ge=0, description="how many earlier layers a layer sees; 0 and 1: one")
    stack: Literal["all", "last"] = "all"
    pad_input: bool = False
    momentum: float = Field(0.1, gt=0, le=1, description="of batch normalisation")
    gamma_input: float = Field(0.02, ge=0, description="smoothness of the input filters")
    gamma_hidden: float = Field(0.0, ge=0, description="group sparsity of the hidden filters")


class ReadoutConfig(Config):
    """From the core's features to each neuron.

    ``gaussian`` is the readout of Lurz et al. 2021: one learned position and feature vector per
    neuron. ``factorised`` gives each neuron a spatial mask and a feature vector, for large
    receptive fields; it takes no shifter.
    """

    kind: Literal["gaussian", "factorised"] = "gaussian"
    gauss_type: Literal["full", "uncorrelated", "isotropic"] = "full"
    init_mu_range: float = Field(0.3, gt=0, le=1)
    init_sigma: float = Field(0.1, gt=0)
    gamma: float = Field(
        0.003, ge=0, description="L1 of the feature vectors, averaged over neurons"
    )
    smoothness: float = Field(
        10.0, ge=0, description="of factorised masks, relative to gamma: squared differences"
    )


class ShifterConfig(Config):
    """Multi-layer perceptron from pupil position to a shift of all readout positions."""

    layers: int = Field(3, ge=1)
    hidden_channels: int = Field(5, ge=1)


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

    core: CoreConfig = CoreConfig()
    readout: ReadoutConfig = ReadoutConfig()
    shifter: ShifterConfig | None = None
    modulator: ModulatorConfig | None = None
    downsample: int = Field(1, ge=1, description="average pixels in squares of this side first")

    @model_validator(mode="after")
    def _shiftable(self) -> EncoderConfig:
        if self.shifter is not None and self.readout.kind == "factorised":
            raise ValueError(
                "readout.kind: a factorised readout cannot be shifted; use 'gaussian', or set "
                "shifter to None"
            )
        return self


class Encoder(FiringRateEncoder):
    """Firing rates of all neurons of a scan from images, pupil position and behaviour.

    A ``FiringRateEncoder`` whose modulator may also act on the firing rate itself. Everything is
    normalised: images and pupil z-scored, responses and behaviour in units of their standard
    deviation (see :class:`~predictive_model.recording.Normalisation`).
    """

    def __init__(
        self,
        core: nn.Module,
        readout: nn.Module,
        *,
        data_key: str,
        shifter: nn.Module | None = None,
        modulator: nn.Module | None = None,
        modulator_position: Literal["before", "after"] = "after",
        downsample: int = 1,
    ) -> None:
        super().__init__(core, readout, shifter=shifter, modulator=modulator)
        self.data_key = data_key
        self.modulator_position = modulator_position
        self.downsample = downsample

    def forward(
        self, images: Tensor, *, pupil: Tensor | None = None, behaviour: Tensor | None = None
    ) -> Tensor:
        """Rates (batch, neuron) of images (batch, c, h, w), pupil (batch, 2), behaviour (batch, k).

        Raises
        ------
        ValueError
            If the encoder has a shifter or modulator and its input is missing.
        """
        shift = None
        if self.shifter is not None:
            if pupil is None:
                raise ValueError("this encoder has a shifter: give pupil, (batch, 2)")
            shift = self.shifter[self.data_key](pupil)
        if self.modulator is not None and behaviour is None:
            raise ValueError("this encoder has a modulator: give behaviour, (batch, k)")
        features = self.core(downsample(images, self.downsample))
        x = self.readout(features, data_key=self.data_key, shift=shift)
        if self.modulator is not None and self.modulator_position == "before":
            x = self.modulator[self.data_key](x, behavior=behaviour)
        rates = F.elu(x) + 1
        if self.modulator is not None and self.modulator_position == "after":
            rates = self.modulator[self.data_key](rates, behavior=behaviour)
        return rates

    def penalty(self) -> Tensor:
        """All regularisers; none grows with the number of neurons or the size of a batch."""
        readout = self.readout[self.data_key]
        penalty = self.core.regularizer()
        # The L1 norm of each neuron's feature vector, averaged over neurons.
        penalty = penalty + readout.regularizer(reduction="sum") / readout.outdims
        if self.modulator is not None:
            penalty = penalty + self.modulator.regularizer(self.data_key)
        return penalty


def downsample(images: Tensor, factor: int) -> Tensor:
    """Images averaged over squares of ``factor`` pixels."""
    return images if factor == 1 else F.avg_pool2d(images, factor)


def build_encoder(
    config: EncoderConfig,
    *,
    data_key: str,
    image_shape: tuple[int, int, int],
    n_neurons: int,
    n_behaviour: int = 0,
    mean_response: Tensor | None = None,
    seed: int = 0,
) -> Encoder:
    """An untrained encoder.

    Parameters
    ----------
    config : EncoderConfig
    data_key : str
        Name of the scan; names its readout, shifter and modulator in the state dict.
    image_shape : (channels, height, width)
    n_neurons : int
    n_behaviour : int
        Columns of behaviour, if the encoder has a modulator.
    mean_response : (neuron,) tensor, optional
        Mean normalised response; the readout's bias starts where the rate equals it.
    seed : int
        Of the initial weights. The global random state stays as it was.

    Raises
    ------
    ValueError
        If the modulator has nothing to go by, or the core's first kernel exceeds the image.
    """
    channels, height, width = image_shape
    height, width = height // config.downsample, width // config.downsample
    core = config.core
    if not core.pad_input and core.input_kernel > min(height, width):
        raise ValueError(
            f"core.input_kernel: {core.input_kernel} exceeds the image of {height} x {width} "
            "pixels (after downsampling); use a smaller kernel"
        )
    if config.modulator is not None and n_behaviour == 0:
        raise ValueError(
            "modulator: the recording has no behaviour to take a gain from; set modulator to None"
        )
    bias = None
    if mean_response is not None:
        # Inverse of ELU + 1, the output nonlinearity.
        mean = mean_response.clamp(min=1e-3)
        bias = torch.where(mean >= 1, mean - 1, torch.log(mean))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the 2022 release: advice that was followed here
        torch.manual_seed(seed)
        stacked = Core(
            input_channels=channels,
            hidden_channels=core.hidden_channels,
            input_kern=core.input_kernel,
            hidden_kern=core.hidden_kernel,
            layers=core.layers,
            gamma_input=core.gamma_input,
            gamma_hidden=core.gamma_hidden,
            skip=core.skip,
            stack=None if core.stack == "all" else -1,
            pad_input=core.pad_input,
            momentum=core.momentum,
            hidden_dilation=core.hidden_dilation,
            depth_separable=core.depth_separable,
            bias=False,
            independent_bn_bias=True,
            input_regularizer="LaplaceL2norm",
        )
        with torch.no_grad():
            stacked.eval()
            shape = stacked(torch.zeros(1, channels, height, width)).shape[1:]
            stacked.train()
        if config.readout.kind == "gaussian":
            base_readout: type[nn.Module] = FullGaussian2d
            readout_settings: dict[str, Any] = dict(
                bias=True,
                gauss_type=config.readout.gauss_type,
                init_mu_range=config.readout.init_mu_range,
                init_sigma=config.readout.init_sigma,
                feature_reg_weight=config.readout.gamma,
            )
        else:
            base_readout = FactorisedReadout
            readout_settings = dict(
                gamma=config.readout.gamma, smoothness=config.readout.smoothness
            )
        readout = MultiReadoutBase(
            in_shape_dict={data_key: tuple(shape)},
            n_neurons_dict={data_key: n_neurons},
            base_readout=base_readout,
            mean_activity_dict=None if bias is None else {data_key: bias},
            **readout_settings,
        )
        shifter = modulator = None
        if config.shifter is not None:
            shifter = MLPShifter(
                [data_key],
                input_channels=2,
                hidden_channels_shifter=config.shifter.hidden_channels,
                shift_layers=config.shifter.layers,
            )
        if config.modulator is not None:
            modulator = GainModulator(
                {data_key: n_neurons},
                n_behaviour,
                hidden_channels=config.modulator.hidden_channels,
                hidden_layers=config.modulator.hidden_layers,
                gamma=config.modulator.gamma,
            )
    return Encoder(
        stacked,
        readout,
        data_key=data_key,
        shifter=shifter,
        modulator=modulator,
        modulator_position=config.modulator.position if config.modulator else "after",
        downsample=config.downsample,
    )


def memory_format(config: EncoderConfig) -> torch.memory_format:
    """The order in memory in which an encoder and its images are computed fastest.

    On a CPU channels last suits depth-separable cores, whose training steps took 0.4 to 0.65 of
    the time they take with contiguous maps; dense cores took about 1.2 times as long. Below 16
    channels oneDNN falls back to slow kernels for channels last.
    """
    core = config.core
    if core.depth_separable and core.hidden_channels >= 16:
        return torch.channels_last
    return torch.contiguous_format


def encoder_for(
    recording: Recording, config: EncoderConfig, *, mean_response: Tensor | None, seed: int
) -> Encoder:
    """An untrained encoder of a recording's neurons; refuses inputs the recording lacks."""
    if config.shifter is not None and recording.pupil is None:
        raise ValueError(
            f"shifter: recording {recording.name!r} has no pupil position; set shifter to None"
        )
    return build_encoder(
        config,
        data_key=data_key(recording.name),
        image_shape=recording.image_shape,
        n_neurons=recording.n_neurons,
        n_behaviour=0 if recording.behaviour is None else recording.behaviour.shape[1],
        mean_response=mean_response,
        seed=seed,
    )


def data_key(recording_name: str) -> str:
    """A recording's name as that of a submodule: without dots, and unlike any method."""
    return "scan_" + recording_name.replace(".", "_")
