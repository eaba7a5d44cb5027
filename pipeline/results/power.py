"""How many seeds the hypotheses of an experiment take, by the spread of what is there already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.experiments.adding import groups_in_database
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.hypotheses import Hypothesis, said_of
from pipeline.experiments.planning import condition_key
from pipeline.experiments.selection import ALL, Selection
from pipeline.results.measures import check_measures, measure_of
from regularized_training.analysis.power import power_to_refute, power_to_support, seeds_needed
from schemas.experiment import Experiment

COLUMNS = ["hypothesis", "measure", "first", "second", "direction", "smallest_effect", "test"]
COLUMNS += ["alpha", "sd", "sd_from", "n_pairs", "seeds", "power_to_support", "power_to_refute"]
COLUMNS += ["seeds_to_support", "seeds_to_refute"]
NO_SPREAD = "not known: give --sd or --pilot"


def power_of_hypotheses(
    settings: ExperimentSettings,
    *,
    power: float = 0.8,
    pilot: Selection | None = None,
    sd: float | None = None,
) -> pd.DataFrame:
    """Seeds that each hypothesis of an experiment takes, and what the seeds of its file can do.

    Parameters
    ----------
    settings : ExperimentSettings
    power : float
        How often an effect of the smallest size of interest shall be found, and none be refuted.
    pilot : Selection, optional
        A single experiment in the database, whose networks in the conditions of the hypotheses say
        how much the differences vary; by default those of all experiments in the same conditions.
    sd : float, optional
        The standard deviation of the paired differences, instead.

    Returns
    -------
    DataFrame
        A row for each hypothesis. ``alpha`` is that of a single test: of the family over the number
        of hypotheses, the strictest that Holm's correction asks for. ``sd`` is that of ``n_pairs``
        paired differences, NaN where it is not known; ``seeds`` are those of the file, with which
        there is ``power_to_support`` an effect of the smallest size and ``power_to_refute`` one of
        0. Numbers of seeds above 100,000 are NaN.

    Raises
    ------
    ExperimentError
        If there are no hypotheses, one is not of this experiment or not of the pilot, or a number
        cannot be.
    """
    if not settings.hypotheses:
        raise ExperimentError("hypotheses: none; give the file a list [[hypotheses]]")
    if not 0 < power < 1:
        raise ExperimentError(f"power: {power:g}, expected a number between 0 and 1")
    if sd is not None and not 0 < sd < np.inf:
        raise ExperimentError(f"sd: {sd:g}, expected a number above 0")
    if sd is not None and pilot is not None:
        raise ExperimentError("sd and pilot: both given, expected one of them")
    check_measures(settings)
    source = settings if pilot is None else _settings_of(pilot)
    groups = None if sd is not None else _groups(source, required=pilot is not None)
    rows = []
    for one in settings.hypotheses:
        spread, n_pairs, said = (sd, 0, "given") if sd is not None else (None, 0, NO_SPREAD)
        if groups is not None:
            d = _differences(one, source, groups, pilot or ALL)
            n_pairs = len(d)
            if n_pairs > 1 and d.std(ddof=1) > 0:
                spread = float(d.std(ddof=1))
                said = "earlier networks" if pilot is None else f"pilot {pilot.experiment}"
        alpha = one.alpha / len(settings.hypotheses)
        about = {"sd_from": said, "n_pairs": n_pairs, "alpha": alpha}
        seeds = {"seeds": len(settings.seeds)}
        rows.append(_about(one) | about | seeds | _power(one, spread, alpha, power, **seeds))
    return pd.DataFrame(rows, columns=COLUMNS)


def _about(one: Hypothesis) -> dict[str, Any]:
    names = ("measure", "direction", "smallest_effect", "test")
    conditions = {name: said_of(getattr(one, name)) for name in ("first", "second")}
    return {"hypothesis": one.name, **{name: getattr(one, name) for name in names}, **conditions}


def planned_settings(name: str, scale: str | None) -> ExperimentSettings | None:
    """Settings of an experiment in the database; None if there is none of this name.

    Raises
    ------
    LookupError
        If it has not this scale.
    ExperimentError
        If none is named, and it has several.
    """
    if not Experiment & {"experiment": name}:
        return None
    return _settings_of(Selection(name, scale), "experiment")


def _settings_of(selection: Selection, what: str = "pilot") -> ExperimentSettings:
    found = (Experiment & selection.named).to_dicts()
    if len(found) != 1:
        scales = ", ".join(sorted(row["scale"] for row in found))
        raise ExperimentError(f"{what}: {selection.experiment} has the scales {scales}; choose one")
    return ExperimentSettings.model_validate(found[0]["settings"])


def _groups(source: ExperimentSettings, *, required: bool) -> dict[str, str] | None:
    try:
        return groups_in_database(source)
    except ExperimentError:
        if required:
            raise
        return None  # what is not in the database has taught no network there


def _differences(
    one: Hypothesis, source: ExperimentSettings, groups: dict[str, str], where: Selection
) -> Any:
    """Finite differences of the seeds that both conditions have."""
    try:
        measure = measure_of(one, source)
        keys = [condition_key(each, source, groups) for each in (one.first, one.second)]
    except ValueError as error:
        if where is ALL:
            raise
        raise ExperimentError(f"pilot: {one.name}: {error}") from error
    frame = measure.read(where)
    first, second = (measure.values(frame, one, key) for key in keys)
    d = (first - second).to_numpy(float)
    return d[np.isfinite(d)]


def _power(
    one: Hypothesis, sd: float | None, alpha: float, power: float, seeds: int
) -> dict[str, float]:
    if sd is None:
        return {"sd": np.nan}
    h, how = one.direction, {"alpha": alpha, "sd": sd}

    def support(n: int) -> float:
        return power_to_support(n, effect=one.smallest_effect, direction=h, test=one.test, **how)

    def refute(n: int) -> float:
        return power_to_refute(
            n, smallest_effect=one.smallest_effect, direction=h, test=one.test, **how
        )

    needed = [seeds_needed(of, power) for of in (support, refute)]
    return {
        "sd": sd,
        "power_to_support": support(seeds),
        "power_to_refute": refute(seeds),
        "seeds_to_support": np.nan if needed[0] is None else needed[0],
        "seeds_to_refute": np.nan if needed[1] is None else needed[1],
    }


def power_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each hypothesis, as people read it."""
    names = ("hypothesis", "measure", "first", "second", "direction", "smallest_effect", "sd_from")
    table = frame[list(names)].assign(sd=frame["sd"].astype(float).map(_short))
    table["pairs"] = frame["n_pairs"]
    both = frame[["power_to_support", "power_to_refute"]].astype(float)
    table[f"power with {frame['seeds'].iloc[0]} seeds"] = [
        "" if np.isnan(a) else f"{a:.2f}, {b:.2f}" for a, b in both.to_numpy()
    ]
    needed = frame[["seeds_to_support", "seeds_to_refute"]].astype(float)
    table["seeds to support, to refute"] = [
        "" if np.isnan(s) else f"{_count(a)}, {_count(b)}"
        for s, (a, b) in zip(frame["sd"].astype(float), needed.to_numpy(), strict=True)
    ]
    return table


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _count(value: float) -> str:
    return "over 100000" if np.isnan(value) else f"{value:.0f}"
