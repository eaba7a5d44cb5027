"""Fitting: deterministic, resumable, early-stopped, and the same for merged and single trials."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from predictive_model.checkpoint import CheckpointError
from predictive_model.correlation import correlation
from predictive_model.encoder import EncoderConfig, ModulatorConfig, ShifterConfig
from predictive_model.fitting import (
    FitConfig,
    FitError,
    _Fit,
    fit,
    predict_recording,
    trials_in_memory,
)
from tests.predictive_model.conftest import small_recording


class Killed(Exception):
    """What ends a fit before its time."""


def kill_after(epoch):
    def progress(record):
        if record.epoch == epoch:
            raise Killed

    return progress


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[k], b[k]) for k in a)


# -- what is learned -----------------------------------------------------------------------


def test_a_fit_learns_what_drives_the_neurons(scan, fitted_whole):
    predicted = predict_recording(fitted_whole, scan, "test")
    recorded = scan.responses[scan.trials_of("test")]
    assert correlation(predicted, recorded).mean() > 0.2
    assert fitted_whole.history[-1].loss < fitted_whole.history[0].loss


def test_the_best_state_is_returned(scan, fitted_whole):
    """Its validation correlation is the highest of the history, and that of its predictions."""
    best = max(epoch.validation_correlation for epoch in fitted_whole.history)
    assert fitted_whole.validation_correlation == pytest.approx(best, abs=1e-6)
    predicted = predict_recording(fitted_whole, scan, "validation")
    recorded = scan.responses[scan.trials_of("validation")]
    assert correlation(predicted, recorded).mean() == pytest.approx(best, abs=1e-5)


def test_a_fit_that_no_longer_improves_decays_its_rate_and_ends(scan, small):
    """A tolerance that nothing but the first epoch exceeds leaves its state the best."""
    settings = FitConfig(
        learning_rate=0.01, patience=2, decay=0.5, decay_steps=3, tolerance=10, max_epochs=50
    )
    done = fit(scan, small, settings)
    rates = [epoch.learning_rate for epoch in done.history]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])
    assert done.validation_correlation == done.history[0].validation_correlation
    once = fit(scan, small, settings.model_copy(update={"max_epochs": 1}))
    assert same(done.state, once.state)


def test_a_loss_that_is_not_finite_ends_the_fit_with_what_to_do(scan, small):
    with pytest.raises(
        FitError, match="the loss is nan in epoch .*lower fit.learning_rate, now 1e"
    ):
        fit(scan, small, FitConfig(learning_rate=1e30, max_epochs=3))


# -- seeds ---------------------------------------------------------------------------------


def test_the_seed_makes_the_weights(scan, whole, quick, fitted_whole):
    torch.manual_seed(123)
    again, other = (fit(scan, whole, quick, seed=seed) for seed in (1, 2))
    assert same(again.state, fitted_whole.state)
    assert not same(other.state, fitted_whole.state)


def test_the_global_random_state_is_left_alone(scan, whole, quick):
    torch.manual_seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    done = fit(scan, whole, quick.model_copy(update={"max_epochs": 1}))
    done.predict(scan.images[:3])
    with pytest.raises(Killed):
        fit(scan, whole, quick, progress=kill_after(1))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


# -- checkpoints ---------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_killed_fit_goes_on_to_the_same_weights(
    scan, whole, quick, fitted_whole, tmp_path, epoch
):
    path = tmp_path / "fit.pt"
    with pytest.raises(Killed):
        fit(scan, whole, quick, seed=1, checkpoint=path, progress=kill_after(epoch))
    seen = []
    resumed = fit(scan, whole, quick, seed=1, checkpoint=path, progress=seen.append)
    assert seen[0].epoch == epoch + 1
    assert same(resumed.state, fitted_whole.state)
    assert resumed.validation_correlation == fitted_whole.validation_correlation
    history, expected = (
        [replace(record, seconds=0) for record in done.history] for done in (resumed, fitted_whole)
    )
    assert history == expected


def test_a_killed_fit_goes_on_through_decays_of_the_rate(scan, small, tmp_path):
    settings = FitConfig(learning_rate=0.05, patience=1, decay_steps=4, max_epochs=12)
    whole = fit(scan, small, settings)
    path = tmp_path / "fit.pt"
    for epoch in (2, 3, 5, 6):
        if epoch < len(whole.history):
            with pytest.raises(Killed):
                fit(scan, small, settings, checkpoint=path, progress=kill_after(epoch))
    assert same(fit(scan, small, settings, checkpoint=path).state, whole.state)


def test_a_finished_fit_is_not_repeated(scan, small, quick, fitted_small, tmp_path):
    path, epochs = tmp_path / "fit.pt", []
    fit(scan, small, quick, seed=1, checkpoint=path)
    again = fit(scan, small, quick, seed=1, checkpoint=path, progress=epochs.append)
    assert epochs == []
    assert same(again.state, fitted_small.state)


def test_a_checkpoint_of_other_data_settings_or_seed_is_refused(scan, small, quick, tmp_path):
    path = tmp_path / "fit.pt"
    quick = quick.model_copy(update={"max_epochs": 1})
    fit(scan, small, quick, checkpoint=path)
    responses = scan.responses.copy()
    responses[0, 0] += 1
    tier = np.where(np.asarray(scan.tier) == "validation", "train", np.asarray(scan.tier))
    tier[scan.image_index == scan.images_of("train")[0]] = "validation"
    tier[scan.image_index == scan.images_of("train")[1]] = "validation"
    others = [
        (replace(scan, responses=responses), small, quick, 0),
        (replace(scan, name="renamed"), small, quick, 0),
        (scan.with_tiers(tier), small, quick, 0),
        (scan, small.model_copy(update={"downsample": 2}), quick, 0),
        (scan, small, quick.model_copy(update={"learning_rate": 0.01}), 0),
        (scan, small, quick, 1),
    ]
    for recording, config, settings, seed in others:
        with pytest.raises(CheckpointError, match="written with other data, settings or seed"):
            fit(recording, config, settings, seed, checkpoint=path)


def test_a_damaged_checkpoint_is_refused(scan, small, quick, tmp_path):
    path = tmp_path / "fit.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="fit.pt cannot be read .*; delete it to start"):
        fit(scan, small, quick, checkpoint=path)


# -- trials --------------------------------------------------------------------------------


def test_merged_repeats_give_the_loss_and_gradients_of_single_trials(small, quick):
    """Where the encoder sees the image only, and its readout samples no positions."""
    scan = small_recording()
    scan = scan.with_tiers(np.where(scan.image_index < 100, "train", "validation"))
    fitting = _Fit(scan, small, quick, 0, torch.device("cpu"))
    fitting.encoder.eval()
    found = {}
    for merged in (True, False):
        trials = trials_in_memory(scan, "train", pupil=False, behaviour=False, merge_repeats=merged)
        fitting.train = trials
        fitting.encoder.zero_grad()
        loss, _ = fitting._losses(torch.arange(len(trials)), trials.weight.mean())
        loss.backward()
        gradient = {
            k: p.grad.clone() for k, p in fitting.encoder.named_parameters() if p.grad is not None
        }
        found[merged] = len(trials), loss.item(), gradient
    assert (found[True][0], found[False][0]) == (100, 160)
    assert found[True][1] == pytest.approx(found[False][1], rel=1e-5)
    assert found[True][2].keys() == found[False][2].keys()
    for name, gradient in found[False][2].items():
        torch.testing.assert_close(found[True][2][name], gradient, rtol=1e-3, atol=1e-6)


def test_the_loss_is_the_poisson_deviance_up_to_a_constant(scan, small, quick):
    fitting = _Fit(scan, small, quick, 0, torch.device("cpu"))
    fitting.encoder.eval()
    rows = torch.arange(20)
    images = fitting.train.images[fitting.train.image_index[rows]]
    with torch.no_grad():
        loss, _ = fitting._losses(rows, torch.tensor(1.0))
        rates = fitting.encoder(images)
        expected = torch.nn.functional.poisson_nll_loss(
            rates, fitting.train.responses[rows], log_input=False, eps=1e-12
        )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_merged_repeats_are_means_with_their_number_as_weight(scan):
    merged = trials_in_memory(scan, "test", pupil=False, behaviour=False, merge_repeats=True)
    assert (merged.weight == 4).all()
    expected = scan.normalisation.responses(scan.repeated_trials(np.arange(20)).mean(1))
    np.testing.assert_allclose(merged.responses, expected, rtol=1e-5)
    np.testing.assert_array_equal(merged.image_index, np.arange(20))


def test_trials_that_differ_in_more_than_the_image_are_not_merged(scan):
    with pytest.raises(ValueError, match="merge_repeats: trials of one image differ in pupil"):
        trials_in_memory(scan, "train", pupil=True, behaviour=False, merge_repeats=True)


def test_predictions_are_in_the_order_of_trials_and_under_their_own_behaviour(
    scan, fitted_small, fitted_whole
):
    rows = scan.trials_of("test")
    images = scan.images[scan.image_index[rows]]
    found = predict_recording(fitted_small, scan, "test")
    np.testing.assert_allclose(found, fitted_small.predict(images), rtol=1e-4, atol=1e-5)
    found = predict_recording(fitted_whole, scan, "test")
    expected = fitted_whole.predict(images, pupil=scan.pupil[rows], behaviour=scan.behaviour[rows])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found - fitted_whole.predict(images)).max() > 0.01


# -- refusals ------------------------------------------------------------------------------


def test_inputs_that_the_recording_lacks_are_refused(small, quick):
    scan = small_recording(pupil=None, behaviour=None)
    with pytest.raises(ValueError, match="shifter: recording 'small.scan' has no pupil position"):
        fit(scan, EncoderConfig(core=small.core, shifter=ShifterConfig()), quick)
    with pytest.raises(ValueError, match="modulator: the recording has no behaviour"):
        fit(scan, EncoderConfig(core=small.core, modulator=ModulatorConfig()), quick)


def test_a_recording_without_validation_trials_is_refused(scan, small, quick):
    without = scan.with_tiers(np.where(scan.image_index < 20, "test", "train"))
    with pytest.raises(FitError, match="has 0 validation trials, expected at least 2"):
        fit(without, small, quick)
