"""The gain that behaviour gives each neuron."""

import pytest
import torch

from predictive_model.encoders.modulator import LOG_GAIN_LIMIT, Gain


def gain(**changes):
    settings = {"n_neurons": 4, "n_inputs": 2, "hidden_channels": 3, "hidden_layers": 1} | changes
    torch.manual_seed(0)
    return Gain(settings.pop("n_neurons"), settings.pop("n_inputs"), **settings)


@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
def test_an_untrained_gain_is_1_whatever_the_animal_does(hidden_layers):
    x, behaviour = torch.rand(6, 4), 100 * torch.randn(6, 2)
    assert torch.equal(gain(hidden_layers=hidden_layers)(x, behaviour), x)


def test_responses_are_multiplied_by_the_exponential_of_the_log_gain():
    trained, x, behaviour = gain(), torch.rand(6, 4), torch.randn(6, 2)
    torch.nn.init.normal_(trained.mlp[-1].weight)
    torch.testing.assert_close(trained(x, behaviour), x * torch.exp(trained.log_gain(behaviour)))
    torch.testing.assert_close(trained(2 * x, behaviour), 2 * trained(x, behaviour))


def test_without_hidden_layers_small_log_gains_are_linear_in_behaviour():
    trained = gain(hidden_layers=0)
    coefficients = torch.tensor([[0.1, 0.0], [0.0, 0.1], [-0.05, 0.05], [0.0, 0.0]])
    with torch.no_grad():
        trained.mlp[-1].weight.copy_(coefficients)
    behaviour = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    found = trained.log_gain(behaviour)
    torch.testing.assert_close(found, behaviour @ coefficients.T, atol=3e-3, rtol=0)


def test_gains_are_bounded_so_that_no_behaviour_overflows_them():
    trained = gain(hidden_layers=0)
    torch.nn.init.constant_(trained.mlp[-1].weight, 1e6)
    log_gain = trained.log_gain(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    torch.testing.assert_close(
        log_gain, LOG_GAIN_LIMIT * torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    )


def test_the_penalty_is_the_mean_squared_output_weight_whatever_the_number_of_neurons():
    for n in (4, 9):
        fresh = gain(n_neurons=n)
        assert fresh.regularizer().item() == 0
        torch.nn.init.constant_(fresh.mlp[-1].weight, 2.0)
        assert fresh.regularizer().item() == pytest.approx(4)
