"""What rows of version 3 said by name, as foreign keys of version 4.

Until version 3 the teacher of a matrix named it in its settings, members of a group of scans named
predictions that need not be there, encoders with a shared core named nothing, and the stability of
similarity hung on an experiment rather than on the scans that it compares. The same rules serve a
database that is brought up to date and an archive that is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.teacher_plan import ScanGroup

Row = dict[str, Any]
Rows = Callable[[str], Iterable[Mapping[str, Any]]]

VERSION = 4
FIT = ("scan", "encoder_hash", "fit_hash", "seed")
OF_PREDICTIONS = ("neural_model", "shuffle", "shuffle_entries", "low_rank")  # kinds of teachers
STABILITY = "SimilarityStability"
POPULATION = "SimilarityStability.Population"


@dataclass
class Lineage:
    """Rows to add, by table, and the group of scans of each experiment by its name and scale."""

    added: dict[str, list[Row]] = field(default_factory=dict)
    groups: dict[tuple[str, str], str] = field(default_factory=dict)

    def regrouped(self, row: Mapping[str, Any]) -> Row | None:
        """A row about the stability of an experiment as one of its group; None without a group."""
        group = self.groups.get((row["experiment"], row["scale"]))
        rest = {k: v for k, v in row.items() if k not in ("experiment", "scale")}
        return None if group is None else {"scan_group": group, **rest}


def lineage_of(rows: Rows) -> Lineage:
    """What rows of version 3 lack.

    Parameters
    ----------
    rows : callable
        Gives the rows of a table by its name, with their JSON read.
    """
    found = Lineage()
    _stability_plans(rows, found)
    found.added["ScanGroup.Source"] = _imported(rows)
    found.added["FittedEncoder.Core"] = _cores(rows)
    found.added["Teacher.Source"], found.added["Teacher.Matrix"] = _teachers(rows)
    return found


def _stability_plans(rows: Rows, found: Lineage) -> None:
    """Groups of all scans that an experiment fits an encoder to, and the plan to compare them."""
    scans = {row["scan"]: row for row in rows("Scan")}
    members: dict[tuple[str, str], list[Row]] = {}
    for fit in rows("FitPlan"):
        member = {name: fit[name] for name in FIT}
        member["stimulus_set"] = scans[fit["scan"]]["stimulus_set"]
        members.setdefault((fit["experiment"], fit["scale"]), []).append(member)
    known = {row["scan_group"] for row in rows("ScanGroup")}
    groups, parts, plans = [], [], []
    for (experiment, scale), its in members.items():
        key, ordered = ScanGroup.key_of(its)
        found.groups[experiment, scale] = key
        plans.append({"experiment": experiment, "scale": scale, "scan_group": key})
        if key not in known:
            known.add(key)
            names = [member["scan"] for member in ordered]
            groups.append(
                {
                    "scan_group": key,
                    "n_scans": len(names),
                    "simulated": any(bool(scans[name]["simulated"]) for name in names),
                    "scans": ", ".join(names)[:255],
                }
            )
            parts += [{"scan_group": key, **member} for member in ordered]
    found.added |= {"ScanGroup": groups, "ScanGroup.Member": parts, "StabilityPlan": plans}


def _imported(rows: Rows) -> list[Row]:
    """Members of groups whose encoders were imported."""
    encoders = (row for row in rows("FittedEncoder") if row["origin"] == "imported")
    imported = {tuple(row[n] for n in FIT) for row in encoders}
    planned = {_prediction(row) for row in rows("PredictionPlan")}
    return [
        dict(row)
        for row in rows("ScanGroup.Member")
        if _prediction(row) in planned and tuple(row[n] for n in FIT) in imported
    ]


def _cores(rows: Rows) -> list[Row]:
    members = {tuple(row[n] for n in FIT) for row in rows("SharedCore.Member")}
    encoders = (row for row in rows("FittedEncoder") if row["origin"] == "shared core")
    keys = (tuple(row[n] for n in FIT) for row in encoders)
    return [dict(zip(FIT, key, strict=True)) for key in keys if key in members]


def _teachers(rows: Rows) -> tuple[list[Row], list[Row]]:
    """Predictions and matrices that teachers were made of, as far as these are still there."""
    configs = {row["teacher_hash"]: row["config"] for row in rows("TeacherConfig")}
    matrices = {row["rsm"] for row in rows("Rsm")}
    predicted = {_prediction(row) for row in rows("PredictedResponses")}
    members: dict[str, list[Row]] = {}
    for row in rows("ScanGroup.Member"):
        if _prediction(row) in predicted:
            members.setdefault(row["scan_group"], []).append(dict(row))
    sources, given = [], []
    for teacher in rows("Teacher"):
        key = {"teacher_hash": teacher["teacher_hash"], "scan_group": teacher["scan_group"]}
        config = configs[teacher["teacher_hash"]]
        if config.get("rsm"):
            given += [{**key, "rsm": config["rsm"]}] if config["rsm"] in matrices else []
        elif config["kind"] in OF_PREDICTIONS:
            sources += [{**member, **key} for member in members.get(teacher["scan_group"], ())]
    return sources, given


def _prediction(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[n] for n in (*FIT, "stimulus_set"))
