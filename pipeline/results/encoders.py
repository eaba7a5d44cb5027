"""Encoders, similarity and its stability as pandas frames, and what must be said beside numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.experiments.selection import Selection
from pipeline.results.registry import Result, register
from pipeline.results.rows import read_rows
from schemas import base, encoding, prediction, recording, similarity
from schemas.experiment import TRIAL, Experiment

ENCODER = ["scan", "simulated", "encoder_hash", "fit_hash", "seed"]


def encoders(selection: Selection) -> pd.DataFrame:
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
    query = prediction.EncoderScore * encoding.FittedEncoder.proj(
        "validation_correlation", "n_epochs", fit_seconds="seconds"
    )
    columns = [
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
    return _of_encoders(query, selection, columns)


def similarities(selection: Selection) -> pd.DataFrame:
    """One row per fitted encoder: corr(S_oracle, S_model) and corr(S_oracle, S_data).

    Returns
    -------
    DataFrame
        ``oracle_ceiling`` is the agreement of the oracle with itself.
    """
    columns = ["model_correlation", "data_correlation", "oracle_ceiling", "n_images", "n_repeats"]
    return _of_encoders(similarity.SimilarityQuality, selection, columns)


STABILITY = [
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


def stability(selection: Selection) -> pd.DataFrame:
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
    frame = read_rows(
        (similarity.StabilityPlan & selection.experiments).proj("scan_group")
        * similarity.SimilarityStability,
        [c for c in STABILITY if c not in ("experiment", "scale", "ratio", "neuron_ratio")],
    )
    sds = frame[["scan_sd", "neuron_sd", "repeat_sd"]].astype(float)
    return frame.assign(
        ratio=sds["scan_sd"] / sds["repeat_sd"],
        neuron_ratio=sds["neuron_sd"] / sds["repeat_sd"],
    )[STABILITY]


def spectra(selection: Selection) -> pd.DataFrame:
    """One row per fitted encoder: range and effective dimension of the three similarities.

    Returns
    -------
    DataFrame
        ``*_sd`` and ``*_range`` (central 95 %) go over pairs of different images, ``*_dimension``
        is the participation ratio of the eigenvalues. ``model_correlation`` is with the oracle,
        and with recorded responses where the status is ``no repeats``.
    """
    kinds = ("recorded", "oracle", "model")
    columns = [
        "tier",
        "n_images",
        "weighted",
        "model_correlation",
        *(f"{kind}_{what}" for what in ("sd", "range", "dimension") for kind in kinds),
    ]
    return _of_encoders(similarity.SimilarityStructure, selection, columns)


def _of_encoders(query: Any, selection: Selection, columns: Sequence[str]) -> pd.DataFrame:
    """A row for each fitted encoder that a query is about: which it is, status, and columns."""
    base.require_active()
    asked = selection.of(query * recording.Scan.proj("simulated"), encoding.FitPlan)
    shown = [*ENCODER, "status", *columns]
    return read_rows(asked, shown)[shown]


def _with_ceiling(score: str) -> list[str]:
    return [score, f"{score}_low", f"{score}_high", f"{score}_ceiling"]


def stimuli(stimulus_set: str) -> NDArray:
    """Images of a stimulus set, (n, channels, height, width)."""
    base.require_active()
    key = {"stimulus_set": stimulus_set}
    return np.asarray((recording.StimulusSet & key).fetch1("images"))


def experiments(selection: Selection) -> pd.DataFrame:
    """Experiments, a row for each name and scale."""
    base.require_active()
    columns = ["experiment", "scale", "title", "priority", "added", "added_by"]
    return read_rows(Experiment & selection.named, columns[2:])[columns]


def caveat(selection: Selection) -> str:
    """What must be said beside every number: simulated brains, reduced scales, choices.

    Without an experiment and a scale it is of all scans with trials that have an encoder, also one
    that no experiment asked for.
    """
    base.require_active()
    plan = encoding.FitPlan & selection.experiments
    shown = encoding.FittedEncoder.proj() if selection.everything else plan
    scans = recording.Scan & "n_trials > 0" & shown
    asked = read_rows(Experiment & selection.named, ["settings"])
    said = caveat_of(scans.to_arrays("simulated"), asked["scale"])
    return "; ".join(filter(None, [said, *_choices(asked)]))


def _choices(experiments: pd.DataFrame) -> Iterator[str]:
    """On which images settings were chosen, and of which experiment if there are several."""
    several = experiments["experiment"].nunique() > 1
    found: dict[tuple[str, str], list[str]] = {}
    for name, settings in zip(experiments["experiment"], experiments["settings"], strict=True):
        # The database keeps no order of names.
        for setting, part in sorted(settings.get("chosen", {}).items()):
            settings_of = found.setdefault((part, f" of {name}" if several else ""), [])
            if setting not in settings_of:
                settings_of.append(setting)
    for (part, whose), names in found.items():
        verb = "was" if len(names) == 1 else "were"
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        yield f"{listed}{whose} {verb} chosen on the {part} images"


def caveat_of(simulated: Iterable[bool], scales: Iterable[str]) -> str:
    """The same of scans, each simulated or not, and of the scales at which they were used."""
    simulated, scales = list(simulated), set(scales)
    trials = {scale for scale in scales if scale.startswith(TRIAL)}
    reduced = sorted(scales - trials - {"paper"})
    notes = []
    if any(simulated):
        every = all(simulated)
        notes.append("the brain was simulated" if every else "some of the scans were simulated")
    if reduced:
        notes.append(f"at reduced scale ({', '.join(reduced)})")
    if trials:
        notes.append(f"{len(trials)} trials of a search")
    return "; ".join(notes)


register(
    Result(
        name="encoders",
        title="Encoders",
        question="How well are neurons predicted?",
        read=encoders,
    )
)
register(
    Result(
        name="similarity",
        title="Agreement with the oracle's similarity",
        question="How well do encoders denoise?",
        read=similarities,
    )
)
register(
    Result(
        name="stability",
        title="Spread of similarity over scans (Eq. 4) and repeats (Eq. 5)",
        question="How stable is similarity over scans and repeats?",
        read=stability,
    )
)
register(
    Result(
        name="spectra",
        title="Range and effective dimension of similarity",
        question="How wide and how many-dimensional are recorded and predicted similarity?",
        read=spectra,
    )
)
