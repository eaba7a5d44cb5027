"""The oracle of Safarani et al. 2021: it has learned distorted images, and predicts responses.

If its predictions teach another network, which learns clean images alone, what that one withstands
says how much robustness can pass through responses at all.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from regularized_training.alignment.prediction import (
    BATCH,
    PredictionConfig,
    fit_readout,
)
from regularized_training.networks.trunk import Trunk
from regularized_training.oracle_config import OracleConfig
from regularized_training.teachers.config import TeacherConfig
from regularized_training.teachers.making import TeacherInputs
from regularized_training.teachers.making_responses import responses as brain_of
from regularized_training.teachers.response_rows import ComputedRows
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.stimuli import as_network_input


def responses(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """What a readout of the oracle's trunk says of the stimuli.

    It is fitted to what encoders predict for them, in the paper to recorded responses to others.
    The readout does not see the stimuli that are held out. Responses are computed as they are
    read.
    """
    assert inputs.oracle is not None and isinstance(config.oracle, OracleConfig)
    oracle, trained = config.oracle, inputs.oracle
    brain = brain_of(inputs, config)
    scale = brain.scale
    assert scale is not None, "a teacher has one"
    network = trained.network()
    trunk = Trunk(network, oracle.layer)
    settings = PredictionConfig(
        layer=oracle.layer,
        epochs=oracle.readout_epochs,
        batch_size=min(BATCH, brain.n_stimuli - len(brain.held_out)),
        seed=config.seed,
    )
    readout = fit_readout(
        network, brain, settings, n_channels=trained.n_channels, device=inputs.device
    )

    def said(index: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = torch.from_numpy(brain.stimuli[index]).to(inputs.device).split(BATCH)
        shown = (as_network_input(part, trained.n_channels, None, scale=scale) for part in parts)
        with torch.inference_mode():
            return np.concatenate([readout(trunk(images)).cpu().numpy() for images in shown])

    rows = ComputedRows((brain.n_stimuli, brain.n_neurons), said)
    return ResponseTeacher(config.kind, brain.stimuli, rows, brain.held_out, scale=brain.scale)
