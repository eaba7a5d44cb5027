"""Results as pandas frames, read from the database."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.experiments.planned import named, planned_rows
from pipeline.results.networks import (
    accuracy,
    accuracy_by_epoch,
    accuracy_by_seed,
    activations,
    activations_by_seed,
    adversarial,
    adversarial_by_seed,
    attack_checks,
    differences,
    layer_weights,
    layers,
    layers_by_seed,
    noise,
    noise_by_seed,
    superclass_errors,
    superclass_errors_by_seed,
)
from schemas import base, encoding, prediction, recording, teaching, training
from schemas import stability as stability_tables
from schemas.experiment import Experiment

__all__ = [
    "accuracy",
    "accuracy_by_epoch",
    "accuracy_by_seed",
    "activations",
    "activations_by_seed",
    "adversarial",
    "adversarial_by_seed",
    "attack_checks",
    "caveat",
    "differences",
    "encoders",
    "experiments",
    "layer_weights",
    "layers",
    "layers_by_seed",
    "noise",
    "noise_by_seed",
    "similarity",
    "spectra",
    "stability",
    "status_of_inputs",
    "stimuli",
    "superclass_errors",
    "superclass_errors_by_seed",
]


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
    rows = planned_rows(query * _simulated(), encoding.FitPlan, experiment, scale)
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
    rows = planned_rows(
        teaching.SimilarityQuality * _simulated(), encoding.FitPlan, experiment, scale
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


def stability(experiment: str | None = None, scale: str | None = None) -> pd.DataFrame:
    """One row per experiment: spread of similarity over its scans (Eq. 4) and repeats (Eq. 5).

    Returns
    -------
    DataFrame
        ``status`` says what was compared: scans, or parts of one scan, which saw the same trials.
        ``trial_sd`` and ``neuron_sd`` are what finitely many trials alone and what the selection
        of neurons alone make of ``scan_sd``; ``ratio`` is ``scan_sd / repeat_sd``, and
        ``neuron_ratio`` is ``neuron_sd / repeat_sd``.
    """
    base.require_active()
    found = stability_tables.SimilarityStability
    frame = pd.DataFrame(planned_rows(found, Experiment.proj(), experiment, scale))
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
    rows = planned_rows(
        stability_tables.SimilarityStructure * _simulated(), encoding.FitPlan, experiment, scale
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


def stimuli(stimulus_set: str) -> NDArray:
    """Images of a stimulus set, (n, channels, height, width)."""
    base.require_active()
    key = {"stimulus_set": stimulus_set}
    return np.asarray((recording.StimulusSet & key).fetch1("images"))


def experiments() -> pd.DataFrame:
    """All experiments."""
    base.require_active()
    columns = ["experiment", "scale", "title", "priority", "added", "added_by"]
    return pd.DataFrame(Experiment.proj(*columns[2:]).to_dicts(), columns=columns)


def status_of_inputs() -> dict[str, list[str]]:
    """Names of the scans and image sets in the database."""
    base.require_active()
    return {
        "scans": sorted(recording.Scan.to_arrays("scan")),
        "image sets": sorted(training.ImageSet.to_arrays("image_set")),
    }


def caveat(experiment: str | None = None, scale: str | None = None) -> str:
    """What must be said beside every number: simulated brains and reduced scales.

    Without an experiment and a scale it is of all scans with trials that have an encoder, also one
    that no experiment asked for.
    """
    restriction = named(experiment, scale)
    plan = encoding.FitPlan & restriction
    shown = plan if restriction else encoding.FittedEncoder.proj()
    scans = (recording.Scan & "n_trials > 0" & shown).proj("simulated").to_dicts()
    notes = []
    if any(s["simulated"] for s in scans):
        every = all(s["simulated"] for s in scans)
        notes.append("the brain was simulated" if every else "some of the scans were simulated")
    scales = set((Experiment & restriction).to_arrays("scale"))
    if scales - {"paper"}:
        notes.append(f"at reduced scale ({', '.join(sorted(scales - {'paper'}))})")
    return "; ".join(notes)


def _with_ceiling(score: str) -> list[str]:
    return [score, f"{score}_low", f"{score}_high", f"{score}_ceiling"]


def _simulated() -> Any:
    return recording.Scan.proj("simulated")
