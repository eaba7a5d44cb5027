"""Fitting: deterministic, resumable, early-stopped, and the same for merged and single trials."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from predictive_model.checkpoint import CheckpointError
from predictive_model.config import added
from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    FrontEndConfig,
    ModulatorConfig,
    ReadoutConfig,
    ShifterConfig,
)
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitted import FittedEncoder, predict_recording
from predictive_model.fits.fitting import FitError, _Fit, fit, fit_jointly
from predictive_model.fits.trials import predict_trials, stimulus_groups
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.scoring.correlation import correlation
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
    with pytest.raises(FitError, match="in epoch 1; lower fit.learning_rate, now 1e"):
        fit(scan, small, FitConfig(learning_rate=1e30, max_epochs=3))


def test_weights_that_the_last_step_ruined_are_not_taken_for_the_best(scan, small):
    """All losses of the epoch are finite, since they were computed before the step."""
    settings = FitConfig(learning_rate=1e30, max_epochs=1, batch_size=1000)
    with pytest.raises(FitError, match="predictions are not finite in epoch 1; lower fit.learn"):
        fit(scan, small, settings)


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


def test_a_fit_goes_on_under_a_version_that_has_further_settings(scan, small, quick, tmp_path):
    class LaterFit(FitConfig):
        clip: float = added(0.0, since="9.0.0")

    class LaterEncoder(EncoderConfig):
        tilt: bool = added(False, since="9.0.0")

    path = tmp_path / "fit.pt"
    with pytest.raises(Killed):
        fit(scan, small, quick, checkpoint=path, progress=kill_after(1))
    later = LaterEncoder(**dict(small)), LaterFit(**dict(quick))
    assert same(fit(scan, *later, checkpoint=path).state, fit(scan, small, quick).state)


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


def whole_batch(scan, config, settings):
    """A fit of a scan, and its loss over all training trials, positions not sampled."""
    fitting = _Fit([scan], config, settings, 0, torch.device("cpu"))
    fitting.encoder.eval()
    (group,) = fitting.train
    loss, _ = fitting._losses(group, torch.arange(len(group)))
    return fitting, loss


@pytest.mark.parametrize("loss", ["poisson", "mse"])
def test_merged_repeats_give_the_gradients_of_single_trials(small, quick, loss):
    """Where the encoder sees the image only; the loss itself differs by a constant at most."""
    scan = small_recording()
    scan = scan.with_tiers(np.where(scan.image_index < 100, "train", "validation"))
    settings = quick.model_copy(update={"loss": loss})
    found = {}
    for merge in (True, False):
        fitting = _Fit([scan], small, settings, 0, torch.device("cpu"))
        fitting.encoder.eval()
        (group,) = stimulus_groups(fitting.encoder, [scan], "train", merge=merge)
        value, _ = fitting._losses(group, torch.arange(len(group)))
        value.backward()
        gradient = {
            k: p.grad.clone() for k, p in fitting.encoder.named_parameters() if p.grad is not None
        }
        found[merge] = len(group), len(group.scans[0]), value.item(), gradient
    assert (found[True][:2], found[False][:2]) == ((100, 100), (100, 160))
    if loss == "poisson":
        assert found[True][2] == pytest.approx(found[False][2], rel=1e-5)
    assert found[True][3].keys() == found[False][3].keys()
    for name, gradient in found[False][3].items():
        torch.testing.assert_close(found[True][3][name], gradient, rtol=1e-3, atol=1e-6)


def test_the_loss_is_the_poisson_deviance_up_to_a_constant_or_the_squared_error(scan, whole, quick):
    rows = scan.trials_of("train")
    norm = scan.normalisation
    for loss in ("poisson", "mse"):
        fitting, value = whole_batch(scan, whole, quick.model_copy(update={"loss": loss}))
        with torch.no_grad():
            rates = fitting.encoder(
                torch.from_numpy(norm.images(scan.images[scan.image_index[rows]])),
                pupil=torch.from_numpy(norm.pupil(scan.pupil[rows])),
                behaviour=torch.from_numpy(norm.behaviour(scan.behaviour[rows])),
            )
        recorded = torch.from_numpy(norm.responses(scan.responses[rows]))
        if loss == "poisson":
            expected = torch.nn.functional.poisson_nll_loss(
                rates, recorded, log_input=False, eps=1e-12
            )
        else:
            expected = torch.nn.functional.mse_loss(rates, recorded)
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_trials_without_what_an_encoder_goes_by_are_not_predicted(scan, fitted_whole):
    for field in ("pupil", "behaviour"):
        without = replace(scan, **{field: None, "behaviour_names": None})
        with pytest.raises(ValueError, match=f"{field}: recording 'small.scan' has none"):
            predict_recording(fitted_whole, without, "test")


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


def test_negative_responses_are_for_the_squared_error_alone(scan, small, quick):
    negative = replace(scan, responses=scan.responses - scan.responses.mean(0))
    with pytest.raises(FitError, match=r'negative responses, .* the loss "mse" \(fit.loss\)'):
        fit(negative, small, quick)
    fitted = fit(negative, small, quick.model_copy(update={"loss": "mse"}))
    assert np.isfinite(predict_recording(fitted, negative, "test")).all()


# -- scans that share a core ---------------------------------------------------------------


def two_scans(**changes):
    """Two populations that saw the same images, and in the same tiers."""
    first = small_recording(name="first", **changes)
    other = small_recording(seed=0, name="other", **changes)
    return first, replace(other, responses=other.responses[:, ::-1].copy())


def core_of(fitted):
    return {k: v for k, v in fitted.state.items() if k.startswith("core.")}


def test_scans_share_a_core_and_have_their_own_readouts(whole, quick):
    first, other = two_scans()
    a, b = fit_jointly([first, other], whole, quick, seed=1)
    assert same(core_of(a), core_of(b))
    assert (a.data_key, b.data_key) == ("scan_first", "scan_other")
    assert not any("scan_other" in name for name in a.state)
    for scan, fitted in ((first, a), (other, b)):
        predicted = predict_recording(fitted, scan, "test")
        recorded = scan.responses[scan.trials_of("test")]
        assert correlation(predicted, recorded).mean() > 0.2
        predicted = predict_recording(fitted, scan, "validation")
        recorded = scan.responses[scan.trials_of("validation")]
        found = correlation(predicted, recorded).mean()
        assert found == pytest.approx(fitted.validation_correlation, abs=1e-5)


def test_scans_with_other_images_take_turns(small, quick):
    first = small_recording(name="first")
    other = replace(first, name="other", images=255 - first.images)
    a, b = fit_jointly([first, other], small, quick, seed=1)
    assert same(core_of(a), core_of(b))
    fitting = _Fit([first, other], small, quick, 0, torch.device("cpu"))
    assert [len(group.scans) for group in fitting.train] == [1, 1]


def test_one_pass_of_the_core_serves_all_scans_that_saw_an_image(whole, quick):
    """The loss over a shared batch is the mean of those of the scans, computed one by one."""
    scans = two_scans()
    fitting = _Fit(scans, whole, quick, 0, torch.device("cpu"))
    fitting.encoder.eval()
    (group,) = fitting.train
    assert len(group.scans) == 2
    inputs = torch.tensor([5, 3, 40])
    together, _ = fitting._losses(group, inputs)
    alone = []
    for scan in scans:
        (single,) = stimulus_groups(fitting.encoder, [scan], "train")
        alone.append(fitting._losses(single, inputs)[0].item())
    assert together.item() == pytest.approx(np.mean(alone), rel=1e-5)


def test_a_killed_joint_fit_goes_on_to_the_same_weights(whole, quick, tmp_path):
    scans, path = two_scans(), tmp_path / "fit.pt"
    expected = fit_jointly(scans, whole, quick, seed=1)
    with pytest.raises(Killed):
        fit_jointly(scans, whole, quick, seed=1, checkpoint=path, progress=kill_after(2))
    for a, b in zip(
        fit_jointly(scans, whole, quick, seed=1, checkpoint=path), expected, strict=True
    ):
        assert same(a.state, b.state)
        assert a.validation_correlation == b.validation_correlation


@pytest.mark.parametrize(("here", "there"), [("train", "test"), ("validation", "test")])
def test_an_image_has_one_tier_in_all_scans_that_share_a_core(small, quick, here, there):
    first, other = two_scans()
    image = other.images_of(there)[0]
    moved = np.where(other.image_index == image, here, np.asarray(other.tier))
    # The same grey values count as the same image, whatever their type.
    other = replace(other, images=other.images.astype(np.float32), tier=moved)
    with pytest.raises(
        ValueError, match=f"image {image} of 'other' is in the {here} tier, .*{there}"
    ):
        fit_jointly([first, other], small, quick)


def test_an_image_that_is_there_twice_has_one_tier(scan, small, quick):
    images = scan.images.copy()
    images[scan.images_of("train")[0]] = images[scan.images_of("test")[0]]
    with pytest.raises(ValueError, match="an image needs one tier"):
        fit(replace(scan, images=images), small, quick)


def test_scans_may_hold_out_unlike_numbers_of_images(whole, quick):
    """A batch of validation images may have no trials of one of the scans at all."""
    first, other = two_scans()
    few = other.images_of("validation")[2:]
    keep = ~np.isin(other.image_index, few)
    other = replace(
        other,
        image_index=other.image_index[keep],
        responses=other.responses[keep],
        pupil=other.pupil[keep],
        behaviour=other.behaviour[keep],
        tier=np.asarray(other.tier)[keep],
    )
    fitting = _Fit([first, other], whole, quick, 0, torch.device("cpu"))
    predicted = predict_trials(fitting.encoder, fitting.validation, batch_size=4)
    sizes = {key: len(values) for key, values in predicted.items()}
    assert sizes == {"scan_first": len(first.trials_of("validation")), "scan_other": 2}


def test_a_batch_of_other_images_leaves_a_scans_own_parts_alone(small, quick):
    """Neither penalties nor the optimiser's memory move what had no trials in the batch."""
    first = small_recording(name="first")
    other = replace(first, name="other", images=255 - first.images)
    fitting = _Fit([first, other], small, quick, 0, torch.device("cpu"))
    group = fitting.train[0]
    loss, penalty = fitting._losses(group, torch.arange(8))
    (loss + penalty).backward()
    gradients = {k: p.grad is not None for k, p in fitting.encoder.named_parameters()}
    assert all(there for k, there in gradients.items() if "scan_first" in k and "sigma" not in k)
    assert not any(there for k, there in gradients.items() if "scan_other" in k)


