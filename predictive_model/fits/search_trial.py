"""One trial of a search: how well settings do on the validation tier; the test tier is unseen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from predictive_model.config import Config
from predictive_model.encoders.config import EncoderConfig
from predictive_model.encoders.encoder import build_encoder, data_key, population_of
from predictive_model.fits import fitting
from predictive_model.recordings.recording import Recording, RecordingError

Curve = Mapping[int, float]  # validation correlation by epoch, from 1


class PruneConfig(Config):
    """When a trial is stopped: its best validation correlation so far is below the median.

    Of what the completed trials had reached by the same epoch. Settings that rise slowly suffer
    by it, so it waits for some epochs and some trials.
    """

    min_epochs: int = Field(10, ge=1)
    min_trials: int = Field(5, ge=1)


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial came to.

    Attributes
    ----------
    state : str
        ``complete``, ``pruned`` as hopeless, or ``failed`` for reasons that lie in its settings.
    validation_correlation : float or None
        Single trials, mean over the neurons of all scans; of a pruned trial the best that the fit
        which was stopped had reached.
    curves : tuple of dict
        Validation correlation by epoch of each fit: one for each scan, or one of all.
    message : str
        Why it failed.
    """

    state: Literal["complete", "pruned", "failed"]
    validation_correlation: float | None
    curves: tuple[Curve, ...]
    message: str = ""

    @property
    def n_epochs(self) -> int:
        """Of all fits together."""
        return sum(len(curve) for curve in self.curves)


class _Hopeless(Exception):
    """Ends a fit from within its progress."""


def without_test_tier(recording: Recording) -> Recording:
    """The same recording without the trials of its test tier."""
    rows = np.flatnonzero(np.asarray(recording.tier) != "test")
    return replace(
        recording,
        image_index=recording.image_index[rows],
        responses=recording.responses[rows],
        behaviour=None if recording.behaviour is None else recording.behaviour[rows],
        pupil=None if recording.pupil is None else recording.pupil[rows],
        tier=np.asarray(recording.tier)[rows],
    )


def is_hopeless(best: float, epoch: int, completed: Sequence[Curve], config: PruneConfig) -> bool:
    """Whether a fit is worse than most others were at its age.

    Parameters
    ----------
    best : float
        Validation correlation of its best epoch so far.
    epoch : int
        How many epochs it has had.
    completed : sequence of Curve
        Fits that ended by themselves; those that ended earlier count with their best.

    Examples
    --------
    >>> is_hopeless(0.2, 2, [{1: 0.3, 2: 0.1}], PruneConfig(min_epochs=2, min_trials=1))
    True
    """
    if epoch < config.min_epochs or len(completed) < config.min_trials:
        return False
    reached = [max(value for e, value in curve.items() if e <= epoch) for curve in completed]
    return best < float(np.median(reached))


def run_trial(
    recordings: Sequence[Recording],
    encoder: EncoderConfig,
    fit_config: fitting.FitConfig,
    seed: int = 0,
    *,
    share_core: bool = False,
    prune: PruneConfig | None = None,
    completed: Sequence[Sequence[Curve]] = (),
    resumed: Sequence[Curve] = (),
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Callable[[int, fitting.FitEpoch], None] = lambda fit, epoch: None,
) -> TrialOutcome:
    """Fit some settings and return how well they do on the validation tier.

    Trials of the test tier are taken away before anything is fitted.

    Parameters
    ----------
    recordings : sequence of Recording
    encoder, fit_config : EncoderConfig, FitConfig
    seed : int
        Of every fit.
    share_core : bool
        Fit all recordings together; otherwise one after the other.
    prune : PruneConfig, optional
        Stop a hopeless trial.
    completed : sequence of sequences of Curve
        Of each fit, the curves of trials that completed.
    resumed : sequence of Curve
        What is known of this trial's own fits from before it was interrupted.
    device : torch.device or str
    checkpoint : Path, optional
        Each fit appends its number; see :func:`~predictive_model.fits.fitting.fit_jointly`.
    progress : callable
        Called with the fit's number and each finished epoch.

    Raises
    ------
    ValueError, FitError
        If the recordings cannot be fitted whatever the settings; of scans that share a core also
        if one teaches an image that another tests.
    CheckpointError
        If a checkpoint is damaged or belongs to another fit.
    """
    whole = [list(recordings)] if share_core else [[recording] for recording in recordings]
    for group in whole:
        fitting.check_recordings(group)
    groups = [[without_test_tier(recording) for recording in group] for group in whole]
    curves = [dict(resumed[i]) if i < len(resumed) else {} for i in range(len(groups))]
    if why := _impossible(encoder, groups):
        return TrialOutcome("failed", None, tuple(curves), why)

    def report(number: int) -> Callable[[fitting.FitEpoch], None]:
        def after_epoch(epoch: fitting.FitEpoch) -> None:
            curves[number][epoch.epoch] = epoch.validation_correlation
            progress(number, epoch)
            others = completed[number] if number < len(completed) else ()
            # From before an interruption there may be later ones too, if no checkpoint was left.
            best = max(v for e, v in curves[number].items() if e <= epoch.epoch)
            if prune is not None and is_hopeless(best, epoch.epoch, others, prune):
                raise _Hopeless

        return after_epoch

    total, n_neurons = 0.0, 0
    for number, group in enumerate(groups):
        try:
            fitted = fitting.fit_jointly(
                group,
                encoder,
                fit_config,
                seed,
                device=device,
                checkpoint=checkpoint and checkpoint.with_name(f"{checkpoint.name}.{number}"),
                progress=report(number),
            )
        except _Hopeless:
            return TrialOutcome("pruned", max(curves[number].values()), tuple(curves))
        except (fitting.FitError, torch.OutOfMemoryError) as error:
            return TrialOutcome("failed", None, tuple(curves), str(error))
        curves[number] = {e.epoch: e.validation_correlation for e in fitted[0].history}
        total += sum(one.validation_correlation * one.n_neurons for one in fitted)
        n_neurons += sum(one.n_neurons for one in fitted)
    if not math.isfinite(total):
        return TrialOutcome("failed", None, tuple(curves), "the validation correlation is NaN")
    return TrialOutcome("complete", total / n_neurons, tuple(curves))


def _impossible(config: EncoderConfig, groups: Sequence[Sequence[Recording]]) -> str:
    """Why no such encoder can be built for some of the recordings; empty if one can for all."""
    for group in groups:
        try:
            populations = {data_key(r.name): population_of(r, config) for r in group}
            build_encoder(config, populations, image_shape=group[0].image_shape)
        except RecordingError:
            raise
        except ValueError as error:
            return str(error)
    return ""
