"""How lessons show stimuli to a network: drawn at random, read up to the layers that learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from regularized_training.lessons.config import BatchNormChoice
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.networks.normalisation import batch_norms
from regularized_training.teachers.any_teacher import Teacher
from regularized_training.teachers.stimuli import (
    as_network_input,
    pixel_scale,
    prepare_stimuli,
)

# Up to this size stimuli lie on the device as the network takes them; above, as they were given.
PREPARED_BYTES = 2**29


class Showing(Protocol):
    """Settings of how stimuli are shown."""

    @property
    def n_stimuli(self) -> int:
        """In a batch."""

    @property
    def stimulus_size(self) -> tuple[int, int] | None:
        """Height and width."""

    @property
    def batchnorm(self) -> BatchNormChoice:
        """By which statistics stimuli are normalised."""


class StimulusReader:
    """Stimuli on a network's device, and the layers that see them.

    Parameters
    ----------
    network : nn.Module
        On its device already.
    layers : tuple of str
    teacher : Teacher
        Its stimuli all teach.
    config : Showing
    n_channels : int
        Channels of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        teacher: Teacher,
        config: Showing,
        n_channels: int,
    ) -> None:
        self.n_stimuli = len(teacher.stimuli)
        self.device = next(network.parameters()).device
        self._network, self._read = network, LayerReader(network, layers)
        self._name, self._config, self._n_channels = teacher.name, config, n_channels
        self._scale = pixel_scale(teacher.stimuli) if teacher.scale is None else teacher.scale
        height, width = config.stimulus_size or teacher.stimuli.shape[2:]
        size = 4 * self.n_stimuli * n_channels * height * width
        self._prepared = size <= PREPARED_BYTES
        stimuli = torch.from_numpy(teacher.stimuli)
        if self._prepared:
            stimuli = prepare_stimuli(
                teacher.stimuli, n_channels, config.stimulus_size, scale=self._scale
            )
        self._stimuli = stimuli.to(self.device)

    def require_enough(self) -> None:
        """Raise a ValueError if there are fewer stimuli than a batch has."""
        if self._config.n_stimuli > self.n_stimuli:
            raise ValueError(
                f"n_stimuli: {self._config.n_stimuli}, but teacher {self._name!r} has "
                f"{self.n_stimuli} stimuli that teach; set it to at most that, or hold out fewer"
            )

    def draw(self, rng: torch.Generator) -> Tensor:
        """Distinct stimuli of a batch, (config.n_stimuli,) int64, on the CPU."""
        return torch.randperm(self.n_stimuli, generator=rng)[: self._config.n_stimuli]

    def images(self, chosen: Tensor) -> Tensor:
        """Stimuli as the network takes its task images, (stimulus, n_channels, height, width)."""
        if self._prepared:
            return self._stimuli[chosen].contiguous(memory_format=torch.channels_last)
        size = self._config.stimulus_size
        return as_network_input(self._stimuli[chosen], self._n_channels, size, scale=self._scale)

    def features(self, chosen: Tensor) -> list[Tensor]:
        """What each layer makes of stimuli, (stimulus, channels, height, width)."""
        with batchnorm_of_stimuli(self._network, self._config.batchnorm):
            return self._read(self.images(chosen))

    def shapes(self) -> list[tuple[int, ...]]:
        """(channels, height, width) of each layer's features; changes nothing in the network."""
        training = self._network.training
        self._network.eval()
        with torch.no_grad():
            found = self._read(self.images(torch.zeros(1, dtype=torch.int64, device=self.device)))
        self._network.train(training)
        return [tuple(feature.shape[1:]) for feature in found]


@contextmanager
def batchnorm_of_stimuli(network: nn.Module, choice: BatchNormChoice = "task") -> Iterator[None]:
    """How stimuli are normalised, and whether the running statistics follow them.

    Parameters
    ----------
    network : nn.Module
        In training mode.
    choice : {"task", "both", "running"}
        See :class:`~regularized_training.lessons.config.RegularizerConfig`.
    """
    norms = batch_norms(network)
    before = [(norm.track_running_stats, norm.training) for norm in norms]
    for norm in norms:
        if choice == "task":
            norm.track_running_stats = False
        elif choice == "running":
            norm.eval()
    try:
        yield
    finally:
        for norm, (track, training) in zip(norms, before, strict=True):
            norm.track_running_stats = track
            norm.train(training)
