"""Which convolution's filters are looked at; imports no torch."""

from __future__ import annotations

from pydantic import Field

from predictive_model.config import Config


class FilterTuningConfig(Config):
    """To which frequency and orientation filters of a convolution are tuned.

    Attributes
    ----------
    convolution : int
        Counted from the image on, the first by default, of those with filters of more than one
        pixel; the blur of ``low_pass`` is not counted. Frequencies of one further on are in cycles
        per pixel of the map that it is given.
    """

    convolution: int = Field(default=1, ge=1, le=1000)
