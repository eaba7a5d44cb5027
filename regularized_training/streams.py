"""Seeds of all that a training draws, of its own seed; imports no torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """Seeds of streams of their own, so that a teacher changes nothing about the task's images.

    Attributes
    ----------
    weights, order, augmentation, stimuli : int
    layers : int
        Of what layers draw, as dropout does.
    """

    weights: int
    order: int
    augmentation: int
    stimuli: int
    layers: int


def seeds_of(seed: int) -> Streams:
    """The seeds of a training."""
    drawn = np.random.SeedSequence(seed).generate_state(len(Streams._fields), np.uint64)
    return Streams(*(int(stream >> np.uint64(1)) for stream in drawn))
