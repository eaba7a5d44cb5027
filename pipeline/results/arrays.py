"""Result arrays, read from the database: similarity matrices, denoised responses, teachers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.experiments.selection import ALL, Selection
from pipeline.results.conditions import knows_no_brain
from pipeline.results.frames import TEACHER_ORDER, brains_of_groups
from schemas import base, encoding, prediction, recording, similarity, teaching
from schemas.teacher_plan import TeacherConfig, TeacherPlan

if TYPE_CHECKING:
    from regularized_training.teachers.teacher import SimilarityTeacher


def similarity_matrices(selection: Selection) -> list[dict[str, Any]]:
    """Recorded, oracle and model similarity matrices of each scan with repeated images.

    Returns
    -------
    list of dict
        The columns of ``SimilarityQuality``, and ``simulated``; matrices are (image, image).
    """
    base.require_active()
    query = (similarity.SimilarityQuality & {"status": "ok"}) * recording.Scan.proj("simulated")
    rows = selection.of(query, encoding.FitPlan).to_dicts()
    for row in rows:
        for name in ("oracle_matrix", "model_matrix", "data_matrix"):
            row[name] = np.asarray(row[name])
    return rows


def stability_matrices(selection: Selection) -> list[dict[str, Any]]:
    """What :func:`pipeline.results.encoders.stability` summarises, for each experiment.

    Returns
    -------
    list of dict
        The columns of ``SimilarityStability``, and ``populations``: a dict of the columns of
        ``SimilarityStability.Population`` for each scan, or for each part of the only one.
    """
    base.require_active()
    asked = (similarity.StabilityPlan & selection.experiments).proj("scan_group")
    rows = (asked * similarity.SimilarityStability).to_dicts()
    for row in rows:
        parts = similarity.SimilarityStability.Population & {"scan_group": row["scan_group"]}
        row["populations"] = parts.to_dicts(order_by="population")
        _load_arrays(row, "edges", "scan_density", "repeat_density")
        for population in row["populations"]:
            _load_arrays(population, "oracle_matrix", "model_matrix")
    return rows


def similarity_structures(selection: Selection) -> list[dict[str, Any]]:
    """What :func:`pipeline.results.encoders.spectra` summarises, for each fitted encoder.

    Returns
    -------
    list of dict
        The columns of ``SimilarityStructure``, ``simulated``, and ``stimulus_set``, the key of the
        images.
    """
    base.require_active()
    query = similarity.SimilarityStructure * recording.Scan.proj("simulated", "stimulus_set")
    rows = selection.of(query, encoding.FitPlan).to_dicts()
    rows.sort(key=lambda row: row["scan"])
    for row in rows:
        kinds = ("recorded", "oracle", "model")
        names = (f"{kind}_{what}" for kind in kinds for what in ("matrix", "eigenvalues"))
        _load_arrays(row, "images", *names)
    return rows


def denoised_responses(scan: str, selection: Selection = ALL) -> dict[str, NDArray[Any]]:
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
    rows = selection.of(predicted & "stimulus_set = own", encoding.FitPlan)
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
    from regularized_training.teachers.predictability import model_weight

    own = recording.Scan.load(key)
    encoder = rows.fetch1("KEY")
    weight = np.full(own.n_neurons, np.nan)
    if (own.repeats >= 2).sum() >= 2:
        weight = model_weight(own, encoding.FittedEncoder.load(encoder))
    return {
        "images": own.images,
        "responses": prediction.PredictedResponses.load(encoder),
        "repeats": own.repeats,
        "neuron_ids": np.asarray(own.neuron_ids),
        "weight": weight,
        "simulated": np.array(own.simulated),
    }


def _load_arrays(row: dict[str, Any], *names: str) -> None:
    for name in names:
        if row[name] is not None:
            row[name] = np.asarray(row[name])


def teachers(selection: Selection) -> list[tuple[str, SimilarityTeacher, str]]:
    """Every teacher that says how alike stimuli are.

    Returns
    -------
    list of (str, SimilarityTeacher, str)
        Who it is, the teacher, and the key of its stimuli.
    """
    base.require_active()
    brains = brains_of_groups()
    found = []
    query = (teaching.Teacher & "n_stimuli > 0" & "n_neurons = 0").proj("n_stimuli")
    query = query * TeacherConfig.proj("teacher", "config")
    rows = selection.of(query, TeacherPlan).to_dicts()
    last = len(TEACHER_ORDER)
    for row in sorted(rows, key=lambda r: (r["scan_group"], TEACHER_ORDER.get(r["teacher"], last))):
        brain = row["config"]["rsm"] or brains[row["scan_group"]]
        teacher = teaching.Teacher.load(row)
        assert teacher is not None and teacher.says == "similarity"
        shown = "stimuli of " if knows_no_brain(row["teacher"]) else ""
        name = f"{row['teacher'].replace('_', ' ')}, {shown}{brain}"
        found.append((name, teacher, f"{row['scan_group']} {row['n_stimuli']}"))
    return found
