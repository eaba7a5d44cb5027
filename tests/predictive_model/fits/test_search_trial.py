"""One trial of a search, in memory."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictive_model.checkpoint import CheckpointError
from predictive_model.encoders.config import CoreConfig, EncoderConfig
from predictive_model.fits import fitting
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitting import fit_jointly
from predictive_model.fits.search_trial import (
    PruneConfig,
    TrialOutcome,
    is_hopeless,
    run_trial,
    without_test_tier,
)
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli

SHAPE = (18, 32)
ENCODER = EncoderConfig(core=CoreConfig(layers=1, hidden_channels=4, input_kernel=5))
FIT = FitConfig(max_epochs=3, batch_size=16, learning_rate=0.02)


@functools.cache
def scan(seed: int = 1, n_neurons: int = 8) -> Recording:
    config = SimulatedCortexConfig(n_neurons=n_neurons, image_shape=SHAPE, width=(6, 10))
    stimuli = natural_stimuli(50, SHAPE)
    return SimulatedCortex(config, seed).record(
        stimuli, n_repeated=10, n_repeats=3, seed=seed, name=f"scan{seed}"
    )


def with_other_test_responses(recording: Recording) -> Recording:
    responses = recording.responses.copy()
    test = recording.trials_of("test")
    shape = responses[test].shape
    responses[test] = np.random.default_rng(0).exponential(1e6, shape).astype(np.float32)
    return replace(recording, responses=responses)


def test_what_stands_in_the_test_tier_changes_nothing() -> None:
    a = run_trial([scan()], ENCODER, FIT)
    b = run_trial([with_other_test_responses(scan())], ENCODER, FIT)
    assert a.state == "complete"
    assert a == b


def test_a_fit_never_sees_the_test_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Recording] = []

    def spy(recordings: list[Recording], *args: Any, **kwargs: Any) -> Any:
        seen.extend(recordings)
        return fit_jointly(recordings, *args, **kwargs)

    monkeypatch.setattr(fitting, "fit_jointly", spy)
    run_trial([scan(1), scan(2)], ENCODER, FIT)
    assert [r.name for r in seen] == ["scan1", "scan2"]
    for recording in seen:
        assert len(recording.trials_of("test")) == 0
        assert set(recording.tier) == {"train", "validation"}


def test_without_its_test_tier_a_recording_is_otherwise_the_same() -> None:
    whole, part = scan(), without_test_tier(scan())
    for tier in ("train", "validation"):
        a, b = whole.trials_of(tier), part.trials_of(tier)  # type: ignore[arg-type]
        for name in ("responses", "image_index", "behaviour", "pupil"):
            assert np.array_equal(getattr(whole, name)[a], getattr(part, name)[b])
    assert whole.normalisation.image_std == part.normalisation.image_std
    assert np.array_equal(whole.normalisation.response_scale, part.normalisation.response_scale)


def test_the_score_is_the_mean_over_the_neurons_of_all_scans() -> None:
    scans = [scan(1, 8), scan(2, 3)]
    each = [run_trial([s], ENCODER, FIT).validation_correlation for s in scans]
    both = run_trial(scans, ENCODER, FIT)
    assert both.validation_correlation == pytest.approx((8 * each[0] + 3 * each[1]) / 11)  # type: ignore[operator]
    assert both.n_epochs == 6
    shared = run_trial(scans, ENCODER, FIT, share_core=True)
    fitted = fit_jointly(scans, ENCODER, FIT)
    assert shared.n_epochs == 3
    assert shared.validation_correlation == pytest.approx(
        max(e.validation_correlation for e in fitted[0].history), abs=1e-5
    )


@pytest.mark.parametrize(
    "encoder, fit, message",
    [
        (EncoderConfig(core=CoreConfig(input_kernel=19)), FIT, "core.input_kernel: 19 exceeds"),
        (ENCODER, FitConfig(max_epochs=3, batch_size=16, learning_rate=1e30), "the loss is nan"),
    ],
)
def test_settings_that_cannot_work_make_a_failed_trial(
    encoder: EncoderConfig, fit: FitConfig, message: str
) -> None:
    outcome = run_trial([scan()], encoder, fit)
    assert (outcome.state, outcome.validation_correlation) == ("failed", None)
    assert message in outcome.message


@pytest.mark.parametrize("tier", ["validation", "test"])
def test_scans_that_disagree_on_held_out_images_are_no_fault_of_the_settings(tier: str) -> None:
    a, b = scan(1), scan(2)
    held_out = np.isin(b.image_index, b.images_of(tier))  # type: ignore[arg-type]
    assert (a.images_of(tier) == b.images_of(tier)).all()  # type: ignore[arg-type]
    spare = b.images_of("train")[: len(b.images_of(tier))]  # type: ignore[arg-type]
    tiers = np.where(held_out, "train", np.asarray(b.tier))
    b = b.with_tiers(np.where(np.isin(b.image_index, spare), tier, tiers))
    assert run_trial([a, b], ENCODER, FIT).state == "complete"
    with pytest.raises(ValueError, match="tier: image"):
        run_trial([a, b], ENCODER, FIT, share_core=True)


def test_recordings_that_cannot_be_fitted_are_no_fault_of_the_settings() -> None:
    a, b = scan(1), scan(2)
    smaller = replace(b, images=b.images[:, :, 2:])
    with pytest.raises(ValueError, match="images of shapes"):
        run_trial([a, smaller], ENCODER, FIT, share_core=True)
    nothing_to_validate_on = np.where(np.asarray(b.tier) == "validation", "test", b.tier)
    with pytest.raises(fitting.FitError, match="'scan2' has 0 validation trials"):
        run_trial([a, b.with_tiers(nothing_to_validate_on)], ENCODER, FIT)
    nothing_to_learn_from = np.where(np.asarray(b.tier) == "train", "test", b.tier)
    with pytest.raises(RecordingError, match="0 trials of 'scan2' are in the train tier"):
        run_trial([a, b.with_tiers(nothing_to_learn_from)], ENCODER, FIT)


def test_what_is_reported_of_a_fit_may_fail_by_itself() -> None:
    def broken(fit: int, epoch: fitting.FitEpoch) -> None:
        raise ValueError("the disc is full")

    with pytest.raises(ValueError, match="the disc is full"):
        run_trial([scan()], ENCODER, FIT, progress=broken)


def test_a_damaged_checkpoint_is_no_fault_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "trial.pt.0").write_bytes(b"half")
    with pytest.raises(CheckpointError):
        run_trial([scan()], ENCODER, FIT, checkpoint=tmp_path / "trial.pt")


def test_a_fit_is_hopeless_below_the_median_of_what_others_had_reached() -> None:
    config = PruneConfig(min_epochs=2, min_trials=3)
    others = [{1: 0.5, 2: 0.3, 3: 0.9}, {1: 0.1, 2: 0.4}, {1: 0.2}]
    assert not is_hopeless(0.0, 1, others, config), "it is too early"
    assert not is_hopeless(0.0, 2, others[:2], config), "there are too few others"
    # By the second epoch the others' best are 0.5, 0.4 and 0.2.
    assert is_hopeless(0.39, 2, others, config)
    assert not is_hopeless(0.4, 2, others, config)
    # By the third they are 0.9, 0.4 and 0.2.
    assert not is_hopeless(0.4, 3, others, config)


def interrupted_after(n: int) -> Any:
    def progress(fit: int, epoch: fitting.FitEpoch) -> None:
        if epoch.epoch == n:
            raise KeyboardInterrupt

    return progress


def test_a_trial_resumed_from_its_checkpoint_is_pruned_where_it_would_have_been(
    tmp_path: Path,
) -> None:
    settings = FIT.model_copy(update={"max_epochs": 6})
    prune = PruneConfig(min_epochs=1, min_trials=1)
    free = run_trial([scan()], ENCODER, settings)
    assert free.curves[0].keys() == set(range(1, 7))
    # One other trial, a little worse than this until the fifth epoch, and better from there on.
    best = [max(v for e, v in free.curves[0].items() if e <= n) for n in range(1, 7)]
    other = {n: value + (1e-3 if n >= 5 else -1e-3) for n, value in enumerate(best, 1)}
    known: dict[str, Any] = dict(prune=prune, completed=[[other]])

    whole = run_trial([scan()], ENCODER, settings, **known)
    assert (whole.state, whole.n_epochs) == ("pruned", 5)
    assert whole.validation_correlation == best[4]

    file = tmp_path / "trial.pt"
    with pytest.raises(KeyboardInterrupt):
        run_trial(
            [scan()], ENCODER, settings, checkpoint=file, progress=interrupted_after(3), **known
        )
    before = {epoch: free.curves[0][epoch] for epoch in (1, 2, 3)}
    resumed = run_trial([scan()], ENCODER, settings, checkpoint=file, resumed=[before], **known)
    assert resumed == whole


def test_without_pruning_every_trial_runs_to_its_end() -> None:
    unreachable = [[{1: 1.0}] * 9]
    outcome = run_trial([scan()], ENCODER, FIT, completed=unreachable)
    assert isinstance(outcome, TrialOutcome)
    assert (outcome.state, outcome.n_epochs) == ("complete", 3)
