"""The encoder before it is fitted: initial rates, penalties, inputs, seeds and refusals."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    ModulatorConfig,
    ReadoutConfig,
    ShifterConfig,
)
from predictive_model.encoders.encoder import Population, build_encoder, downsample
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitting import fit
from tests.predictive_model.conftest import small_recording

SHAPE = (1, 10, 12)


def build(config, n_neurons=5, seed=3, **population):
    populations = {"a": Population(n_neurons, **{"n_behaviour": 2} | population)}
    return build_encoder(config, populations, image_shape=SHAPE, seed=seed)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return {
        "images": torch.randn(8, *SHAPE, generator=generator),
        "pupil": torch.randn(8, 2, generator=generator),
        "behaviour": torch.rand(8, 2, generator=generator),
    }


def test_rates_start_at_the_mean_response(small, inputs):
    """With the readout's features at 0 only the bias is left; the nonlinearity is ELU + 1."""
    mean = torch.tensor([0.01, 0.5, 1.0, 2.0, 7.0])
    encoder = build(small, mean_response=mean).eval()
    torch.nn.init.zeros_(encoder.readout["a"].features)
    with torch.no_grad():
        rates = encoder(inputs["images"])
    np.testing.assert_allclose(rates, mean.expand(8, 5), rtol=1e-4)


def test_a_silent_neuron_starts_at_a_finite_bias(small):
    bias = build(small, mean_response=torch.zeros(5)).readout["a"].bias
    assert torch.isfinite(bias).all()


def test_rates_are_never_negative(small, inputs):
    encoder = build(small)
    with torch.no_grad():
        encoder.readout["a"].features.mul_(100)
        assert (encoder(100 * inputs["images"]) >= 0).all()


@pytest.mark.parametrize("position", ["before", "after"])
def test_an_untrained_modulator_changes_nothing(small, inputs, position):
    modulated = small.model_copy(update={"modulator": ModulatorConfig(position=position)})
    plain, modulated = build(small).eval(), build(modulated).eval()
    plain.load_state_dict(modulated.state_dict(), strict=False)
    with torch.no_grad():
        rates = modulated(inputs["images"], behaviour=inputs["behaviour"])
        assert torch.equal(rates, plain(inputs["images"]))


def test_a_gain_after_the_nonlinearity_scales_rates_and_before_it_the_drive(small, inputs):
    rates = {}
    for position in ("before", "after"):
        config = small.model_copy(update={"modulator": ModulatorConfig(position=position)})
        encoder = build(config).eval()
        plain = build(small).eval()
        plain.load_state_dict(encoder.state_dict(), strict=False)
        with torch.no_grad():
            encoder.modulator["a"].mlp[-1].bias.fill_(0.5)
            gain = encoder.modulator["a"].log_gain(inputs["behaviour"]).exp()
            rates[position] = encoder(inputs["images"], behaviour=inputs["behaviour"])
            plain_rates = plain(inputs["images"])
    torch.testing.assert_close(rates["after"], plain_rates * gain)
    drive = torch.where(plain_rates >= 1, plain_rates - 1, torch.log(plain_rates))
    torch.testing.assert_close(rates["before"], F.elu(drive * gain) + 1, rtol=1e-4, atol=1e-5)


def test_a_shift_moves_what_a_neuron_sees(small):
    """Shifted by one column of the map, readouts see what lies one pixel to the right."""
    # One layer only, since the second one pads the map.
    core = small.core.model_copy(update={"layers": 1})
    plain = build(EncoderConfig(core=core)).eval()
    shifted = build(EncoderConfig(core=core, shifter=ShifterConfig())).eval()
    generator = torch.Generator().manual_seed(1)
    wide = torch.randn(4, 1, 10, 13, generator=generator)
    columns = 12 - 5 + 1
    with torch.no_grad():
        plain.load_state_dict(shifted.state_dict(), strict=False)
        shift = torch.tensor([[2 / (columns - 1), 0.0]]).expand(4, 2)
        shifted.shifter["a"].forward = lambda pupil: shift
        left = shifted(wide[..., :-1], pupil=torch.zeros(4, 2))
        right = plain(wide[..., 1:])
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_what_is_missing_is_asked_for(whole, inputs):
    encoder = build(whole)
    with pytest.raises(ValueError, match=r"has a shifter: give pupil, \(batch, 2\)"):
        encoder(inputs["images"], behaviour=inputs["behaviour"])
    with pytest.raises(ValueError, match=r"has a modulator: give behaviour, \(batch, k\)"):
        encoder(inputs["images"], pupil=inputs["pupil"])


