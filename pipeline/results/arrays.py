"""Result arrays, read from the database: similarity matrices and denoised responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.experiments.planned import named, planned_rows
from pipeline.results.conditions import NO_BRAIN
from pipeline.results.networks import activations_by_seed
from regularized_training.teachers.config import TeacherKind
from regularized_training.teachers.similarity import model_weight
from regularized_training.teachers.teacher import SimilarityTeacher
from schemas import (
    analysis,
    base,
    encoding,
    prediction,
    recording,
    robustness,
    teaching,
    training,
)
from schemas import stability as stability_tables
from schemas.experiment import Experiment


def similarity_matrices(
    experiment: str | None = None, scale: str | None = None
) -> list[dict[str, Any]]:
    """Recorded, oracle and model similarity matrices of each scan with repeated images.

    Returns
    -------
    list of dict
        The columns of ``SimilarityQuality``, and ``simulated``; matrices are (image, image).
    """
    base.require_active()
    query = (teaching.SimilarityQuality & {"status": "ok"}) * recording.Scan.proj("simulated")
    rows = planned_rows(query, encoding.FitPlan, experiment, scale)
    for row in rows:
        for name in ("oracle_matrix", "model_matrix", "data_matrix"):
            row[name] = np.asarray(row[name])
    return rows


def stability_matrices(
    experiment: str | None = None, scale: str | None = None
) -> list[dict[str, Any]]:
    """What :func:`pipeline.results.frames.stability` summarises, for each experiment.

    Returns
    -------
    list of dict
        The columns of ``SimilarityStability``, and ``populations``: a dict of the columns of
        ``SimilarityStability.Population`` for each scan, or for each part of the only one.
    """
    base.require_active()
    found = stability_tables.SimilarityStability
    rows = planned_rows(found, Experiment.proj(), experiment, scale)
    for row in rows:
        key = {"experiment": row["experiment"], "scale": row["scale"]}
        parts = stability_tables.SimilarityStability.Population & key
        row["populations"] = parts.to_dicts(order_by="population")
        _load_arrays(row, "edges", "scan_density", "repeat_density")
        for population in row["populations"]:
            _load_arrays(population, "oracle_matrix", "model_matrix")
    return rows


def similarity_structures(
    experiment: str | None = None, scale: str | None = None
) -> list[dict[str, Any]]:
    """What :func:`pipeline.results.frames.spectra` summarises, for each fitted encoder.

    Returns
    -------
    list of dict
        The columns of ``SimilarityStructure``, ``simulated``, and ``stimulus_set``, the key of the
        images.
    """
    base.require_active()
    rows = planned_rows(
        stability_tables.SimilarityStructure * recording.Scan.proj("simulated", "stimulus_set"),
        encoding.FitPlan,
        experiment,
        scale,
    )
    rows.sort(key=lambda row: row["scan"])
    for row in rows:
        kinds = ("recorded", "oracle", "model")
        names = (f"{kind}_{what}" for kind in kinds for what in ("matrix", "eigenvalues"))
        _load_arrays(row, "images", *names)
    return rows


def denoised_responses(
    scan: str, experiment: str | None = None, scale: str | None = None
) -> dict[str, NDArray[Any]]:
    """Responses that a scan's encoder predicts to the scan's images.

    Returns
    -------
    dict
        ``images`` (image, channels, height, width), ``responses`` (image, neuron) with pupil and
        behaviour at their means, ``repeats`` (image,), ``neuron_ids`` (neuron,), ``weight``
        (neuron,), w_a v_a of Eq. 6 of Li et al. 2019 and NaN without repeats, and ``simulated``.

    Raises
    ------
    LookupError
        If the scan has no trials here, or no encoder, or more than one.
    """
    base.require_active()
    key = {"scan": scan}
    predicted = prediction.PredictedResponses * recording.Scan.proj(own="stimulus_set") & key
    rows = predicted & "stimulus_set = own"
    if restriction := named(experiment, scale):
        rows = rows & (encoding.FitPlan & restriction)
    if len(recording.Scan & key & "n_trials = 0"):
        raise LookupError(
            f"scan {scan}: has no trials here, only an encoder of its neurons, and so no images of "
            f"its own; predict responses to others with `neuroteach predict {scan} STIMULI`"
        )
    if len(rows) != 1:
        raise LookupError(
            f"scan {scan}: found the predictions of {len(rows)} encoders, expected one; "
            + (
                "say which by --experiment and --scale"
                if len(rows)
                else "plan an experiment with this scan and run `neuroteach populate`"
            )
        )
    own = recording.Scan.load(key)
    encoder = rows.fetch1("KEY")
    weight = np.full(own.n_neurons, np.nan)
    if (own.repeats >= 2).sum() >= 2:
        weight = model_weight(own, encoding.FittedEncoder.load(encoder))
    return {
        "images": own.images,
        "responses": np.asarray(rows.fetch1("responses")),
        "repeats": own.repeats,
        "neuron_ids": np.asarray(own.neuron_ids),
        "weight": weight,
        "simulated": np.array(own.simulated),
    }


def _load_arrays(row: dict[str, Any], *names: str) -> None:
    for name in names:
        if row[name] is not None:
            row[name] = np.asarray(row[name])


def curve_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What identifies a network and an attack on it."""
    names = (
        "image_set",
        "network_hash",
        "teacher_hash",
        "scan_group",
        "training_hash",
        "seed",
        "attack_hash",
    )
    return tuple(row[name] for name in names)


