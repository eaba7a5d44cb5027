"""An evaluation of trained networks: its settings row, plan and result table from one declaration.

A subclass of :class:`Evaluation` says what it computes and what its settings are; the tables of its
settings and of its plan are made, and whatever works with evaluations (experiment files, planning,
populate, status, results) finds it by its name.
"""

from __future__ import annotations

import importlib
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from predictive_model.config import Config
from predictive_model.parts import Part, origin_of, source_file
from regularized_training.tasks.config import ImagePart
from schemas.base import PROVENANCE, Computed, Found, computing, schema
from schemas.configurations import config_row, read_config
from schemas.training import (
    ImageSet,
    Superclasses,
    TrainedNetwork,
    TrainingConfig,
    TrainingPlan,
)

if TYPE_CHECKING:
    from torch import nn

    from regularized_training.networks.config import NetworkConfig

EVALUATIONS: dict[str, type[Evaluation]] = {}
LEARNED = (
    "part: validation, but the network was trained on these images too, so that they would say "
    "nothing of new ones; set hold_out_validation = true in [training], or take the test part"
)


@dataclass(frozen=True)
class Settings:
    """What can be set of an evaluation.

    Attributes
    ----------
    model : str
        Their class, ``module:class``, imported when it is needed.
    entry : str
        The table of an experiment file that has them.
    table : str
        Name of the table of their rows; by default that of their class.
    key : str
        Name of their hash, by which rows are known; by default ``ENTRY_hash``.
    columns : dict of str to (str, callable)
        What people select by: type and comment of each column, and its value for given settings.
    several : bool
        Whether an experiment may have a list of them.
    default : bool
        Whether an experiment that does not mention them has them at their defaults.
    """

    model: str
    entry: str
    table: str = ""
    key: str = ""
    columns: Mapping[str, tuple[str, Callable[[Any], Any]]] = field(default_factory=dict)
    several: bool = False
    default: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", self.table or self.model.rpartition(":")[2])
        object.__setattr__(self, "key", self.key or f"{self.entry}_hash")

    def load(self) -> type[Config]:
        """The class of the settings."""
        module, _, name = self.model.partition(":")
        found: type[Config] = getattr(importlib.import_module(module), name)
        return found

    def row(self, settings: Config) -> dict[str, Any]:
        """The row of settings."""
        values = {name: value(settings) for name, (_, value) in self.columns.items()}
        return config_row(self.key, settings, **values)


def part_of(settings: Any) -> ImagePart:
    """The part of a task's images that settings ask for; the test part if they do not say."""
    part: ImagePart = getattr(settings, "part", "test")
    return part


