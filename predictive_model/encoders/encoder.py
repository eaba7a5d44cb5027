"""Encoder: one core for any number of scans, and a readout, shifter and modulator for each."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    ReadoutConfig,
    ShifterConfig,
)
from predictive_model.encoders.core import Core
from predictive_model.encoders.front_end import FrontEnd
from predictive_model.encoders.gaussian_readout import GaussianReadout
from predictive_model.encoders.modulator import Gain
from predictive_model.encoders.neuralpredictors_compat import (
    MLP,
    FiringRateEncoder,
    StaticAffine2d,
)
from predictive_model.encoders.readout import FactorisedReadout
from predictive_model.randomness import seeded
from predictive_model.recordings.recording import Recording


@dataclass(frozen=True, eq=False)
class Population:
    """What an encoder has to know of one scan.

    Attributes
    ----------
    n_neurons : int
    n_behaviour : int
        Columns of behaviour.
    mean_response : (neuron,) tensor, optional
        Mean normalised response; the readout's bias starts where the rate equals it.
    cortical_positions : (neuron, 2 or 3), optional
        By default only the two coordinates along the surface of the cortex are used.
    """

    n_neurons: int
    n_behaviour: int = 0
    mean_response: Tensor | None = None
    cortical_positions: NDArray[np.float32] | None = None


class Encoder(FiringRateEncoder):
    """Firing rates of all neurons of some scans from images, pupil position and behaviour.

    A ``FiringRateEncoder`` whose modulator may also act on the firing rate itself. Everything is
    normalised: images and pupil z-scored, responses and behaviour in units of their standard
    deviation (see :class:`~predictive_model.recordings.recording.Normalisation`). Readout, shifter
    and modulator are dictionaries with a part for each scan, named by its data key.
    """

    front_end: FrontEnd | None

    def __init__(
        self,
        front_end: FrontEnd | None,
        core: nn.Module,
        readout: nn.ModuleDict,
        *,
        shifter: nn.ModuleDict | None = None,
        modulator: nn.ModuleDict | None = None,
        config: EncoderConfig,
    ) -> None:
        super().__init__(core, readout, shifter=shifter, modulator=modulator)
        self.front_end = front_end
        self.config = config

    @property
    def data_keys(self) -> tuple[str, ...]:
        """Of the scans, in order."""
        return tuple(self.readout)

    def forward(
        self,
        images: Tensor,
        *,
        data_key: str | None = None,
        pupil: Tensor | None = None,
        behaviour: Tensor | None = None,
    ) -> Tensor:
        """Rates (batch, neuron) of images (batch, c, h, w), pupil (batch, 2), behaviour (batch, k).

        Parameters
        ----------
        data_key : str, optional
            Of the scan; may be left out where there is only one.

        Raises
        ------
        ValueError
            If an input is missing that the encoder needs, or it is not said which scan's neurons
            are wanted.
        """
        if data_key is None:
            if len(self.data_keys) > 1:
                raise ValueError(f"data_key: expected one of {', '.join(self.data_keys)}")
            (data_key,) = self.data_keys
        features = self.features(self.core_inputs(images), behaviour=behaviour)
        return self.rates(features, data_key, pupil=pupil, behaviour=behaviour)

    def core_inputs(self, images: Tensor) -> Tensor:
        """What the core sees of images, (batch, c', h', w'): nothing in it is ever learned."""
        images = downsample(images, self.config.downsample)
        return images if self.front_end is None else self.front_end(images)

    def features(self, core_inputs: Tensor, *, behaviour: Tensor | None = None) -> Tensor:
        """What the core, which all scans share, makes of its inputs: (batch, channels, h', w')."""
        if self.config.behaviour_channels:
            if behaviour is None:
                raise ValueError("this encoder sees behaviour: give behaviour, (batch, k)")
            channels = behaviour[:, :, None, None].expand(-1, -1, *core_inputs.shape[2:])
            core_inputs = torch.cat([core_inputs, channels], dim=1)
        settings = self.config.core
        seen = F.dropout2d(core_inputs, settings.input_dropout, self.training)
        return F.dropout2d(self.core(seen), settings.output_dropout, self.training)

    def rates(
        self,
        features: Tensor,
        data_key: str,
        *,
        pupil: Tensor | None = None,
        behaviour: Tensor | None = None,
    ) -> Tensor:
        """Rates (batch, neuron) of one scan's neurons from the core's features."""
        shift = None
        if self.shifter is not None:
            if pupil is None:
                raise ValueError("this encoder has a shifter: give pupil, (batch, 2)")
            shift = self.shifter[data_key](pupil)
        if self.modulator is not None and behaviour is None:
            raise ValueError("this encoder has a modulator: give behaviour, (batch, k)")
        modulator = None if self.modulator is None else self.modulator[data_key]
        before = self.config.modulator is not None and self.config.modulator.position == "before"
        x = self.readout[data_key](features, shift=shift)
        if modulator is not None and before:
            x = modulator(x, behavior=behaviour)
        rates = F.elu(x) + 1
        if modulator is not None and not before:
            rates = modulator(rates, behavior=behaviour)
        return rates

    def penalty(self, data_keys: Sequence[str] | None = None) -> Tensor:
        """All regularisers; none grows with the number of neurons, of scans or of a batch's images.

        Those of the core, and the mean over scans of those of readout, shifter and modulator.

        Parameters
        ----------
        data_keys : sequence of str, optional
            Of the scans that count; all by default. What belongs to others gets no gradient, so
            that an optimiser leaves it alone.
        """
        scans = [self._penalty_of(key) for key in data_keys or self.data_keys]
        return self.core.regularizer() + torch.stack(scans).mean()

    def _penalty_of(self, data_key: str) -> Tensor:
        readout = self.readout[data_key]
        # The L1 norm of each neuron's feature vector, averaged over neurons.
        penalty = readout.regularizer(reduction="sum") / readout.outdims
        if self.config.shifter is not None:
            penalty = penalty + self.config.shifter.gamma * self.shifter[data_key].regularizer()
        if self.config.modulator is not None:
            penalty = penalty + self.config.modulator.gamma * self.modulator[data_key].regularizer()
        return penalty


def downsample(images: Tensor, factor: int) -> Tensor:
    """Images averaged over squares of ``factor`` pixels."""
    return images if factor == 1 else F.avg_pool2d(images, factor)


def build_encoder(
    config: EncoderConfig,
    populations: Mapping[str, Population],
    *,
    image_shape: tuple[int, int, int],
    seed: int = 0,
) -> Encoder:
    """An untrained encoder.

    Parameters
    ----------
    config : EncoderConfig
    populations : mapping of str to Population
        Each scan's, by its data key, which names its parts in the state dict.
    image_shape : (channels, height, width)
    seed : int
        Of the initial weights. The global random state stays as it was.

    Raises
    ------
    ValueError
        If an input is missing that the configuration asks for, or the core's first kernel exceeds
        the image.

    Examples
    --------
    >>> encoder = build_encoder(EncoderConfig(), {"a": Population(50)}, image_shape=(1, 36, 64))
    >>> encoder(torch.zeros(2, 1, 36, 64)).shape
    torch.Size([2, 50])
    """
    channels, height, width = image_shape
    shape = (channels, height // config.downsample, width // config.downsample)
    front_end = None
    if config.front_end is not None:
        front_end = FrontEnd(config.front_end, shape)
        shape = front_end.out_shape
    _check_inputs(config, populations, shape)
    if config.behaviour_channels:
        shape = (shape[0] + next(iter(populations.values())).n_behaviour, *shape[1:])
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the 2022 release: advice that was followed here
        core = _build_core(config.core, shape[0])
        with torch.no_grad():
            core.eval()
            (_, *maps) = core(torch.zeros(1, *shape)).shape
            core.train()
        # Submodules are made scan by scan, each part in turn.
        readout = {k: build_readout(config.readout, p, maps) for k, p in populations.items()}
        shifter = modulator = None
        if config.shifter is not None:
            shifter = nn.ModuleDict({k: _build_shifter(config.shifter) for k in populations})
        if config.modulator is not None:
            settings = config.modulator
            modulator = nn.ModuleDict(
                {
                    key: Gain(
                        population.n_neurons,
                        population.n_behaviour,
                        hidden_channels=settings.hidden_channels,
                        hidden_layers=settings.hidden_layers,
                    )
                    for key, population in populations.items()
                }
            )
    return Encoder(
        front_end, core, nn.ModuleDict(readout), shifter=shifter, modulator=modulator, config=config
    )


def _check_inputs(
    config: EncoderConfig, populations: Mapping[str, Population], shape: tuple[int, int, int]
) -> None:
    core, (_, height, width) = config.core, shape
    if not core.pad_input and core.input_kernel > min(height, width):
        raise ValueError(
            f"core.input_kernel: {core.input_kernel} exceeds the image of {height} x {width} "
            "pixels (after downsampling and front end); use a smaller kernel"
        )
    for population in populations.values():
        if config.modulator is not None and population.n_behaviour == 0:
            raise ValueError(
                "modulator: the recording has no behaviour to take a gain from; set modulator to "
                "None"
            )
        if config.behaviour_channels and population.n_behaviour == 0:
            raise ValueError(
                "behaviour_channels: the recording has no behaviour; set behaviour_channels to "
                "False"
            )
        if config.readout.positions == "cortical":
            if population.cortical_positions is None:
                raise ValueError(
                    "readout.positions: the recording does not say where its neurons lie in the "
                    "cortex; use 'free'"
                )
            inputs = config.readout.position_inputs
            places = np.asarray(population.cortical_positions)[:, :inputs]
            if places.shape[1] < inputs:
                raise ValueError(
                    f"readout.position_inputs: {inputs}, but the recording has "
                    f"{places.shape[1]} coordinates of the cortex; use as many"
                )
            if not np.ptp(places, axis=0).any():
                raise ValueError(
                    "readout.positions: all neurons lie at one place of the cortex, from which no "
                    "positions follow; use 'free'"
                )
    widths = {p.n_behaviour for p in populations.values()}
    if config.behaviour_channels and len(widths) > 1:
        raise ValueError(
            f"behaviour_channels: scans that share a core have {sorted(widths)} columns of "
            "behaviour; expected as many in each"
        )


def _build_core(core: CoreConfig, input_channels: int) -> Core:
    return Core(
        input_channels=input_channels,
        hidden_channels=core.hidden_channels,
        input_kern=core.input_kernel,
        hidden_kern=(
            core.hidden_kernel if isinstance(core.hidden_kernel, int) else [*core.hidden_kernel]
        ),
        layers=core.layers,
        gamma_input=core.gamma_input,
        gamma_hidden=core.gamma_hidden,
        skip=core.skip,
        stack={"all": None, "last": -1}[core.stack] if isinstance(core.stack, str) else -core.stack,
        pad_input=core.pad_input,
        momentum=core.momentum,
        hidden_dilation=core.hidden_dilation,
        depth_separable=core.depth_separable,
        linear=core.linear,
        bias=core.bias,
        norm=core.norm,
        final_nonlinearity=core.final_nonlinearity,
        input_regularizer="LaplaceL2norm",
    )


def build_readout(
    config: ReadoutConfig, population: Population, maps: Sequence[int]
) -> FactorisedReadout | GaussianReadout:
    """A readout, untrained; before ELU + 1, which makes rates of what it says.

    Parameters
    ----------
    config : ReadoutConfig
    population : Population
    maps : (channels, height, width)
        Of the features it reads.
    """
    channels, height, width = maps
    bias = None
    if population.mean_response is not None:
        # Inverse of ELU + 1, the output nonlinearity.
        mean = population.mean_response.clamp(min=1e-3)
        bias = torch.where(mean >= 1, mean - 1, torch.log(mean))
    if config.kind == "factorised":
        return FactorisedReadout(
            (channels, height, width),
            population.n_neurons,
            bias,
            gamma=config.gamma,
            smoothness=config.smoothness,
        )
    predictor = source = None
    if config.positions == "cortical":
        assert population.cortical_positions is not None  # or _check_inputs had refused it
        source = np.asarray(population.cortical_positions, np.float64)[:, : config.position_inputs]
        predictor = {
            "hidden_layers": config.position_layers,
            "hidden_features": config.position_features,
            "final_tanh": config.position_tanh,
        }
    return GaussianReadout(
        in_shape=(channels, height, width),
        outdims=population.n_neurons,
        bias=True,
        gauss_type=config.gauss_type,
        init_mu_range=config.init_mu_range,
        init_sigma=config.init_sigma,
        feature_reg_weight=config.gamma,
        mean_activity=bias,
        grid_mean_predictor=predictor,
        source_grid=source,
    )


def _build_shifter(config: ShifterConfig) -> nn.Module:
    if config.kind == "mlp":
        return MLP(
            input_features=2,
            hidden_channels=config.hidden_channels,
            shift_layers=config.layers,
        )
    shifter = StaticAffine2d()
    shifter.initialize()
    return shifter


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


def population_of(recording: Recording, config: EncoderConfig) -> Population:
    """A recording's neurons as an encoder has to know them.

    Raises
    ------
    ValueError
        If the recording lacks an input that the configuration asks for.
    """
    if config.shifter is not None and recording.pupil is None:
        raise ValueError(
            f"shifter: recording {recording.name!r} has no pupil position; set shifter to None"
        )
    train = recording.responses[recording.trials_of("train")]
    mean = recording.normalisation.responses(train).mean(0)
    return Population(
        n_neurons=recording.n_neurons,
        n_behaviour=0 if recording.behaviour is None else recording.behaviour.shape[1],
        mean_response=torch.from_numpy(mean),
        cortical_positions=recording.cortical_positions,
    )


def data_key(recording_name: str) -> str:
    """A recording's name as that of a submodule: without dots, and unlike any method."""
    return "scan_" + recording_name.replace(".", "_")
