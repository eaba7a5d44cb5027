"""The oracle of Safarani et al. 2021: it has learned distorted images, and predicts responses.

If its predictions teach another network, which learns clean images alone, what that one withstands
says how much robustness can pass through responses at all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regularized_training.alignment.prediction import (
    BATCH,
    PredictionConfig,
    fit_readout,
    predict_responses,
)
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.picture_task import PictureTask
from regularized_training.teachers.config import TeacherConfig
from regularized_training.teachers.making import TeacherInputs
from regularized_training.teachers.making_responses import responses as brain_of
from regularized_training.teachers.oracle_config import OracleConfig
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.stimuli import Scale
from regularized_training.training import train

if TYPE_CHECKING:
    from regularized_training.trained_network import EpochRecord, TrainedNetwork


def train_oracle(
    task: ImageTask | PictureTask,
    config: OracleConfig,
    seed: int,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    progress: Callable[[EpochRecord], None] | None = None,
) -> TrainedNetwork:
    """Train the network whose trunk predicts responses, on clean and distorted images.

    Parameters
    ----------
    task, seed, device, checkpoint, progress
        As of :func:`~regularized_training.training.train`.
    config : OracleConfig
    """
    distorted = config.training.distorted
    assert distorted is not None  # the configuration has it checked
    alone = distorted.model_copy(update={"retrained": False})
    return train(
        task,
        config.network,
        config.training.model_copy(update={"distorted": alone}),
        seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )


def responses(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """What a readout of the oracle's trunk, fitted to predicted responses, says of the stimuli.

    The readout does not see the stimuli that are held out. Responses are computed as they are
    read.
    """
    assert inputs.oracle is not None and config.oracle is not None
    oracle, trained = config.oracle, inputs.oracle
    assert oracle.training.distorted is not None
    brain = brain_of(inputs, config)
    network = trained.network()
    settings = PredictionConfig(
        layer=oracle.training.distorted.layer,
        epochs=oracle.readout_epochs,
        batch_size=min(BATCH, brain.n_stimuli - len(brain.held_out)),
        seed=config.seed,
    )
    readout = fit_readout(
        network, brain, settings, n_channels=trained.n_channels, device=inputs.device
    )
    said = Predicted(
        network, settings.layer, readout, brain, trained.n_channels, device=inputs.device
    )
    return ResponseTeacher(config.kind, brain.stimuli, said, brain.held_out, scale=brain.scale)


class Predicted:
    """Responses that a network predicts to a teacher's stimuli, computed when they are asked for.

    Parameters
    ----------
    network, layer, readout, n_channels, device
        As of :func:`~regularized_training.alignment.prediction.predict_responses`.
    brain : ResponseTeacher
        Whose stimuli and neurons they are.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        readout: nn.Module,
        brain: ResponseTeacher,
        n_channels: int,
        *,
        device: str | torch.device,
    ) -> None:
        self.shape = (brain.n_stimuli, brain.n_neurons)
        self._network, self._layer, self._readout = network, layer, readout
        self._stimuli: NDArray = brain.stimuli
        assert brain.scale is not None
        self._scale: Scale = brain.scale
        self._n_channels, self._device = n_channels, device

    def rows(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Responses to some stimuli, (len(index), neuron)."""
        return predict_responses(
            self._network,
            self._layer,
            self._readout,
            self._stimuli[index],
            n_channels=self._n_channels,
            scale=self._scale,
            device=self._device,
        )
