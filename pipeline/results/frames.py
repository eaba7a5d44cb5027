"""Frames of trained networks: a row for each network or condition, with what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from pipeline.experiments.selection import Selection
from pipeline.results.conditions import CONDITION, HASHES, what_differs
from pipeline.results.rows import read_rows
from regularized_training.hardening_config import Hardened
from regularized_training.networks.v1_config import V1Config
from regularized_training.teachers.kinds import KINDS
from schemas import base, recording, training
from schemas.evaluations.base import Evaluation
from schemas.teacher_plan import ScanGroup, TeacherConfig
from schemas.training_plan import IMPORTED

TEACHER_ORDER = {kind: i for i, kind in enumerate(KINDS)}
ORDER = [
    "shuffled_labels",
    "teacher",
    "imported_network",
    "distorted",
    "brain",
    "drawn",
    "alpha",
    "compared",
    "n_stimuli",
]
_NAMED = frozenset(  # settings that columns of their own name
    ("architecture", "width", "alpha", "ratio", "layer", "layers", "n_pairs", "n_stimuli")
    + (
        "distorted",
        "hardened",
        "low_pass",
        "stimulus_size",
        "epochs",
        "n_train",
        "method",
        "shuffled_labels",
        "labels_digest",
    )
)
_TEXT = (
    *("image_set", "architecture", "teacher", "strength", "drawn", "brain", "stimulus_size"),
    *("distorted", "setting", "lesson", "imported_network"),
)


def network_frame(
    query: Any, plan: Any, selection: Selection, columns: Sequence[str], text: Sequence[str] = ()
) -> pd.DataFrame:
    """Rows of a query about trained networks, with what tells their conditions apart.

    Parameters
    ----------
    query : datajoint.QueryExpression
        Whose key holds that of ``TrainedNetwork``.
    plan : table
        What says which of them experiments ask for.
    selection : Selection
    columns : sequence of str
        To follow those of ``CONDITION`` and the seed; empty where the query has none of a name.
    text : sequence of str
        Those of them that hold text, which an empty frame does not tell.
    """
    base.require_active()
    selected = selection.of(query, plan)
    there = selected.heading.secondary_attributes
    frame = read_rows(selected, [name for name in columns if name in there])
    about = _conditions_of(frame[HASHES].drop_duplicates().reset_index(drop=True))
    frame = frame.merge(about, on=HASHES, how="left")
    frame = frame.reindex(columns=[*dict.fromkeys([*CONDITION, "seed", *columns])])
    if frame.empty:  # of which pandas takes all columns for numbers
        frame = frame.astype({name: object for name in (*_TEXT, *text) if name in frame})
    return sort_frame(frame, ["image_set", *ORDER, "seed"])


def with_part(frame: pd.DataFrame, evaluation: type[Evaluation]) -> pd.DataFrame:
    """The frame with a column ``part``: on which images each row was measured.

    Parameters
    ----------
    frame : DataFrame
        With the hash of the evaluation's settings.
    evaluation : table
        One whose settings may choose the part.
    """
    assert evaluation.settings is not None
    key = evaluation.settings.key
    rows = read_rows(evaluation.Config, ["config"])
    parts = {
        name: config.get("part", "test")
        for name, config in zip(rows[key], rows["config"], strict=True)
    }
    return frame.assign(part=frame[key].map(parts).astype(object))


def on_part(names: pd.Series[str], frame: pd.DataFrame) -> pd.Series[str]:
    """Names of what was measured, which say so where it was not on the test images."""
    return names.where(frame["part"] == "test", names + ", " + frame["part"] + " images")


def _conditions_of(keys: pd.DataFrame) -> pd.DataFrame:
    """What a person would say of each combination of network, teacher, scans and training."""
    teachers = read_rows(TeacherConfig, ["teacher", "teacher_seed", "config"])
    trainings = read_rows(
        training.TrainingConfig,
        ["alpha", "epochs", "n_train_used", "compared", "n_stimuli", "config"],
    )
    networks = read_rows(training.NetworkConfig, ["architecture", "network_width", "config"])
    found = keys
    for name, table in (("teacher", teachers), ("training", trainings), ("network", networks)):
        table = table.rename(columns={"config": f"{name}_config"})
        found = found.merge(table, on=f"{name}_hash", how="left")
    found = found.merge(read_rows(ScanGroup, ["simulated", "scans"]), on="scan_group", how="left")
    imported = [config.get("kind") == IMPORTED for config in found["training_config"]]
    # A network that was imported has a name, and no setting that tells it from those trained here.
    trained = [
        {} if elsewhere else {**network, **config}
        for elsewhere, network, config in zip(
            imported, in_words(list(found["network_config"])), found["training_config"], strict=True
        )
    ]
    names = [
        config["name"] if elsewhere else ""
        for elsewhere, config in zip(imported, found["training_config"], strict=True)
    ]
    lessons = [config.pop("regularizer", None) or {} for config in trained]
    taught = list(found["teacher_config"])
    rsms = [config["rsm"] for config in taught]
    brains = found["scan_group"].map(brains_of_groups())
    return found.assign(
        imported_network=names,
        setting=what_differs(trained, _NAMED),
        lesson=what_differs(lessons, _NAMED),
        stimulus_size=[shown_size(lesson) for lesson in lessons],
        shuffled_labels=[config.get("shuffled_labels", 0.0) for config in trained],
        strength=["r" if lesson.get("method") == "rsm" else "alpha" for lesson in lessons],
        distorted=[_learned_instead(config) for config in trained],
        drawn=[f"mean {c['mean']:g}" if c["kind"] == "gaussian" else "" for c in taught],
        brain=[rsm or brain for rsm, brain in zip(rsms, brains, strict=True)],
    ).drop(columns=["teacher_config", "training_config", "network_config"])


def in_words(networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Settings of networks, V1 blocks as a person would say them, as far as the blocks differ."""
    blocks = [
        str(V1Config.model_validate(network["v1"])).split(", ") if network.get("v1") else []
        for network in networks
    ]
    alike = set[str]().union(*blocks).intersection(*(block for block in blocks if block))
    shown = []
    for network, block in zip(networks, blocks, strict=True):
        differing = [part for part in block if part not in alike]
        said = {"v1": ", ".join([*block[:1], *differing])} if block else {}
        shown.append({**network, **said})
    return shown


