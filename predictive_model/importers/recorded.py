"""Arrays of a recording as they stand in a file, before anyone has looked at their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# What each axis of each array goes by.
AXES = {
    "images": ("image", "colour", "row", "column"),
    "image_groups": ("image",),
    "image_index": ("trial",),
    "responses": ("trial", "neuron"),
    "behaviour": ("trial", "channel of behaviour"),
    "behaviour_names": ("channel of behaviour",),
    "pupil": ("trial", "direction"),
    "tier": ("trial",),
    "neuron_ids": ("neuron",),
    "cortical_positions": ("neuron", "axis"),
}
NUMBERS = ("images", "responses", "behaviour", "pupil", "cortical_positions")


@dataclass
class Recorded:
    """Arrays of a recording, which are changed as their values are looked at.

    Attributes are those of :class:`~predictive_model.recordings.recording.Recording`, but that
    responses, behaviour, pupil, positions and floats of images may miss values (not be finite).

    Attributes
    ----------
    notes : list of str
        What was found, and what became of it.
    """

    images: NDArray
    image_index: NDArray
    responses: NDArray
    behaviour: NDArray | None = None
    pupil: NDArray | None = None
    tier: NDArray | None = None
    neuron_ids: NDArray | None = None
    behaviour_names: NDArray | Sequence[str] | None = None
    cortical_positions: NDArray | None = None
    image_groups: NDArray | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in AXES:
            if getattr(self, name) is not None:
                setattr(self, name, np.asarray(getattr(self, name)))
        for name in NUMBERS:
            values = getattr(self, name)
            if values is not None and values.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    setattr(self, name, values.astype(np.float32, copy=False))

    def fits_together(self) -> bool:
        """Whether axes, lengths and kinds of all arrays are those of one recording."""
        sizes: dict[str, int] = {}
        for name, axes in AXES.items():
            values = getattr(self, name)
            if values is None:
                continue
            if values.ndim != len(axes) or 0 in values.shape:
                return False
            if any(sizes.setdefault(a, n) != n for a, n in zip(axes, values.shape, strict=True)):
                return False
        arrays = [getattr(self, name) for name in NUMBERS]
        index = self.image_index
        return (
            all(values is None or values.dtype.kind in "fiu" for values in arrays)
            and index.dtype.kind in "iu"
            and index.min() >= 0
            and index.max() < len(self.images)
        )

    def keep(self, axis: str, kept: NDArray[np.bool_]) -> None:
        """Leave all else along an axis out of every array."""
        for name, axes in AXES.items():
            values = getattr(self, name)
            if values is not None and axis in axes:
                setattr(self, name, values.compress(kept, axes.index(axis)))

    def keep_images(self, kept: NDArray[np.bool_]) -> int:
        """Leave out the other images, and their trials; returns how many trials those were."""
        shown = kept[self.image_index]
        self.keep("trial", shown)
        self.keep("image", kept)
        self.image_index = (np.cumsum(kept) - 1)[self.image_index]
        return int((~shown).sum())
