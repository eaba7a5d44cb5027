"""Responses to held-out stimuli, predicted from a network: of populations that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictive_model.encoders.config import ReadoutConfig
from predictive_model.recordings.repeats import Repeats
from predictive_model.recordings.stimuli import natural_stimuli
from regularized_training.alignment import prediction
from regularized_training.alignment.prediction import (
    PredictionConfig,
    fit_readout,
    neural_prediction,
    predict_responses,
    score_prediction,
)
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerError
from regularized_training.teachers.responses import ResponseTeacher

NETWORK = NetworkConfig(architecture="vgg19_bn", width=4)
LAYER = "features.9"  # conv2-1: 8 maps of 16 x 16
N_NEURONS, N_STIMULI, N_REPEATS = 12, 600, 8
HELD_OUT = np.arange(500, N_STIMULI)
CONFIG = PredictionConfig(layer=LAYER, epochs=15, batch_size=50, learning_rate=0.03)


class Population(nn.Module):
    """Neurons that each see one place of a layer's maps, whatever its scale."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.places = torch.tensor(rng.integers(5, 11, (2, N_NEURONS)))
        self.weights = torch.tensor(rng.normal(size=(N_NEURONS, 8)), dtype=torch.float32)

    def forward(self, features: Tensor) -> Tensor:
        seen = features[:, :, self.places[0], self.places[1]]  # (batch, channels, neuron)
        drive = torch.einsum("bcn,nc->bn", seen, self.weights)
        return 20 * torch.sigmoid(2 * drive)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Untrained, but normalised by what it sees of the stimuli."""
    network = build_network(NETWORK, 1, 10, seed=0)
    with torch.no_grad():
        for _ in range(20):
            network(torch.from_numpy(natural_stimuli(100, (32, 32))).float() / 255)
    return network


@pytest.fixture(scope="module")
def stimuli() -> NDArray[np.uint8]:
    return natural_stimuli(N_STIMULI, (32, 32), seed=1)


@pytest.fixture(scope="module")
def rates(network: nn.Module, stimuli: NDArray) -> NDArray[np.float32]:
    return predict_responses(network, LAYER, Population(), stimuli, n_channels=1)


def test_predictions_are_what_the_readout_says_of_the_layer(
    network: nn.Module, stimuli: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "BATCH", 7)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    said = predict_responses(network, LAYER, Population(), stimuli[:20], n_channels=1)
    assert network.training
    assert all(torch.equal(network.state_dict()[name], v) for name, v in before.items())
    seen: list[Tensor] = []
    network.eval().get_submodule(LAYER).register_forward_hook(
        lambda _, __, out: seen.append(out.clone())
    )
    with torch.no_grad():
        network(torch.from_numpy(stimuli[:20]).float() / 255)
        expected = Population()(seen[0])
    np.testing.assert_allclose(said, expected.numpy(), rtol=1e-4)


def test_a_readout_that_knows_the_truth_reaches_the_ceiling(
    network: nn.Module, stimuli: NDArray, rates: NDArray
) -> None:
    """Poisson neurons with repeats: of the signal nothing is left to explain."""
    rng = np.random.default_rng(0)
    counts = np.full(N_STIMULI, N_REPEATS)
    trials = Repeats(rng.poisson(np.repeat(rates, counts, axis=0)), counts)
    found = score_prediction(network, LAYER, Population(), stimuli, trials, n_channels=1)
    assert found.ceilings is not None and found.cc_norm is not None
    assert found.to_average is not None
    assert (found.ceilings.cc_max < 0.999).all()
    np.testing.assert_allclose(found.cc_norm, 1, atol=0.05)
    np.testing.assert_allclose(found.to_average, found.ceilings.cc_max, atol=0.05)
    np.testing.assert_allclose(found.single_trial, found.ceilings.single_trial, atol=0.05)


def test_neurons_that_read_the_layer_are_predicted_for_stimuli_never_shown(
    network: nn.Module, stimuli: NDArray, rates: NDArray
) -> None:
    """Better than from the first layer, in whatever unit; and not by responses to other stimuli."""
    teacher = ResponseTeacher("truth", stimuli, rates, HELD_OUT)
    found = neural_prediction(network, teacher, CONFIG, n_channels=1)
    assert found.ceilings is None, "nobody knows without repeats"
    assert found.single_trial.shape == (N_NEURONS,)
    assert np.median(found.single_trial) > 0.9
    first = CONFIG.model_copy(update={"layer": "features.2"})
    of_first = neural_prediction(network, teacher, first, n_channels=1)
    assert np.median(of_first.single_trial) < np.median(found.single_trial) - 0.15
    # In spikes per hour, and with a neuron that never answers.
    scaled = np.concatenate([rates * 1000, np.zeros((N_STIMULI, 1), np.float32)], axis=1)
    other = neural_prediction(network, replace(teacher, responses=scaled), CONFIG, n_channels=1)
    assert np.median(other.single_trial[:-1]) > 0.9
    assert other.single_trial[-1] == 0
    wrong = np.roll(rates, 1, axis=0)
    wrong[HELD_OUT] = rates[HELD_OUT]
    unrelated = replace(teacher, responses=wrong)
    found = neural_prediction(network, unrelated, CONFIG, n_channels=1)
    assert abs(np.median(found.single_trial)) < 0.25


def test_held_out_responses_change_nothing_about_the_readout(
    network: nn.Module, stimuli: NDArray, rates: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it matter whether features are held or read for every batch."""
    config = CONFIG.model_copy(update={"epochs": 2})
    spoilt = rates.copy()
    spoilt[HELD_OUT] = 100
    first, second, third = (
        fit_readout(network, ResponseTeacher("t", stimuli, r, HELD_OUT), c, n_channels=1)
        for r, c in ((rates, config), (spoilt, config), (rates, replace_seed(config, 1)))
    )
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(first.predictor.readout.features, third.predictor.readout.features)
    monkeypatch.setattr(prediction, "FEATURE_BYTES", 0)
    teacher = ResponseTeacher("t", stimuli, rates, HELD_OUT)
    again = fit_readout(network, teacher, config, n_channels=1)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def replace_seed(config: PredictionConfig, seed: int) -> PredictionConfig:
    return config.model_copy(update={"seed": seed})