def adversarial_curves(
    experiment: str | None = None, scale: str | None = None
) -> dict[tuple[Any, ...], tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """How the attacker comes closer with each query, of every network and attack.

    Returns
    -------
    dict
        By :func:`curve_key`: rising numbers of queries, and the median distance that was reached
        after so many, of images that are classified correctly; infinite as long as over half of
        them withstand.
    """
    base.require_active()
    rows = planned_rows(robustness.AdversarialDistance, robustness.AttackPlan, experiment, scale)
    curves = {}
    for row in rows:
        curve = np.asarray(row["curve"], np.float64)
        right = curve[-1] > 0
        if right.any():
            queries = np.asarray(row["curve_queries"])
            curves[curve_key(row)] = (queries, np.median(curve[:, right], axis=1))
    return curves


def embeddings(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Activations of a layer in a plane, of the first seed of each condition.

    Returns
    -------
    DataFrame
        The columns of :func:`pipeline.results.networks.activations_by_seed`, ``embedding``
        (image, 2),
        ``labels`` (image,), classes or, where there are any, superclasses, and ``n_groups``.
    """
    frame = activations_by_seed(experiment, scale)
    keys = [name for name in frame.columns if name not in ("seed", "variance")]
    frame = frame.sort_values("seed").drop_duplicates(keys)
    frame = frame.sort_index().reset_index(drop=True)
    tasks: dict[str, tuple[NDArray[np.int64], int]] = {}
    found: dict[str, list[Any]] = {"embedding": [], "labels": [], "n_groups": []}
    for _, row in frame.iterrows():
        name = row["image_set"]
        if name not in tasks:
            task = training.ImageSet.load({"image_set": name})
            coarse = task.of_superclasses() if task.superclasses else task
            tasks[name] = coarse.test_labels, len(coarse.classes)
        key = {n: row[n] for n in analysis.LayerActivations().primary_key}
        shown, embedding = (analysis.LayerActivations & key).fetch1("shown", "embedding")
        labels, n_groups = tasks[name]
        found["embedding"].append(None if embedding is None else np.asarray(embedding))
        found["labels"].append(None if shown is None else labels[np.asarray(shown)])
        found["n_groups"].append(n_groups)
    return frame.assign(**found)


def teachers(
    experiment: str | None = None, scale: str | None = None
) -> list[tuple[str, SimilarityTeacher, str]]:
    """Every teacher that says something.

    Returns
    -------
    list of (str, SimilarityTeacher, str)
        Who it is, the teacher, and the key of its stimuli.
    """
    base.require_active()
    members = (teaching.ScanGroup.Member * recording.Scan.proj("species", "area")).to_dicts()
    about = {m["scan_group"]: m for m in members}
    found = []
    rows = planned_rows(
        (teaching.Teacher & "n_stimuli > 0").proj("n_stimuli")
        * teaching.TeacherConfig.proj("teacher", "config"),
        teaching.TeacherPlan,
        experiment,
        scale,
    )
    kinds = get_args(TeacherKind)
    for row in sorted(rows, key=lambda r: (r["scan_group"], kinds.index(r["teacher"]))):
        brain = row["config"]["rsm"]
        if not brain:
            member = about[row["scan_group"]]
            brain = f"{member['species']} {member['area']}".strip() or member["scan"]
        teacher = teaching.Teacher.load(row)
        assert teacher is not None
        shown = "stimuli of " if row["teacher"] in NO_BRAIN else ""
        name = f"{row['teacher'].replace('_', ' ')}, {shown}{brain}"
        found.append((name, teacher, f"{row['scan_group']} {row['n_stimuli']}"))
    return found
