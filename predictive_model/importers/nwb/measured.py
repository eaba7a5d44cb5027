"""Responses as they were measured, gaps included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.nwb.neurons import Neurons
from predictive_model.importers.nwb.presentations import Presentations
from predictive_model.importers.nwb_options import NwbOptions


@dataclass(frozen=True)
class Measured:
    """Responses to presentations.

    Attributes
    ----------
    responses : (trial, neuron) float32
        NaN where there is no valid response.
    recorded : (trial, neuron) bool, or None
        Whether the whole window was recorded; None if all were, or responses have no times.
    notes : tuple of str
    """

    responses: NDArray[np.float32]
    recorded: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


class Activity(Protocol):
    """Responses that are read when they are asked for, and whose they are."""

    name: str
    neurons: Neurons
    area: str
    timed: bool
    notes: tuple[str, ...]

    def read(self, found: Presentations, options: NwbOptions) -> Measured:
        """Responses in the window of each presentation, where there are times."""
        ...
