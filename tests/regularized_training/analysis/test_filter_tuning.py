"""Gabors of known frequency, orientation and width are found to be tuned to these."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from predictive_model.recordings.gabor import gabor_pairs
from regularized_training.analysis.filter_tuning import filters_of, tuning_of
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig

N, SIDE, SIGMA = 150, 21, 3.0
RNG = np.random.default_rng(0)
ORIENTATION, FREQUENCY = RNG.uniform(0, np.pi, N), RNG.uniform(0.1, 0.3, N)
PLACE = np.tile(np.arange(SIDE) - SIDE // 2, (N, 1)).astype(np.float32)
EVEN, ODD = gabor_pairs(
    PLACE, PLACE, orientation=ORIENTATION, frequency=FREQUENCY, sigma=np.full((N, 2), SIGMA)
)


@pytest.mark.parametrize("colours", [[1.0], [0.3, -0.5, 0.2]])
def test_gabors_are_tuned_to_what_they_were_made_of(colours: list[float]) -> None:
    weights = ODD[:, None] * np.array(colours)[:, None, None]
    found = tuning_of(weights)
    np.testing.assert_allclose(found.frequency, FREQUENCY, atol=0.001)
    off = (found.orientation - np.degrees(ORIENTATION) + 90) % 180 - 90
    assert np.abs(off).max() < 0.1
    # Half of the amplitude of a Gaussian of standard deviation 1 / (2 pi sigma).
    half = np.sqrt(2 * np.log(2)) / (2 * np.pi * SIGMA)
    octaves = np.log2((FREQUENCY + half) / (FREQUENCY - half))
    np.testing.assert_allclose(found.bandwidth, octaves, atol=0.1)
    assert not found.low_pass.any() and not found.silent.any()
    # The longer the wave, the fewer periods are in the envelope.
    fine, coarse = FREQUENCY > 0.25, FREQUENCY < 0.15
    assert found.selectivity[fine].min() > found.selectivity[coarse].max() > 0.5


def test_a_phase_changes_little_and_a_turn_turns_the_orientation() -> None:
    even, turned = tuning_of(EVEN[:, None]), tuning_of(np.rot90(ODD, -1, (1, 2))[:, None])
    np.testing.assert_allclose(even.frequency, FREQUENCY, atol=0.01)
    expected = (np.degrees(ORIENTATION) + 90) % 180  # clockwise on a page whose y goes down
    assert np.abs((turned.orientation - expected + 90) % 180 - 90).max() < 0.1


def test_blobs_are_low_pass_and_checks_are_not() -> None:
    blob = np.exp(-(PLACE[0][:, None] ** 2 + PLACE[0] ** 2) / 8)
    edge = np.zeros((SIDE, SIDE))
    edge[10, 9:12] = 1, 0, -1  # amplitude 2 sin(2 pi f), half of it at 1/12 and 5/12
    check = np.zeros((SIDE, SIDE))
    check[10:12, 10:12] = [[1, -1], [-1, 1]]
    found = tuning_of(np.stack([blob, edge, check, 1e-5 * edge])[:, None])
    assert found.low_pass.tolist() == [True, False, False, False]
    assert found.silent.tolist() == [False, False, False, True]
    np.testing.assert_allclose(found.frequency[:3], [0, 0.25, 0.5**0.5], atol=0.01)
    assert np.isnan(found.orientation[0]) and found.orientation[1] == 0
    angles = np.pi * np.arange(10000) / 10000
    around = np.abs(np.sin(np.pi / 2 * np.cos(angles)))
    resultant = (around * np.cos(2 * angles)).sum() / around.sum()
    assert np.isnan(found.selectivity[0]) and found.selectivity[1] == pytest.approx(
        resultant, abs=1e-3
    )
    np.testing.assert_allclose(found.bandwidth, [np.nan, np.log2(5), np.nan, np.nan], atol=0.01)
    assert np.isnan(found.frequency[3])
    summary = found.summary()
    assert summary["low_pass"] == pytest.approx(1 / 3)
    assert summary["mean_bandwidth"] == pytest.approx(np.log2(5), abs=0.01)
    assert set(tuning_of(np.zeros((0, 1, 0, 0))).summary().values()) == {None}


class Turned(nn.Module):
    """Calls its convolutions in another order than it names them, one of them of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.first = nn.Conv2d(4, 2, 3), nn.Conv2d(3, 4, 5)
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.second(self.first(self.mix(images)))
        return maps.mean((2, 3))


def test_the_first_convolution_is_that_which_is_called_first() -> None:
    network = Turned().train()
    size = (3, 16, 16)
    np.testing.assert_array_equal(filters_of(network, size), network.first.weight.detach())
    np.testing.assert_array_equal(filters_of(network, size, 2), network.second.weight.detach())
    assert network.training
    with pytest.raises(ValueError, match="convolution: 3, expected at most 2"):
        filters_of(network, size, 3)
    assert filters_of(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), size) is None


def test_a_blur_in_front_is_not_counted_and_gabors_of_a_v1_block_are() -> None:
    size = (1, 32, 32)
    v1 = {"field_of_view": 2, "image_size": 32, "stride": 2}
    plain, blurred, gabors = (
        build_network(NetworkConfig.model_validate({"width": 4} | about), 1, 10, seed=0)
        for about in ({}, {"low_pass": 1.0}, {"v1": v1})
    )
    for network in (plain, blurred):
        np.testing.assert_array_equal(filters_of(network, size), filters_of(plain, size))
    found = filters_of(gabors, size)
    assert found is not None and found.shape[1] == 1 and found.shape[2] > 3
