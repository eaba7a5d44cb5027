"""Results as pandas frames, read from the database."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regularized_training.similarity import model_weight
from schemas import (
    base,
    encoding,
    experiment,
    prediction,
    recording,
    robustness,
    teaching,
    training,
)
from schemas import stability as stability_tables


def encoders(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """One row per fitted encoder: scores on the test tier, each with interval and ceiling.

    Returns
    -------
    DataFrame
        Each score is followed by the ends of its 95 % interval, ``_low`` and ``_high``, and by its
        ``_ceiling``, what a perfect prediction of the signal would score; docs/scores.md defines
        them. ``oracle``, what the other repeats say of a trial, is a reference for ``single_trial``
        that a perfect prediction exceeds. ``n_feve`` and ``n_cc_norm`` count the neurons that have
        these scores.
    """
    base.require_active()
    query = prediction.EncoderScore * encoding.FittedEncoder.proj(
        "validation_correlation", "n_epochs", fit_seconds="seconds"
    )
    rows = _rows(query * _simulated(), _planned(encoding.FitPlan, experiment, scale))
    columns = [
        "scan",
        "simulated",
        "encoder_hash",
        "fit_hash",
        "seed",
        "status",
        "validation_correlation",
        *_with_ceiling("single_trial"),
        "oracle",
        *_with_ceiling("to_average"),
        *_with_ceiling("fraction_oracle_slope"),
        *_with_ceiling("fraction_oracle_ratio"),
        *_with_ceiling("feve"),
        "n_feve",
        *_with_ceiling("cc_norm"),
        "n_cc_norm",
        "n_trials",
        "n_images",
        "n_epochs",
        "fit_seconds",
    ]
    return pd.DataFrame(rows, columns=columns)


def similarity(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """One row per fitted encoder: corr(S_oracle, S_model) and corr(S_oracle, S_data).

    Returns
    -------
    DataFrame
        ``oracle_ceiling`` is the agreement of the oracle with itself.
    """
    base.require_active()
    rows = _rows(
        teaching.SimilarityQuality * _simulated(),
        _planned(encoding.FitPlan, experiment, scale),
    )
    columns = [
        "scan",
        "simulated",
        "encoder_hash",
        "fit_hash",
        "seed",
        "status",
        "model_correlation",
        "data_correlation",
        "oracle_ceiling",
        "n_images",
        "n_repeats",
    ]
    return pd.DataFrame(rows, columns=columns)


def stability(experiment_name: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """One row per experiment: spread of similarity over its scans (Eq. 4) and repeats (Eq. 5).

    Returns
    -------
    DataFrame
        ``status`` says what was compared: scans, or parts of one scan, which saw the same trials.
        ``trial_sd`` and ``neuron_sd`` are what finitely many trials alone and what the selection
        of neurons alone make of ``scan_sd``; ``ratio`` is ``scan_sd / repeat_sd``, and
        ``neuron_ratio`` is ``neuron_sd / repeat_sd``.
    """
    frame = pd.DataFrame(_stability_rows(experiment_name, scale))
    columns = [
        "experiment",
        "scale",
        "scans",
        "simulated",
        "status",
        "n_populations",
        "n_images",
        "scan_sd",
        "repeat_sd",
        "ratio",
        "trial_sd",
        "neuron_sd",
        "neuron_ratio",
    ]
    sds = frame.reindex(columns=["scan_sd", "neuron_sd", "repeat_sd"]).astype(float)
    return frame.assign(
        ratio=sds["scan_sd"] / sds["repeat_sd"],
        neuron_ratio=sds["neuron_sd"] / sds["repeat_sd"],
    ).reindex(columns=columns)


def spectra(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """One row per fitted encoder: range and effective dimension of the three similarities.

    Returns
    -------
    DataFrame
        ``*_sd`` and ``*_range`` (central 95 %) go over pairs of different images, ``*_dimension``
        is the participation ratio of the eigenvalues. ``model_correlation`` is with the oracle,
        and with recorded responses where the status is ``no repeats``.
    """
    base.require_active()
    rows = _rows(
        stability_tables.SimilarityStructure * _simulated(),
        _planned(encoding.FitPlan, experiment, scale),
    )
    kinds = ("recorded", "oracle", "model")
    columns = [
        "scan",
        "simulated",
        "encoder_hash",
        "fit_hash",
        "seed",
        "status",
        "tier",
        "n_images",
        "weighted",
        "model_correlation",
        *(f"{kind}_{what}" for what in ("sd", "range", "dimension") for kind in kinds),
    ]
    return pd.DataFrame(rows, columns=columns)


def noise_by_seed(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Accuracy under noise of every network, one row per network and level."""
    base.require_active()
    query = (
        robustness.NoiseAccuracy.Level
        * robustness.NoiseAccuracy.proj("n_images")
        * teaching.TeacherConfig.proj("teacher", "teacher_seed")
        * teaching.ScanGroup.proj("simulated", "scans")
        * training.TrainingConfig.proj("alpha", "epochs", "n_train_used")
        * training.NetworkConfig.proj("architecture", "network_width")
    )
    rows = _rows(query, _planned(robustness.NoisePlan, experiment, scale))
    columns = [
        "image_set",
        "architecture",
        "network_width",
        "teacher",
        "alpha",
        "scans",
        "simulated",
        "epochs",
        "n_train_used",
        "seed",
        "level",
        "accuracy",
        "n_images",
        "teacher_seed",
        "network_hash",
        "teacher_hash",
        "scan_group",
        "training_hash",
        "noise_hash",
    ]
    return pd.DataFrame(rows, columns=columns)