@dataclass(frozen=True)
class Subject:
    """A trained network and images of its task, of the part that is asked for, loaded when used."""

    key: Mapping[str, Any]
    part: ImagePart = "test"

    @cached_property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return TrainedNetwork.load(dict(self.key))

    @cached_property
    def _images(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        if self.part == "validation":
            config = (TrainingConfig & self.key).fetch1("config")
            if not config.get("hold_out_validation"):
                raise ValueError(LEARNED)
        return ImageSet.images_of(self.key, self.part)

    @property
    def images(self) -> NDArray[np.uint8]:
        """Images, (n, channels, height, width).

        Raises
        ------
        ValueError
            If they are the validation part, and the network learned it.
        """
        return self._images[0]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Their classes, (n,)."""
        return self._images[1]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple((ImageSet & {"image_set": self.key["image_set"]}).fetch1("classes"))

    @property
    def superclasses(self) -> tuple[str, ...]:
        """Superclass of each class; empty where there are none."""
        return Superclasses.of(self.key["image_set"])


@dataclass(frozen=True)
class Asked:
    """What an experiment asks of its networks, as far as planning evaluations needs it.

    Attributes
    ----------
    trainings : sequence of dict
        Rows of ``TrainingPlan``.
    experiment : object
        Its settings.
    group_of : callable
        The key of the scan group of a teacher of the experiment.
    """

    trainings: Sequence[dict[str, Any]]
    experiment: Any
    group_of: Callable[[Any], str]


class Evaluation(Computed):
    """Base of all evaluations: a subclass is a table with a row for each network and settings.

    A subclass is declared with ``name``, by which experiments and commands call it, and, if it
    has any, ``settings`` and the name of its ``plan``; it has ``result``, the columns of its row as
    DataJoint declares them, perhaps parts, and :meth:`evaluate`. The tables of its settings and its
    plan are its attributes ``Config`` and ``Plan``.

    Examples
    --------
    See ``schemas/evaluations/noise.py``.
    """

    evaluation: ClassVar[str]
    settings: ClassVar[Settings | None] = None
    result: ClassVar[str] = ""
    beside: ClassVar[tuple[str, ...]] = ()  # further parents, as a definition refers to them
    asked_beside: ClassVar[tuple[str, ...]] = ()  # the same in the plan
    # Part and column whose mean a search can rank networks by, the higher the better.
    ranked_by: ClassVar[tuple[str, str] | None] = None
    Config: ClassVar[Any]
    Plan: ClassVar[Any]

    def __init_subclass__(
        cls, *, name: str = "", settings: Settings | None = None, plan: str = "", **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if not name:  # a base of several
            return
        if name in EVALUATIONS:
            other = EVALUATIONS[name].__module__
            raise ValueError(f"evaluation {name!r}: {cls.__module__} and {other} both have it")
        if bool(settings) != bool(plan):
            raise ValueError(
                f"evaluation {name!r}: settings and plan={plan!r}, expected both or neither: the "
                "plan says which experiment asks for which settings"
            )
        taken = {table.__name__ for table, _ in schema.tables()}
        for table in (cls.__name__, *((settings.table, plan) if settings else ())):
            if table in taken:
                raise ValueError(f"evaluation {name!r}: there is a table {table} already")
        cls.evaluation, cls.settings = name, settings
        made: dict[str, Any] = {"TrainedNetwork": TrainedNetwork, "TrainingPlan": TrainingPlan}
        context = ChainMap(made, vars(sys.modules[cls.__module__]))
        references = ["TrainedNetwork", *cls.beside]
        if settings is not None:
            cls.Config = _settings_table(settings, cls.__module__)
            cls.Plan = _plan_table(plan, settings, cls.asked_beside, cls.__module__)
            made |= {settings.table: cls.Config, plan: cls.Plan}
            references.append(settings.table)
            for table in (cls.Config, cls.Plan):
                schema(table, context=context)
        arrows = "\n".join(f"        -> {reference}" for reference in references)
        cls.definition = f"\n{arrows}\n        ---\n{cls.result}{PROVENANCE}"
        schema(cls, context=context)
        EVALUATIONS[name] = cls

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return self.keys_in(self.Plan) & TrainedNetwork.proj()

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """What experiments ask for."""
        return cls.Plan & experiments

    @classmethod
    def entry(cls) -> str:
        """The table of an experiment file that asks for it; its name, if it has no settings."""
        return cls.evaluation if cls.settings is None else cls.settings.entry

    @classmethod
    def check(cls, settings: Sequence[Any], experiment: Any) -> None:
        """Raise a ValueError if settings of an experiment file do not go with the rest of it."""
        for network in experiment.networks:
            for one in settings:
                cls.check_network(one, network)

    @classmethod
    def check_network(
        cls, settings: Any, network: NetworkConfig, built: nn.Module | None = None
    ) -> None:
        """Raise a ValueError if a network, perhaps built already, lacks a layer of the settings."""

    @classmethod
    def images_needed(cls, settings: Any) -> Mapping[str, int | None]:
        """Numbers of images that settings ask for, by the name of the setting."""
        n = getattr(settings, "n_images", None)
        return {"n_images": n}

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of settings and of the plan for what an experiment asks."""
        assert cls.settings is not None
        rows = [cls.settings.row(one) for one in settings]
        key = cls.settings.key
        beside = [
            {key: row[key], **cls.key_beside(one)} for row, one in zip(rows, settings, strict=True)
        ]
        return rows, [{**training, **one} for one in beside for training in asked.trainings]

    @classmethod
    def key_beside(cls, settings: Any) -> Mapping[str, Any]:
        """Key of what settings name among the tables `asked_beside`."""
        return {}

    def fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings."""
        if self.settings is None:
            return ()
        return tuple((self.Config & key).fetch1("config", "needs"))

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Evaluate one network."""
        device = computing().device
        config = read_config(self.settings.load(), *settings) if self.settings else None
        parts = [TrainedNetwork.part(key)]
        if not type(self).__module__.startswith("schemas."):
            parts.append(self._part())
        found = self.evaluate(Subject(key, part_of(config)), config, device)
        found.device = device
        found.origins = [*found.origins, *parts]
        return found

    @classmethod
    def _part(cls) -> Part:
        """The evaluation with the package that it comes from."""
        origin = origin_of(source_file(cls), cls.__module__.partition(".")[0])
        return Part(cls.evaluation, cls, origin)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """The row of one network, and rows of its parts."""
        raise NotImplementedError(f"{type(self).__name__} lacks evaluate()")


def _settings_table(settings: Settings, module: str) -> Any:
    lines = [f"{settings.key} : char(16)", "---"]
    lines += [f"{name} : {declared}" for name, (declared, _) in settings.columns.items()]
    lines += [
        'needs = "" : varchar(16)  # first version that knows these settings; any if empty',
        "config : json",
    ]
    about = {
        "__doc__": f"Settings of the evaluation that experiments call ``{settings.entry}``.",
        "__module__": module,
        "definition": "\n".join(lines),
    }
    return type(dj.Lookup)(settings.table, (dj.Lookup,), about)


def _plan_table(name: str, settings: Settings, beside: Iterable[str], module: str) -> Any:
    references = ["TrainingPlan", *beside, settings.table]
    about = {
        "__doc__": f"What experiments ask for in their table ``{settings.entry}``.",
        "__module__": module,
        "definition": "\n".join(f"-> {reference}" for reference in references),
    }
    return type(dj.Manual)(name, (dj.Manual,), about)
