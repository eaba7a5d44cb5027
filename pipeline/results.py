"""Results as pandas frames, read from the database."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from schemas import base, encoding, experiment, recording, robustness, teaching, training


def encoders(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """One row per fitted encoder: correlations on the test tier beside the oracle.

    Returns
    -------
    DataFrame
        ``single_trial``, ``to_average`` and ``oracle`` are means over neurons; ``oracle``, what the
        other repeats say of a trial, is the reference for ``single_trial``.
    """
    base.require_active()
    query = encoding.EncoderScore * encoding.FittedEncoder.proj(
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
        "single_trial",
        "to_average",
        "oracle",
        "fraction_oracle",
        "n_trials",
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


def _simulated() -> Any:
    return recording.Scan.proj("simulated")


def _rows(query: Any, plan: Any) -> list[dict[str, Any]]:
    return (query & plan).to_dicts()