def test_the_readout_of_a_lesson_is_asked_instead_of_a_new_one(
    network: nn.Module, stimuli: NDArray, rates: NDArray
) -> None:
    teacher = ResponseTeacher("truth", stimuli, rates, HELD_OUT)
    found = neural_prediction(network, teacher, CONFIG, n_channels=1, readout=Population())
    np.testing.assert_allclose(found.single_trial, 1, atol=1e-6)
    with pytest.raises(ValueError, match=r"readout: predicts \(8,\), expected \(12,\)"):
        neural_prediction(
            network, teacher, CONFIG, n_channels=1, readout=lambda features: features[:, :, 0, 0]
        )


def test_a_factorised_readout_can_be_fitted_too(
    network: nn.Module, stimuli: NDArray, rates: NDArray
) -> None:
    readout = ReadoutConfig(kind="factorised", gamma=0.0)
    config = CONFIG.model_copy(update={"readout": readout, "epochs": 1})
    teacher = ResponseTeacher("truth", stimuli, rates, HELD_OUT)
    assert neural_prediction(network, teacher, config, n_channels=1).single_trial.mean() > 0.2


def test_what_cannot_be_judged_is_refused(
    network: nn.Module, stimuli: NDArray, rates: NDArray
) -> None:
    teacher = ResponseTeacher("truth", stimuli, rates, HELD_OUT)
    with pytest.raises(ValueError, match="'truth' holds out 0 of its 600 stimuli, expected at"):
        neural_prediction(network, replace(teacher, held_out=[]), CONFIG, n_channels=1)
    with pytest.raises(LayerError, match=r"conv3_1 are not among .*features\.0"):
        config = CONFIG.model_copy(update={"layer": "conv3_1"})
        neural_prediction(network, teacher, config, n_channels=1)
    with pytest.raises(ValueError, match="batch_size: 501, expected 2 to 500"):
        config = CONFIG.model_copy(update={"batch_size": 501})
        neural_prediction(network, teacher, config, n_channels=1)
    with pytest.raises(ValueError, match="responses: of 600 stimuli, expected 5"):
        score_prediction(network, LAYER, Population(), stimuli[:5], rates, n_channels=1)