def _learned_instead(config: Mapping[str, Any]) -> str:
    """What a network learned in place of clean images, or beside them; "" for nothing."""
    said = []
    if config.get("distorted"):
        said.append("distorted images")
    if hardened := config.get("hardened"):
        said.append(str(TypeAdapter(Hardened).validate_python(hardened)))
    if low_pass := config.get("low_pass"):
        said.append(f"low-pass {low_pass:g}")
    return ", ".join(said)


def shown_size(config: Mapping[str, Any]) -> str:
    """Size that a configuration shows stimuli at; "" for their own."""
    return "x".join(map(str, config.get("stimulus_size") or ()))


def brains_of_groups() -> dict[str, str]:
    """Species and area of each scan group, or its scans' names where these are not known."""
    members = (ScanGroup.Member.proj() * recording.Scan.proj("species", "area")).to_dicts()
    found: dict[str, set[str]] = {}
    for member in members:
        name = f"{member['species']} {member['area']}".strip() or member["scan"]
        found.setdefault(member["scan_group"], set()).add(name)
    nobody = {group: "" for group in ScanGroup.to_arrays("scan_group")}
    return nobody | {group: ", ".join(sorted(names)) for group, names in found.items()}


def over_seeds(
    by_seed: pd.DataFrame,
    values: Sequence[str],
    totals: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> pd.DataFrame:
    """Mean, standard error and number over seeds, for all that the other columns tell apart.

    Parameters
    ----------
    by_seed : DataFrame
    values, totals : sequence of str
        Columns to average, and to add up.
    leave_out : sequence of str
        Columns that differ between seeds and say nothing of a condition.
    """
    dropped = {"seed", *values, *totals, *leave_out}
    kept = [c for c in by_seed.columns if c not in dropped]
    # The hashes decide all else that is said of a condition, and are quicker to compare.
    said = [c for c in CONDITION if c in kept and c not in _KEYS]
    told = [c for c in kept if c not in said]
    groups = by_seed.groupby(told, sort=False, dropna=False)
    summary = {value: groups[value].mean() for value in values}
    with np.errstate(invalid="ignore"):
        summary |= {f"{value}_sem": groups[value].sem() for value in values}
    summary |= {total: groups[total].sum() for total in totals}
    summary["n_seeds"] = groups["seed"].count()
    means = pd.DataFrame(summary).reset_index()
    about = by_seed[[*_KEYS, *said]].drop_duplicates(_KEYS)
    frame = means.merge(about, on=_KEYS, how="left")
    return frame[[*kept, *summary]]


_KEYS = ["image_set", *HASHES]


def sort_frame(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows in the order of columns, teachers in that in which their kinds are listed."""
    rank = frame["teacher"].map(TEACHER_ORDER).fillna(len(TEACHER_ORDER))
    order = [c if c != "teacher" else "_rank" for c in columns]
    frame = frame.assign(_rank=rank).sort_values(order, kind="stable")
    return frame.drop(columns="_rank").reset_index(drop=True)
