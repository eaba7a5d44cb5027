"""Result arrays, read from the database: similarity matrices and denoised responses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.planned import named, planned_rows
from regularized_training.similarity import model_weight
from schemas import base, encoding, prediction, recording, teaching
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
    """What :func:`pipeline.results.stability` summarises, for each experiment.

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
    """What :func:`pipeline.results.spectra` summarises, for each fitted encoder.

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
