"""Search files: read and checked before anything is computed; and what a search writes, a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.experiments.content import read_toml, with_recipe
from pipeline.experiments.file import (
    ExperimentSettings,
    TeacherEntry,
    evaluations_by_entry,
)
from predictive_model.config import Config, Seed, what_is_wrong
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig
from predictive_model.fits.search_trial import PruneConfig
from predictive_model.search_space import Dimension, check_space, configs_at
from regularized_training.teachers.config import DEFAULT_PREDICTABILITY
from schemas.evaluations.base import EVALUATIONS, part_of


class SearchError(ValueError):
    """A search that cannot be done: says what was found and what to do."""


class Searched(Config):
    """What every search file says.

    Attributes
    ----------
    title : str
    space : dict of str to Choices or Range
        The settings that are searched, by dotted names: ``encoder.core.layers``.
    sampler_seed : int
        Of the choice of trials.
    random_trials : int
        So many have to end before others are drawn near the best.
    """

    measure: ClassVar[str]  # what trials are ranked by

    title: str = Field(min_length=1, max_length=255)
    space: dict[str, Dimension] = Field(min_length=1)
    sampler_seed: Seed = 0
    random_trials: int = Field(10, ge=1)

    @property
    def roots(self) -> dict[str, Config]:
        """All settings that are not searched, by the first word of their names."""
        raise NotImplementedError

    def experiment_at(self, point: Mapping[str, Any]) -> ExperimentSettings:
        """The experiment that computes what the space has at a point.

        Raises
        ------
        ValueError
            If its settings cannot work, or do not go together.
        """
        raise NotImplementedError

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_space(self.space, self.roots, self.experiment_at)
        return self


class SearchSettings(Searched):
    """Which settings of an encoder and its fit to search for.

    Attributes
    ----------
    recordings : tuple of str
        Names of scans; the validation correlation is a mean over all their neurons.
    share_core : bool
        Fit all scans together, with one core.
    encoder, fit, encoder_seed
        All settings that are not searched.
    prune : PruneConfig, optional
        Stop hopeless trials.
    """

    measure: ClassVar[str] = "validation_correlation"

    recordings: tuple[str, ...] = Field(min_length=1)
    share_core: bool = False
    encoder: EncoderConfig = EncoderConfig()
    fit: FitConfig = FitConfig()
    encoder_seed: Seed = 0
    prune: PruneConfig | None = None

    @field_validator("recordings")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("expected distinct values")
        return value

    @property
    def roots(self) -> dict[str, Config]:
        """Settings of encoder and fit."""
        return {"encoder": self.encoder, "fit": self.fit}

    def experiment_at(self, point: Mapping[str, Any]) -> ExperimentSettings:
        """An experiment that fits the encoders."""
        return ExperimentSettings(
            title=self.title,
            recordings=self.recordings,
            share_core=self.share_core,
            encoder_seed=self.encoder_seed,
            **configs_at(point, self.roots),
        )


class NetworkSearchSettings(Searched):
    """Which settings of a network, its training, lesson and teacher to search for.

    Networks are trained without the validation part of their task, and compared by their accuracy
    on it. In a file all that is not of the search itself is an experiment's: ``images``,
    ``teachers``, ``training`` and so on.

    Attributes
    ----------
    objective : str
        ``accuracy`` on the validation images, after training; or the name of an evaluation
        that networks can be ranked by, such as ``noise``: accuracy under the noise of the tables
        ``[[noise]]``, mean over their levels. Mean over seeds in either case.
    experiment : ExperimentSettings
        With one teacher, and all settings that are not searched.
    """

    measure: ClassVar[str] = "validation_accuracy"

    objective: str = "accuracy"
    experiment: ExperimentSettings

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, content: Any) -> Any:
        """What is not of the search itself is of the experiment."""
        if not isinstance(content, dict) or "experiment" in content:
            return content
        own = {name: content[name] for name in cls.model_fields if name in content}
        rest = {name: value for name, value in content.items() if name not in own}
        # Each is as a search needs it, unless the file says otherwise, which is refused below.
        if isinstance(training := rest.get("training", {}), dict):
            rest["training"] = {"hold_out_validation": True, **training}
        for entry, evaluation in evaluations_by_entry().items():
            if evaluation.evaluation == own.get("objective"):
                found = rest.get(entry, {})
                rest[entry] = (
                    [_on_validation(one) for one in found]
                    if isinstance(found, list)
                    else _on_validation(found)
                )
            elif evaluation.settings is not None and evaluation.settings.default:
                rest.setdefault(entry, [])
        try:
            planned = ExperimentSettings.model_validate({"title": content.get("title"), **rest})
        except ValidationError as error:  # here, for names as they stand in the file
            raise ValueError(what_is_wrong(error)) from error
        return {**own, "experiment": planned}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._check_one_network()
        self._check_objective()
        check_space(self.space, self.roots, self.experiment_at)
        return self

    def _check_one_network(self) -> None:
        experiment = self.experiment
        if len(experiment.teachers) != 1 or experiment.variants or experiment.chosen:
            raise ValueError(
                f"teachers: {len(experiment.teachers)}, expected one, and neither variants nor "
                "chosen: each trial trains one network for each seed; search teachers by "
                "teacher.kind"
            )
        if experiment.imported_networks:
            raise ValueError(
                "imported_networks: given, but of them nothing can be searched; leave them out"
            )
        if experiment.teachers[0].regularizer or experiment.teachers[0].alphas:
            raise ValueError(
                "teachers: with a regularizer or alphas of its own; set them in "
                "[training.regularizer], and search alpha by training.regularizer.alpha"
            )
        if not (experiment.training and experiment.training.hold_out_validation):
            raise ValueError(
                "training.hold_out_validation: false, but networks are compared on the validation "
                "part, which they must not learn; leave it out"
            )

    def _check_objective(self) -> None:
        ranked = [name for name, one in EVALUATIONS.items() if one.ranked_by is not None]
        if self.objective not in ("accuracy", *ranked):
            raise ValueError(
                f"objective: {self.objective!r}, expected one of {', '.join(['accuracy', *ranked])}"
            )
        if self.objective in ranked and self.objective not in self.experiment.evaluations:
            raise ValueError(
                f"{EVALUATIONS[self.objective].entry()}: an empty list, but it is the objective; "
                "leave it out for its defaults, or say what to measure"
            )
        for name, settings in self.experiment.evaluations.items():
            if name != self.objective:
                raise ValueError(
                    f"{EVALUATIONS[name].entry()}: given, but the objective is {self.objective!r}; "
                    "leave it out, and ask for it in the experiment that `neuroteach search best` "
                    "writes"
                )
            if "test" in map(part_of, settings):
                raise ValueError(
                    f"{EVALUATIONS[name].entry()}.part: test, but a search leaves the test images "
                    "alone; leave it out"
                )

    @property
    def roots(self) -> dict[str, Config]:
        """Settings of network, training and teacher."""
        assert self.experiment.training is not None
        teacher = self.experiment.teachers[0].teacher
        if self._kind_is_searched and teacher.predictability == DEFAULT_PREDICTABILITY:
            # What experiments take of themselves, of kinds that have it.
            teacher = teacher.model_copy(update={"predictability": "trial"})
        return {
            "network": self.experiment.network,
            "training": self.experiment.training,
            "teacher": teacher,
        }

    @property
    def _kind_is_searched(self) -> bool:
        return "teacher.kind" in self.space

    def experiment_at(self, point: Mapping[str, Any]) -> ExperimentSettings:
        """An experiment that trains the networks."""
        found = configs_at(point, self.roots)
        (entry,) = self.experiment.teachers
        teacher = found["teacher"]
        its = teacher.described() if self._kind_is_searched else teacher.model_dump(mode="json")
        changed = {
            "network": found["network"].model_dump(mode="json"),
            "training": found["training"].model_dump(mode="json"),
            "teachers": [{**its, "source": entry.source}],
        }
        try:
            return ExperimentSettings.model_validate(
                self.experiment.model_dump(mode="json") | changed
            )
        except ValidationError as error:
            raise ValueError(what_is_wrong(error)) from error


def _on_validation(settings: Any) -> Any:
    return {"part": "validation", **settings} if isinstance(settings, dict) else settings


AnySearch = SearchSettings | NetworkSearchSettings


def search_of(content: Mapping[str, Any]) -> AnySearch:
    """Settings of a search, from a file or from its row: of networks, if it has images."""
    of_networks = "images" in content or "experiment" in content
    return (NetworkSearchSettings if of_networks else SearchSettings).model_validate(content)


def read_search(path: Path | str) -> AnySearch:
    """Read a search file, of encoders or, if it names ``images``, of networks.

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
        return search_of(content)
    except ValidationError as error:
        raise SearchError(f"{path}: {what_is_wrong(error)}") from error


