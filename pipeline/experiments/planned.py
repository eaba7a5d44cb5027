"""Which rows an experiment asks for; one that is not in the database is refused by name."""

from __future__ import annotations

from typing import Any

from schemas import analysis, base, representation, robustness, teaching, training
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
    plan, lacks, without = _PLANS_OF_NETWORKS.get(what, (None, "", ""))
    if plan is not None and not len(plan() & restriction):
        who = f"experiment {experiment} {lacks} no" if experiment else f"no experiment {lacks} a"
        return f"{who} {without}"
    return "nothing computed yet; run `neuroteach populate`"


_TAUGHT = (training.TrainingPlan, "teaches", "network")
# Each plan is called: tables are, to be bound to the open database.
_PLANS_OF_NETWORKS: dict[str, tuple[Any, str, str]] = {
    "noise": (*_TAUGHT[:2], "network, so that there is no accuracy under noise"),
    "adversarial": (robustness.AttackPlan, "asks for", "attack; give it a list [[attacks]]"),
    "attack_checks": (
        robustness.AttackCheckPlan,
        "asks for",
        "check of attacks; give it a table [attack_checks]",
    ),
    "layers": (
        representation.RepresentationPlan,
        "asks for",
        "comparison of layers; give it a table [representation]",
    ),
    "accuracy": _TAUGHT,
    "superclass_errors": (
        lambda: training.TrainingPlan & training.Superclasses.proj(),
        "teaches",
        "network on images with superclasses; give them by `neuroteach import images ... "
        "--superclasses FILE`",
    ),
    "activations": (
        analysis.ActivationPlan,
        "asks for",
        "activations; give it a table [activations]",
    ),
    "differences": (*_TAUGHT[:2], "network, so that there is nothing to compare"),
    "layer_weights": _TAUGHT,
    "teachers": (teaching.TeacherPlan, "has", "teacher"),
}


def planned_rows(
    query: Any, plan: Any, experiment: str | None, scale: str | None
) -> list[dict[str, Any]]:
    """Rows that a plan asks for in an experiment or at a scale; all, if neither is named."""
    restriction = named(experiment, scale)
    return (query & (plan & restriction) if restriction else query).to_dicts()
