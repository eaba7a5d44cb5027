"""Which results and figures there are: each registers itself, and commands look here.

What a file of :mod:`pipeline.evaluations` registers is found by its name in ``neuroteach results``,
``neuroteach figure``, in the differences between conditions, and in messages. Packages of others
name a module that registers theirs by the entry point ``neuroteach.results``.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.experiments.selection import Selection
from pipeline.results.foreseen import Foreseen
from predictive_model import parts
from schemas import base, tables
from schemas.evaluations.base import EVALUATIONS
from schemas.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

GROUP = "neuroteach.results"
Read = Callable[..., "pd.DataFrame"]
PLAN_FIRST = "nothing planned yet; run `neuroteach experiment add`"
POPULATE_FIRST = "nothing computed yet; run `neuroteach populate`"


class NothingToShowError(LookupError):
    """The database has no results for a figure."""


@dataclass(frozen=True)
class Compared:
    """A column in which conditions are compared, and what to call it, for each row of a frame."""

    column: str
    measure: str | Callable[[pd.DataFrame], pd.Series[str]]


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes
    ----------
    draw : callable or str
        Called with a selection, and the name of a scan if it is of encoders; ``module:function``
        is imported when it is drawn.
    question : str
        What it shows.
    of_encoders : bool
    takes_hardened : bool
        Whether it is told which imported networks are hardened, see :class:`Result`.
    """

    draw: Callable[..., Figure] | str
    question: str
    of_encoders: bool = False
    takes_hardened: bool = False

    def __call__(
        self, selection: Selection, scan: str | None = None, hardened: Sequence[str] = ()
    ) -> Figure:
        """Draw it."""
        draw = self.draw
        if isinstance(draw, str):
            module, _, name = draw.partition(":")
            draw = getattr(importlib.import_module(module), name)
        if self.takes_hardened:
            return draw(selection, hardened)
        return draw(selection, scan) if self.of_encoders else draw(selection)