def experiment_file(settings: ExperimentSettings, remarks: str) -> str:
    """An experiment as the text of a file that can be read at any scale.

    Parameters
    ----------
    settings : ExperimentSettings
        Of one that trains networks, what is at its default is left out.
    remarks : str
        Lines that head the file as comments.
    """
    if settings.teachers:
        content = settings.model_dump(mode="json", exclude_defaults=True)
        content["teachers"] = [_as_written(entry) for entry in settings.teachers]
    else:
        of_encoders = {"title", "recordings", "share_core", "encoder", "fit", "encoder_seed"}
        content = settings.model_dump(mode="json", include=of_encoders)
    content["scales"] = {"smoke": {}, "small": {}, "paper": {}}
    heading = [f"# {line}".rstrip() for line in remarks.splitlines()]
    return "\n".join([*heading, *_toml_lines(content, "")]).replace("\n\n\n", "\n\n") + "\n"


def _as_written(entry: TeacherEntry) -> dict[str, Any]:
    """The shortest table that is read as this teacher."""
    short = entry.model_dump(mode="json", exclude_defaults=True)
    return short if TeacherEntry(**short) == entry else entry.model_dump(mode="json")


def _toml_lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """A table as TOML. What is None is left out, as it is where a setting may be absent."""
    if name and not (table and all(isinstance(value, dict) for value in table.values())):
        yield f"\n[{name}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            yield f"{_toml_key(key)} = {toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml_lines(value, f"{name}.{_toml_key(key)}" if name else _toml_key(key))


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def toml_value(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, dict):
        pairs = (f"{_toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    # JSON is TOML for strings and booleans, and for numbers that are finite.
    return json.dumps(value, ensure_ascii=False)
