"""Kinds of noise and how much of it there may be; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

NoiseKind = Literal["gaussian", "uniform", "salt_and_pepper"]
LARGEST = 2.0  # level; beyond it next to nothing is left of an image


def require_levels(levels: Sequence[float], kind: NoiseKind) -> None:
    """Raise a ValueError unless there are levels, each once and such as images can have.

    Parameters
    ----------
    levels : sequence of float
        As of :class:`~regularized_training.robustness.noise.NoiseConfig`.
    kind : str
    """
    if not levels or not all(np.isfinite(level) and level >= 0 for level in levels):
        raise ValueError(f"levels: {levels}, expected at least one, all finite and at least 0")
    if len(set(levels)) != len(levels):
        raise ValueError(f"levels: {levels}, expected every level once")
    if kind == "salt_and_pepper" and max(levels) > 1:
        raise ValueError(f"levels: {levels}, expected fractions of pixels, 0 to 1")
    if max(levels) > LARGEST:
        raise ValueError(
            f"levels: {levels}, expected 0 to {LARGEST:g}, as pixels are in 0 to 1 and not in "
            "0 to 255"
        )