def test_downsampling_averages_squares_of_pixels(inputs):
    small = downsample(inputs["images"], 2)
    assert small.shape == (8, 1, 5, 6)
    torch.testing.assert_close(small[:, 0, 1, 2], inputs["images"][:, 0, 2:4, 4:6].mean((1, 2)))
    assert downsample(inputs["images"], 1) is inputs["images"]


# -- penalties -----------------------------------------------------------------------------


def test_the_penalty_does_not_grow_with_the_number_of_neurons(whole):
    """Every neuron twice, with all its parameters, costs the same."""
    one, two = build(whole), build(whole, n_neurons=10)
    twice = two.state_dict()
    for name, value in one.state_dict().items():
        axis = next((i for i, n in enumerate(value.shape) if twice[name].shape[i] == 2 * n), None)
        twice[name] = value if axis is None else torch.cat([value, value], dim=axis)
    two.load_state_dict(twice)
    torch.nn.init.normal_(one.modulator["a"].mlp[-1].weight)
    with torch.no_grad():
        two.modulator["a"].mlp[-1].weight.copy_(one.modulator["a"].mlp[-1].weight.repeat(2, 1))
    assert one.penalty().item() > 0
    assert two.penalty().item() == pytest.approx(one.penalty().item(), rel=1e-5)


def test_the_readouts_penalty_is_the_mean_l1_norm_of_feature_vectors(small):
    readout = ReadoutConfig(gamma=0.5)
    core = small.core.model_copy(update={"gamma_input": 0.0, "gamma_hidden": 0.0})
    encoder = build(EncoderConfig(core=core, readout=readout))
    features = encoder.readout["a"].features.squeeze()  # (channel, neuron)
    expected = 0.5 * features.abs().sum(0).mean()
    assert encoder.penalty().item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_weights_nothing_is_penalised(small):
    core = small.core.model_copy(update={"gamma_input": 0.0})
    assert build(EncoderConfig(core=core, readout=ReadoutConfig(gamma=0))).penalty().item() == 0


# -- seeds ---------------------------------------------------------------------------------


def test_a_seed_makes_the_weights_and_leaves_the_global_one_alone(whole):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(whole).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = build(whole).state_dict(), build(whole, seed=4).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, bad",
    [
        (CoreConfig, {"layers": 0}),
        (CoreConfig, {"hidden_channel": 4}),
        (CoreConfig, {"momentum": 0}),
        (CoreConfig, {"gamma_input": -1}),
        (CoreConfig, {"gamma_input": 0.1, "input_kernel": 1}),
        (CoreConfig, {"input_dropout": 1}),
        (ShifterConfig, {"kind": "linear"}),
        (ShifterConfig, {"gamma": 0.1, "kind": "mlp"}),
        (ReadoutConfig, {"positions": "retinal"}),
        (FitConfig, {"loss": "deviance"}),
        (FitConfig, {"precision": "float16"}),
        (CoreConfig, {"stack": "first"}),
        (ReadoutConfig, {"gauss_type": "round"}),
        (ReadoutConfig, {"init_mu_range": 1.5}),
        (ReadoutConfig, {"init_sigma": 0}),
        (ShifterConfig, {"layers": 0}),
        (ModulatorConfig, {"position": "beside"}),
        (ModulatorConfig, {"hidden_layers": -1}),
        (EncoderConfig, {"downsample": 0}),
        (EncoderConfig, {"shift": None}),
        (FitConfig, {"learning_rate": 0}),
        (FitConfig, {"decay": 1}),
        (FitConfig, {"max_epochs": 0}),
        (FitConfig, {"epochs": 10}),
    ],
)
def test_settings_that_are_unknown_or_impossible_are_refused_by_name(settings, bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        settings(**bad)


def test_settings_cannot_be_changed_once_made(small):
    with pytest.raises(ValidationError, match="frozen"):
        small.downsample = 2


def test_inputs_that_a_recording_lacks_are_refused(small):
    scan = small_recording(behaviour=None, pupil=None)
    with pytest.raises(ValueError, match=r"shifter: recording 'small.scan' has no pupil.*to None"):
        config = small.model_copy(update={"shifter": ShifterConfig()})
        fit(scan, config)
    with pytest.raises(ValueError, match=r"modulator: the recording has no behaviour.*to None"):
        config = small.model_copy(update={"modulator": ModulatorConfig()})
        fit(scan, config)


def test_a_kernel_larger_than_the_image_is_refused(small):
    with pytest.raises(ValueError, match="core.input_kernel: 5 exceeds the image of 3 x 4 pixels"):
        build(small.model_copy(update={"downsample": 3}))
