"""Which rows an experiment asks for; one that is not in the database is refused by name."""

from __future__ import annotations

from typing import Any

from schemas import base, robustness
from schemas.experiment import Experiment


def named(experiment: str | None, scale: str | None) -> dict[str, str]:
    """Restriction to an experiment, to a scale, to both, or to neither.

    Raises
    ------
    LookupError
        If no experiment in the database is called so; names those that are there.
    """
    base.require_active()
    asked = {"experiment": experiment, "scale": scale}
    restriction = {k: v for k, v in asked.items() if v is not None}
    if restriction and not Experiment & restriction:
        known = [f"{e['experiment']} ({e['scale']})" for e in Experiment.keys()]  # noqa: SIM118
        raise LookupError(
            f"experiment: {' '.join(restriction.values())} is not in the database, which has "
            f"{', '.join(known) or 'none'}"
        )
    return restriction


def why_nothing(what: str, experiment: str | None, scale: str | None) -> str:
    """Why there are no results of a kind, and what to do."""
    restriction = named(experiment, scale)
    if not len(Experiment()):
        return "nothing planned yet; run `neuroteach experiment add`"
    if what == "noise" and not len(robustness.NoisePlan & restriction):
        which = f"experiment {experiment} teaches no" if experiment else "no experiment teaches a"
        return f"{which} network, so that there is no accuracy under noise"
    return "nothing computed yet; run `neuroteach populate`"


def planned_rows(
    query: Any, plan: Any, experiment: str | None, scale: str | None
) -> list[dict[str, Any]]:
    """Rows that a plan asks for in an experiment or at a scale; all, if neither is named."""
    restriction = named(experiment, scale)
    return (query & (plan & restriction) if restriction else query).to_dicts()
