"""Which parts of an NWB file to take; imports no pynwb."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from predictive_model.importers.import_options import ImportOptions


class NwbOptions(ImportOptions):
    """Which parts of an NWB file to take, and how.

    Attributes
    ----------
    window_start, window_length : float
        Seconds after a presentation's onset, and from there, in which the response is measured.
    responses, images, presentations, image_column : str, optional
        Names of what to take where a file holds several; ``units`` for spikes. ``image_column``
        is the column of the presentations that says which image was shown.
    first_image : int
        Number of the first image in that column; 1 where images are counted from 1.
    names_in_order : bool
        Names in that column stand for images that have none, in natural order.
    clip_negative : bool
        The same as ``negative="clip"``. The Poisson encoder takes no negative responses, as dF/F
        has them, and deconvolved activity is better.
    width_first : bool
        Images are stored as (image, width, height), as the schema says and few do.
    quality : tuple of str
        Take only neurons with one of these labels, such as ``good``; all but noise by default.
    all_neurons : bool
        Take also neurons which the file itself calls no cells, noise or bad.
    all_trials : bool
        Take also trials which the file itself calls invalid or did not observe.
    sort_spikes : bool
        Take units whose spike times go back as if these were merely out of order.
    presentation_unit, response_unit : float, optional
        Seconds which one unit of the times of presentations, and of responses, is worth: 0.001
        where a file has milliseconds. Seconds, as the schema says, unless they look otherwise.
    without : tuple of str
        Names of behaviour to pass over.
    """

    window_start: float = Field(default=0.05, ge=-10, le=10)
    window_length: float = Field(default=0.5, gt=0, le=60)
    responses: str | None = None
    images: str | None = None
    presentations: str | None = None
    image_column: str | None = None
    first_image: int = Field(default=0, ge=0, le=1)
    names_in_order: bool = False
    clip_negative: bool = False
    width_first: bool = False
    quality: tuple[str, ...] = ()
    all_neurons: bool = False
    all_trials: bool = False
    sort_spikes: bool = False
    presentation_unit: float | None = Field(default=None, gt=0)
    response_unit: float | None = Field(default=None, gt=0)
    without: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _clipping(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("clip_negative"):
            return {"negative": "clip"} | given
        return given

    @field_validator("quality", "without", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given