def noise(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """Accuracy under noise: mean and standard error over seeds.

    Returns
    -------
    DataFrame
        One row per condition and level, where a condition is all but the seed: image set, network,
        teacher with its scans and encoders, training and noise. ``sem`` is NaN for a single seed.
    """
    by_seed = noise_by_seed(experiment, scale)
    groups = [c for c in by_seed.columns if c not in ("seed", "accuracy")]
    summary = (
        by_seed.groupby(groups, sort=False)["accuracy"]
        .agg(accuracy="mean", sem="sem", n_seeds="count")
        .reset_index()
    )
    order = {kind: i for i, kind in enumerate(("none", "neural_model", "neural_data", "shuffle"))}
    summary["_order"] = summary["teacher"].map(order)
    summary = summary.sort_values(["image_set", "_order", "alpha", "level"]).drop(columns="_order")
    return summary.reset_index(drop=True)


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
    query = (teaching.SimilarityQuality & {"status": "ok"}) * _simulated()
    rows = _rows(query, _planned(encoding.FitPlan, experiment, scale))
    for row in rows:
        for name in ("oracle_matrix", "model_matrix", "data_matrix"):
            row[name] = np.asarray(row[name])
    return rows


def stability_matrices(
    experiment_name: str | None = None, scale: str | None = None
) -> list[dict[str, Any]]:
    """What :func:`stability` summarises, for each experiment.

    Returns
    -------
    list of dict
        The columns of ``SimilarityStability``, and ``populations``: a dict of the columns of
        ``SimilarityStability.Population`` for each scan, or for each part of the only one.
    """
    rows = _stability_rows(experiment_name, scale)
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
    """What :func:`spectra` summarises, for each fitted encoder.

    Returns
    -------
    list of dict
        The columns of ``SimilarityStructure``, ``simulated``, and ``stimulus_set``, the key of the
        images.
    """
    base.require_active()
    rows = _rows(
        stability_tables.SimilarityStructure * recording.Scan.proj("simulated", "stimulus_set"),
        _planned(encoding.FitPlan, experiment, scale),
    )
    rows.sort(key=lambda row: row["scan"])
    for row in rows:
        kinds = ("recorded", "oracle", "model")
        names = (f"{kind}_{what}" for kind in kinds for what in ("matrix", "eigenvalues"))
        _load_arrays(row, "images", *names)
    return rows


def stimuli(stimulus_set: str) -> NDArray:
    """Images of a stimulus set, (n, channels, height, width)."""
    base.require_active()
    key = {"stimulus_set": stimulus_set}
    return np.asarray((recording.StimulusSet & key).fetch1("images"))


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
        If there is no encoder of the scan, or more than one.
    """
    base.require_active()
    key = {"scan": scan}
    predicted = prediction.PredictedResponses * recording.Scan.proj(own="stimulus_set") & key
    named = {k: v for k, v in (("experiment", experiment), ("scale", scale)) if v is not None}
    rows = predicted & "stimulus_set = own"
    if named:
        rows = rows & _planned(encoding.FitPlan, experiment, scale)
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


def experiments() -> pd.DataFrame:
    """All experiments."""
    base.require_active()
    columns = ["experiment", "scale", "title", "added"]
    return pd.DataFrame(experiment.Experiment.proj("title", "added").to_dicts(), columns=columns)


def status_of_inputs() -> dict[str, list[str]]:
    """Names of the scans and image sets in the database."""
    base.require_active()
    return {
        "scans": sorted(recording.Scan.to_arrays("scan")),
        "image sets": sorted(training.ImageSet.to_arrays("image_set")),
    }


def caveat(experiment_name: str | None = None, scale: str | None = None) -> str:
    """What must be said beside every number: simulated brains and reduced scales."""
    base.require_active()
    plan = _planned(encoding.FitPlan, experiment_name, scale)
    scans = (recording.Scan & plan).proj("simulated").to_dicts()
    notes = []
    if any(s["simulated"] for s in scans):
        every = all(s["simulated"] for s in scans)
        notes.append("the brain was simulated" if every else "some of the scans were simulated")
    scales = set(plan.to_arrays("scale")) if len(plan) else set()
    if scales - {"paper"}:
        notes.append(f"at reduced scale ({', '.join(sorted(scales - {'paper'}))})")
    return "; ".join(notes)


def _planned(plan: Any, experiment_name: str | None, scale: str | None) -> Any:
    base.require_active()
    asked = {"experiment": experiment_name, "scale": scale}
    named = {k: v for k, v in asked.items() if v is not None}
    if named and not experiment.Experiment & named:
        experiments_table = experiment.Experiment.keys()
        known = [f"{e['experiment']} ({e['scale']})" for e in experiments_table]
        raise LookupError(
            f"experiment: {' '.join(named.values())} is not in the database, which has "
            f"{', '.join(known) or 'none'}"
        )
    return plan & named


def _with_ceiling(score: str) -> list[str]:
    return [score, f"{score}_low", f"{score}_high", f"{score}_ceiling"]


def _simulated() -> Any:
    return recording.Scan.proj("simulated")


def _stability_rows(experiment_name: str | None, scale: str | None) -> list[dict[str, Any]]:
    base.require_active()
    plan = _planned(experiment.Experiment.proj(), experiment_name, scale)
    return _rows(stability_tables.SimilarityStability, plan)


def _load_arrays(row: dict[str, Any], *names: str) -> None:
    for name in names:
        if row[name] is not None:
            row[name] = np.asarray(row[name])


def _rows(query: Any, plan: Any) -> list[dict[str, Any]]:
    return (query & plan).to_dicts()