def test_scans_that_do_not_go_together_are_refused(small, quick):
    scan = small_recording(name="a.b")
    with pytest.raises(ValueError, match="recordings: none"):
        fit_jointly([], small, quick)
    with pytest.raises(ValueError, match="a.b, a_b are not distinct; '.' and '_' count"):
        fit_jointly([scan, replace(scan, name="a_b")], small, quick)
    with pytest.raises(ValueError, match=r"shapes \[\(1, 10, 11\), \(1, 10, 12\)\], expected one"):
        fit_jointly([scan, replace(scan, name="b", images=scan.images[..., 1:])], small, quick)


# -- front end -----------------------------------------------------------------------------


def test_a_front_end_is_computed_once_standardised_and_stored(scan, quick):
    config = EncoderConfig(
        front_end=FrontEndConfig(gabors=GaborConfig(wavelengths=(4,), pool=2), spots=(1.0,)),
        core=CoreConfig(
            layers=2,
            hidden_channels=4,
            input_kernel=1,
            gamma_input=0,
            input_dropout=0.1,
            output_dropout=0.1,
        ),
        readout=ReadoutConfig(kind="factorised"),
    )
    fitting = _Fit([scan], config, quick, 0, torch.device("cpu"))
    (group,) = fitting.train
    maps = group.images.transpose(0, 1).flatten(1)
    torch.testing.assert_close(maps.mean(1), torch.zeros(len(maps)), atol=1e-4, rtol=0)
    torch.testing.assert_close(maps.std(1), torch.ones(len(maps)), atol=1e-2, rtol=0)
    fitted = fit(scan, config, quick, seed=1)
    again = FittedEncoder.from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(again.predict(scan.images), fitted.predict(scan.images))
    predicted = predict_recording(fitted, scan, "validation")
    recorded = scan.responses[scan.trials_of("validation")]
    found = correlation(predicted, recorded).mean()
    assert found == pytest.approx(fitted.validation_correlation, abs=1e-5)


# -- precision -----------------------------------------------------------------------------


def test_a_core_in_half_precision_learns_nearly_the_same(scan, small, quick, fitted_small):
    settings = quick.model_copy(update={"precision": "bfloat16"})
    fitted = fit(scan, small, settings, seed=1)
    assert all(v.dtype != torch.bfloat16 for v in fitted.state.values())
    assert not same(fitted.state, fitted_small.state)
    assert fitted.validation_correlation == pytest.approx(
        fitted_small.validation_correlation, abs=0.1
    )
