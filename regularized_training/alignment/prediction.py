"""How well responses to held-out stimuli are predicted from a network: Safarani et al. 2021.

A readout says what neurons do from the features of one layer, the end of the trunk: the one that
co-training learned (``ResponsesLesson.module``), any other callable, or one that is fitted to the
network as it is. So networks that learned from a brain, from another network or from none are
judged alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.config import Config, Seed
from predictive_model.encoders.config import ReadoutConfig
from predictive_model.randomness import seeded
from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.scores import EncoderScores, score_trials
from regularized_training.alignment.layers import Side
from regularized_training.lessons.response_config import ResponsesConfig
from regularized_training.lessons.responses import ResponsePredictor
from regularized_training.networks.trunk import Trunk
from regularized_training.tasks.chosen_images import evaluating
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.stimuli import Scale, as_network_input, pixel_scale

BATCH = 128
FEATURE_BYTES = 2**30  # up to this size features are held, above they are read for every batch

Readout = Callable[[Tensor], Tensor]  # features (batch, channels, height, width) to (batch, neuron)


class PredictionConfig(Config):
    """How neurons are predicted from a network, which itself is not changed.

    Attributes
    ----------
    layer : str
        The end of the trunk, whose features are read.
    readout : ReadoutConfig
        By default without a penalty, a position and a vector of features for each neuron.
    epochs : int
        Passes over the stimuli that are not held out; 10 with Safarani et al. 2021.
    batch_size : int
    learning_rate : float
        Of Adam, falling to 0 along a cosine. Features are standardised, and responses in units of
        each neuron's standard deviation, so that it suits any layer and any population.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they are by default.
    seed : int
        Of the readout's first weights, order and sampled positions.
    """

    layer: str
    readout: ReadoutConfig = ReadoutConfig(gamma=0.0)
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=0.01, gt=0)
    stimulus_size: tuple[Side, Side] | None = None
    seed: Seed = 0


class FittedReadout(nn.Module):
    """Responses, in their own units, from the features of a layer.

    Parameters
    ----------
    predictor : ResponsePredictor
    mean, std : (channels,) Tensor
        Of each map, over stimuli and places.
    unit : (neuron,) Tensor
        What responses are measured in.
    """

    mean: Tensor
    std: Tensor
    unit: Tensor

    def __init__(
        self, predictor: ResponsePredictor, mean: Tensor, std: Tensor, unit: Tensor
    ) -> None:
        super().__init__()
        self.predictor = predictor
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, value.view(-1, 1, 1))
        self.register_buffer("unit", unit)

    def relative(self, features: Tensor) -> Tensor:
        """Responses (batch, neuron) in units of each neuron."""
        return self.predictor((features - self.mean) / self.std)

    def forward(self, features: Tensor) -> Tensor:
        """Responses (batch, neuron) to features (batch, channels, height, width)."""
        return self.relative(features) * self.unit


def fit_readout(
    network: nn.Module,
    teacher: ResponseTeacher,
    config: PredictionConfig,
    *,
    n_channels: int,
    device: str | torch.device = "cpu",
) -> FittedReadout:
    """Fit a readout of a network's layer to the stimuli of a teacher that are not held out.

    The network is in evaluation mode and stays as it is. On a CPU the settings decide the result to
    the bit; on a GPU it differs by rounding, see ``predictive_model.fits.fitting``.

    Parameters
    ----------
    network : nn.Module
    teacher : ResponseTeacher
        Of responses of any unit, not negative.
    config : PredictionConfig
    n_channels : int
        Of the network's images.
    device : str or torch.device

    Returns
    -------
    FittedReadout
        In evaluation mode, on the device.

    Raises
    ------
    LayerError
        If the network has no such layer, or it has no maps.
    ValueError
        If there are fewer stimuli than a batch has.
    """
    taught = teacher.teaching
    n = taught.n_stimuli
    if n < config.batch_size:
        raise ValueError(
            f"batch_size: {config.batch_size}, expected 2 to {n}, the number of stimuli of teacher "
            f"{teacher.name!r} that are not held out"
        )
    with evaluating(network, device), seeded(config.seed, device):
        seen = _Seen(network, taught.stimuli, config, n_channels, taught.scale, device)
        mean, std = seen.statistics()
        mean_response, variance = map(torch.from_numpy, taught.statistics())
        unit = torch.where(variance > 0, variance.sqrt(), 1.0)
        # The readout of co-training, whose variances are of no use here.
        settings = ResponsesConfig(
            method="responses",
            layer=config.layer,
            readout=config.readout,
            weighting="constant",
        )
        predictor = ResponsePredictor(settings, seen.shape, (mean_response / unit).float())
        fitted = FittedReadout(predictor, mean, std, unit.float()).to(device)
        optimizer = torch.optim.Adam(predictor.parameters(), lr=config.learning_rate)
        n_steps = config.epochs * (n // config.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        for _ in range(config.epochs):
            for chosen in torch.randperm(n).split(config.batch_size):
                if len(chosen) < config.batch_size:
                    break
                responses = torch.from_numpy(taught.rows(chosen.numpy())).to(device)
                said = fitted.relative(seen.features(chosen))
                loss = F.mse_loss(said, responses / fitted.unit) + predictor.penalty()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
        if not all(torch.isfinite(p).all() for p in predictor.parameters()):
            raise ValueError(
                f"learning_rate: {config.learning_rate:g}, with which the readout of "
                f"{config.layer!r} is no longer finite; lower it"
            )
    return fitted.eval()


def predict_responses(
    network: nn.Module,
    layer: str,
    readout: Readout,
    stimuli: NDArray,
    *,
    n_channels: int,
    size: tuple[int, int] | None = None,
    scale: Scale | None = None,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """What a readout says of stimuli, in batches.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in.
    layer : str
    readout : callable
        Features (batch, channels, height, width) on the device to responses (batch, neuron); a
        module in evaluation mode.
    stimuli : (n, 1 or 3, height, width) uint8 or float32
    n_channels : int
        Of the network's images.
    size : (int, int), optional
        Height and width to resize the stimuli to.
    scale : (float, float), optional
        Values that are black and white, see
        :func:`~regularized_training.teachers.stimuli.pixel_scale`; of these stimuli by default.
    device : str or torch.device

    Returns
    -------
    (n, neuron) float32
    """
    scale = pixel_scale(stimuli) if scale is None else scale
    with evaluating(network, device), torch.inference_mode():
        trunk = Trunk(network, layer)
        said = [
            readout(trunk(images)).cpu().numpy()
            for images in _images(stimuli, n_channels, size, scale, device)
        ]
    return np.concatenate(said)


def score_prediction(
    network: nn.Module,
    layer: str,
    readout: Readout,
    stimuli: NDArray,
    responses: NDArray | Repeats,
    *,
    n_channels: int,
    size: tuple[int, int] | None = None,
    scale: Scale | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> EncoderScores:
    """Correlation of predicted with actual responses, per neuron, with ceilings if repeats tell.

    Parameters
    ----------
    network, layer, readout, stimuli, n_channels, size, scale, device
        As of :func:`predict_responses`; the stimuli that the readout has not seen.
    responses : (stimulus, neuron) or Repeats
        As a teacher has them, or single trials of each stimulus.
    seed : int
        Of the split halves.

    Returns
    -------
    EncoderScores
        ``single_trial`` is the correlation with the responses; where each stimulus has several
        trials the others are known, too.

    Raises
    ------
    ValueError
        If the responses are not of these stimuli, or of other neurons than are predicted.

    Examples
    --------
    >>> from regularized_training.networks.architectures import build_network
    >>> from regularized_training.networks.config import NetworkConfig
    >>> network = build_network(NetworkConfig(width=2), n_channels=1, n_classes=10, seed=0)
    >>> stimuli = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16), np.uint8)
    >>> def centre(features):
    ...     return features[:, :, 8, 8]
    >>> responses = predict_responses(network, "stem", centre, stimuli, n_channels=1)
    >>> found = score_prediction(network, "stem", centre, stimuli, responses, n_channels=1)
    >>> found.single_trial.round(6)
    array([1., 1.])
    """
    if isinstance(responses, Repeats):
        trials = responses
    else:
        trials = Repeats(responses, np.ones(len(responses), np.int64))
    if trials.n_images != len(stimuli):
        raise ValueError(
            f"responses: of {trials.n_images} stimuli, expected {len(stimuli)}, those given"
        )
    said = predict_responses(
        network,
        layer,
        readout,
        stimuli,
        n_channels=n_channels,
        size=size,
        scale=scale,
        device=device,
    )
    if said.shape[1:] != (trials.n_neurons,):
        raise ValueError(
            f"readout: predicts {said.shape[1:]}, expected ({trials.n_neurons},), the neurons of "
            "the responses"
        )
    return score_trials(trials, Repeats(said[trials.image], trials.counts), seed=seed)


def neural_prediction(
    network: nn.Module,
    teacher: ResponseTeacher,
    config: PredictionConfig,
    *,
    n_channels: int,
    readout: Readout | None = None,
    device: str | torch.device = "cpu",
) -> EncoderScores:
    """How well a network predicts a teacher's responses to the stimuli that it holds out.

    Parameters
    ----------
    network : nn.Module
    teacher : ResponseTeacher
    config : PredictionConfig
    n_channels : int
        Of the network's images.
    readout : callable, optional
        That of the network's lesson; one is fitted by default.
    device : str or torch.device

    Raises
    ------
    ValueError
        If the teacher holds out fewer than two stimuli.
    """
    if len(teacher.held_out) < 2:
        raise ValueError(
            f"teacher: {teacher.name!r} holds out {len(teacher.held_out)} of its "
            f"{teacher.n_stimuli} stimuli, expected at least 2 to judge by; raise held_out"
        )
    judge = teacher.withheld
    if readout is None:
        readout = fit_readout(network, teacher, config, n_channels=n_channels, device=device)
    return score_prediction(
        network,
        config.layer,
        readout,
        judge.stimuli,
        judge.rows(np.arange(judge.n_stimuli)),
        n_channels=n_channels,
        size=config.stimulus_size,
        scale=judge.scale,
        device=device,
    )


class _Seen:
    """Features of stimuli: held if there is room for them, else read for every batch."""

    def __init__(
        self,
        network: nn.Module,
        stimuli: NDArray,
        config: PredictionConfig,
        n_channels: int,
        scale: Scale | None,
        device: str | torch.device,
    ) -> None:
        scale = pixel_scale(stimuli) if scale is None else scale
        self._trunk = Trunk(network, config.layer)
        self._stimuli, self._device = torch.from_numpy(stimuli), device
        self._shown = (n_channels, config.stimulus_size, scale, device)
        height, width = config.stimulus_size or stimuli.shape[2:]
        self.shape = self._trunk.shape((n_channels, height, width))
        self._held: Tensor | None = None
        if 4 * len(stimuli) * math.prod(self.shape) <= FEATURE_BYTES:
            self._held = torch.cat(list(self._all()))

    def features(self, chosen: Tensor) -> Tensor:
        """Features (chosen, channels, height, width), on the device."""
        if self._held is not None:
            return self._held[chosen.to(self._held.device)]
        (features,) = self._read(self._stimuli[chosen], len(chosen))
        return features

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each map, (channels,) each; 1 where it is constant."""
        n, sums = 0, torch.zeros(2, self.shape[0], dtype=torch.float64)
        for features in self._all() if self._held is None else [self._held]:
            values = features.double()
            sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]).cpu()
            n += values[:, 0].numel()
        mean, square = sums / n
        variance = (square - mean.square()).clamp(min=0)
        constant = variance <= 1e-12 * square
        return mean.float(), torch.where(constant, 1.0, variance.sqrt()).float()

    def _all(self) -> Iterator[Tensor]:
        return self._read(self._stimuli, BATCH)

    def _read(self, stimuli: Tensor, size: int) -> Iterator[Tensor]:
        n_channels, resized, scale, device = self._shown
        with torch.no_grad():
            for part in stimuli.split(size):
                images = as_network_input(part.to(device), n_channels, resized, scale=scale)
                yield self._trunk(images).float()


def _images(
    stimuli: NDArray,
    n_channels: int,
    size: tuple[int, int] | None,
    scale: Scale,
    device: str | torch.device,
) -> Iterator[Tensor]:
    for part in torch.from_numpy(stimuli).split(BATCH):
        yield as_network_input(part.to(device), n_channels, size, scale=scale)
