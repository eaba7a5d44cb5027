"""Search files: read and checked before anything is computed; and what a search writes, a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.experiments.file import ExperimentSettings, read_toml, with_recipe
from predictive_model.config import Config, Seed, what_is_wrong
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig
from predictive_model.fits.search_space import Dimension, check_space
from predictive_model.fits.search_trial import PruneConfig


class SearchError(ValueError):
    """A search that cannot be done: says what was found and what to do."""


class SearchSettings(Config):
    """What to search for.

    Attributes
    ----------
    title : str
    recordings : tuple of str
        Names of scans; the validation correlation is a mean over all their neurons.
    share_core : bool
        Fit all scans together, with one core.
    encoder, fit, encoder_seed
        All settings that are not searched.
    space : dict of str to Choices or Range
        The settings that are, by dotted names: ``encoder.core.layers``.
    sampler_seed : int
        Of the choice of trials.
    random_trials : int
        So many have to end before others are drawn near the best.
    prune : PruneConfig, optional
        Stop hopeless trials.
    """

    title: str = Field(min_length=1, max_length=255)
    recordings: tuple[str, ...] = Field(min_length=1)
    share_core: bool = False
    encoder: EncoderConfig = EncoderConfig()
    fit: FitConfig = FitConfig()
    encoder_seed: Seed = 0
    space: dict[str, Dimension] = Field(min_length=1)
    sampler_seed: Seed = 0
    random_trials: int = Field(10, ge=1)
    prune: PruneConfig | None = None

    @field_validator("recordings")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("expected distinct values")
        return value

    @model_validator(mode="after")
    def _possible(self) -> SearchSettings:
        check_space(self.space, self.encoder, self.fit)
        return self


def read_search(path: Path | str) -> SearchSettings:
    """Read a search file.

    ``recipe`` names a published model, whose ``encoder`` and ``fit`` the file's override.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SearchError, ExperimentError
        If it is not TOML, or holds a setting or a space that cannot work.

    Examples
    --------
    >>> read_search("experiments/searches/core.toml").recordings  # doctest: +SKIP
    ('simulated',)
    """
    path = Path(path)
    content = with_recipe(read_toml(path, "a search file"), path)
    try:
        return SearchSettings.model_validate(content)
    except ValidationError as error:
        raise SearchError(f"{path}: {what_is_wrong(error)}") from error


def experiment_file(settings: ExperimentSettings, remarks: str) -> str:
    """An experiment that fits encoders, as the text of a file that can be read at any scale.

    Parameters
    ----------
    settings : ExperimentSettings
        Without teachers.
    remarks : str
        Lines that head the file as comments.
    """
    content: dict[str, Any] = settings.model_dump(
        mode="json",
        include={"title", "recordings", "share_core", "encoder", "fit", "encoder_seed"},
    )
    content["scales"] = {"smoke": {}, "small": {}, "paper": {}}
    heading = [f"# {line}".rstrip() for line in remarks.splitlines()]
    return "\n".join([*heading, *_toml_lines(content, "")]).replace("\n\n\n", "\n\n") + "\n"


def _toml_lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """A table as TOML. What is None is left out, as it is where a setting may be absent."""
    if name and not (table and all(isinstance(value, dict) for value in table.values())):
        yield f"\n[{name}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            # JSON is TOML for strings, lists and booleans, and for numbers that are finite.
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml_lines(value, f"{name}.{key}" if name else key)