@dataclass(frozen=True)
class Result:
    """What is read of one kind of computation, printed and drawn.

    Attributes
    ----------
    name : str
        In commands, with dashes.
    title : str
        Of the printed table.
    question : str
        What it answers, for help texts.
    read : callable
        Called with a selection; returns a frame, a row for each condition.
    by_seed : callable, optional
        The same, a row for each network.
    table : callable, optional
        Makes of that frame what is printed.
    evaluation : str, optional
        Which evaluation it reads.
    asked : callable, optional
        Called with a restriction of experiments: the plan that asks for it, by default that of the
        evaluation.
    lacks : (str, str), optional
        Of an experiment whose plan is empty: "asks for", "attack; give it a list [[attacks]]". By
        default that its file lacks the settings of the evaluation, or else that it trains no
        network.
    why : callable, optional
        Called with a selection of which all was planned: why there are no rows; by default that
        nothing is computed yet.
    takes_hardened : bool
        Whether `read` takes ``hardened`` too: names of imported networks that were trained on
        adversarial images, which their files do not tell.
    takes_peek : bool
        Whether `read` takes ``peek`` too: to show what is hidden until all seeds are there.
    compared : tuple of Compared
        Columns of the frame by seed in which conditions are compared.
    foreseen : Foreseen, optional
        What will be measured of each network by the settings of an experiment, which hypotheses
        choose from; by default a row for each of the evaluation's settings.
    figures : dict of str to Drawing
    further : dict of str to callable
        Other frames of it, by their name in Python.
    imported : str, optional
        What to say where there is none, of results of what was imported, which belongs to no
        experiment: what is said of experiments beside numbers is not said of them.
    place : int
        Among all results in lists; those of one place come by name.
    """

    name: str
    title: str
    question: str
    read: Read
    by_seed: Read | None = None
    table: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    evaluation: str | None = None
    asked: Callable[[Any], Any] | None = None
    lacks: tuple[str, str] | None = None
    why: Callable[[Selection], str] | None = None
    takes_hardened: bool = False
    takes_peek: bool = False
    compared: tuple[Compared, ...] = ()
    foreseen: Foreseen | None = None
    figures: Mapping[str, Drawing] = field(default_factory=dict)
    further: Mapping[str, Read] = field(default_factory=dict)
    imported: str | None = None
    place: int = 100

    def heading(self, frame: pd.DataFrame) -> str:
        """Title of the printed table, with the part of the images if all rows are of one."""
        parts = list(frame["part"].unique()) if "part" in frame else []
        return f"{self.title}, {parts[0]} images" if len(parts) == 1 else self.title

    def why_nothing(self, selection: Selection) -> str:
        """Why there are no rows, and what to do."""
        base.require_active()
        if self.imported is not None:
            return self.imported
        if not Experiment():
            return PLAN_FIRST
        asked = self.asked
        if asked is None and self.evaluation is not None:
            asked = EVALUATIONS[self.evaluation].planned
        if asked is not None and not asked(selection.experiments):
            verb, what = self._lacks()
            name = selection.experiment
            who = f"experiment {name} {verb} no" if name else f"no experiment {verb} a"
            return f"{who} {what}"
        if self.why is not None:
            return self.why(selection)
        return POPULATE_FIRST

    def _lacks(self) -> tuple[str, str]:
        if self.lacks is not None:
            return self.lacks
        settings = EVALUATIONS[self.evaluation].settings if self.evaluation else None
        if settings is None:
            return "trains", "network"
        form = f"list [[{settings.entry}]]" if settings.several else f"table [{settings.entry}]"
        return "has", f"{form}; add one to an experiment's file"

    def frame(self, selection: Selection) -> pd.DataFrame:
        """What is read, or an error that says why there is nothing.

        Raises
        ------
        NothingToShowError
        """
        return self._something(self.read, selection)

    def frame_by_seed(self, selection: Selection) -> pd.DataFrame:
        """The same by seed."""
        assert self.by_seed is not None
        return self._something(self.by_seed, selection)

    def _something(self, read: Read, selection: Selection) -> pd.DataFrame:
        base.require_active()
        found = read(selection)
        if found.empty:
            raise NothingToShowError(self.why_nothing(selection))
        return found


_RESULTS: dict[str, Result] = {}
_FIGURES: dict[str, Drawing] = {}


def register(result: Result) -> Result:
    """Make results and their figures known by their names.

    Raises
    ------
    ValueError
        If results or a figure of the name are there already.
    """
    _refuse_known(_RESULTS, [result.name])
    register_figures(result.figures)
    _RESULTS[result.name] = result
    return result


def register_figures(figures: Mapping[str, Drawing]) -> None:
    """Make figures known by their names; ValueError if one is there already."""
    _refuse_known(_FIGURES, figures)
    _FIGURES.update(figures)


def _refuse_known(there: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if name in there:
            raise ValueError(f"{name}: there are results or a figure of this name already")


@functools.cache
def _load() -> None:
    tables.load()
    # By name: these stand on a higher floor, and tell this one what they offer.
    for module in ("pipeline.results.encoders", "pipeline.results.people", "pipeline.figures"):
        importlib.import_module(module)
    evaluations = importlib.import_module("pipeline.evaluations")
    for found in pkgutil.iter_modules(evaluations.__path__, f"{evaluations.__name__}."):
        importlib.import_module(found.name)
    parts.load_installed(GROUP)


def results() -> Mapping[str, Result]:
    """All results, by name."""
    _load()
    return _RESULTS


def frames() -> Mapping[str, Read]:
    """What reads each frame, by its name in Python."""
    found: dict[str, Read] = {}
    for result in results().values():
        name = result.name.replace("-", "_")
        found[name] = result.read
        if result.by_seed is not None:
            found[f"{name}_by_seed"] = result.by_seed
        found |= result.further
    return found


def figures() -> Mapping[str, Drawing]:
    """All figures, by name."""
    _load()
    return _FIGURES
