"""Published models: every recipe is one that can be built, and says what its paper says."""

import numpy as np
import pytest
import torch

from predictive_model.encoders.config import EncoderConfig
from predictive_model.encoders.encoder import Population, build_encoder
from predictive_model.fits.config import FitConfig
from predictive_model.recipes import read_recipe, recipe_names

NAMES = ["lurz2021", "sensorium2022", "sensorium2022ln", "sensorium2022plus", "walker2019"]


def built(name, n_neurons=7):
    positions = np.random.default_rng(0).uniform(0, 500, (n_neurons, 3)).astype(np.float32)
    population = Population(n_neurons, n_behaviour=3, cortical_positions=positions)
    config = EncoderConfig.model_validate(read_recipe(name)["encoder"])
    return build_encoder(config, {"a": population}, image_shape=(1, 36, 64)).eval()


def test_these_are_the_recipes():
    assert recipe_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_holds_nothing_but_known_settings_and_predicts_rates(name):
    assert set(read_recipe(name)) == {"encoder", "fit"}
    FitConfig.model_validate(read_recipe(name)["fit"])
    with torch.no_grad():
        rates = built(name)(
            torch.randn(3, 1, 36, 64), pupil=torch.zeros(3, 2), behaviour=torch.zeros(3, 3)
        )
    assert rates.shape == (3, 7)
    assert (rates >= 0).all()


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(
        ValueError, match="recipe: 'walker', expected one of lurz2021, .*walker2019"
    ):
        read_recipe("walker")


def test_walker_reads_out_every_layer_and_lurz_the_last_only():
    assert built("walker2019").readout["a"].in_shape[0] == 3 * 32
    assert built("lurz2021").readout["a"].in_shape == (64, 28, 56)


def test_a_linear_nonlinear_model_is_linear_up_to_its_output():
    core = built("sensorium2022ln").core
    x, y = torch.randn(2, 1, 1, 36, 64)
    with torch.no_grad():
        zero = core(torch.zeros_like(x))
        torch.testing.assert_close(
            core(x + 2 * y) - zero, core(x) + 2 * core(y) - 3 * zero, rtol=1e-3, atol=1e-4
        )


def test_sensorium_plus_sees_behaviour_beside_the_image():
    encoder = built("sensorium2022plus")
    assert encoder.core.features.layer0.conv.in_channels == 1 + 3
    images, pupil = torch.randn(2, 1, 36, 64), torch.zeros(2, 2)
    with torch.no_grad():
        still = encoder(images, pupil=pupil, behaviour=torch.zeros(2, 3))
        running = encoder(images, pupil=pupil, behaviour=torch.ones(2, 3))
    assert (still - running).abs().max() > 1e-4


def test_neighbours_in_the_cortex_look_at_neighbouring_places():
    """Positions are a smooth function of where neurons lie: the same place, the same position."""
    positions = np.array([[0, 0, 10], [0, 0, 90], [400, 100, 10]], np.float32)
    config = EncoderConfig.model_validate(read_recipe("lurz2021")["encoder"])
    population = Population(3, cortical_positions=positions)
    encoder = build_encoder(config, {"a": population}, image_shape=(1, 36, 64))
    mu = encoder.readout["a"].mu.detach()[0, :, 0]
    torch.testing.assert_close(mu[0], mu[1])
    assert (mu[0] - mu[2]).abs().max() > 0.01
