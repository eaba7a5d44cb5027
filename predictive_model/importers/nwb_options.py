"""Which parts of an NWB file to take; imports no pynwb."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from predictive_model.importers.import_options import ImportOptions


class NwbOptions(ImportOptions):
    """Which parts of an NWB file to take, and how.

    Attributes
    ----------
    window_start, window_length : float
        Seconds after a presentation's onset, and from there, in which the response is measured.
    responses, images, presentations : str, optional
        Names of what to take where a file holds several; ``units`` for spikes.
    clip_negative : bool
        The same as ``negative="clip"``. The Poisson encoder takes no negative responses, as dF/F
        has them, and deconvolved activity is better.
    width_first : bool
        Images are stored as (image, width, height), as the schema says and few do.
    """

    window_start: float = Field(default=0.05, ge=-10, le=10)
    window_length: float = Field(default=0.5, gt=0, le=60)
    responses: str | None = None
    images: str | None = None
    presentations: str | None = None
    clip_negative: bool = False
    width_first: bool = False

    @model_validator(mode="before")
    @classmethod
    def _clipping(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("clip_negative"):
            return {"negative": "clip"} | given
        return given
