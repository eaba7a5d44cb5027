"""A factorised readout sees a weighted mean over places of a weighted sum over features."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from predictive_model.encoders.config import EncoderConfig, ReadoutConfig, ShifterConfig
from predictive_model.encoders.encoder import Population, build_encoder
from predictive_model.encoders.readout import FactorisedReadout

CHANNELS, HEIGHT, WIDTH, NEURONS = 3, 4, 5, 6


@pytest.fixture
def readout() -> FactorisedReadout:
    torch.manual_seed(0)
    return FactorisedReadout(
        (CHANNELS, HEIGHT, WIDTH), NEURONS, torch.arange(6.0), gamma=0.5, smoothness=2.0
    )


def test_output_is_mask_times_features_plus_bias(readout: FactorisedReadout) -> None:
    x = torch.randn(2, CHANNELS, HEIGHT, WIDTH)
    out = readout(x)
    masks = readout.masks.view(NEURONS, HEIGHT, WIDTH)
    for image in range(2):
        for neuron in range(NEURONS):
            expected = readout.bias[neuron] + sum(
                (masks[neuron] * x[image, c]).sum() * readout.features[neuron, c]
                for c in range(CHANNELS)
            )
            assert out[image, neuron].item() == pytest.approx(expected.item(), abs=1e-5)


def test_memory_layout_of_the_features_does_not_matter(readout: FactorisedReadout) -> None:
    x = torch.randn(2, CHANNELS, HEIGHT, WIDTH)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(readout(x), readout(channels_last))


def test_masks_are_not_negative_and_sum_to_one(readout: FactorisedReadout) -> None:
    with torch.no_grad():
        readout.spatial.normal_()
    assert (readout.masks >= 0).all()
    torch.testing.assert_close(readout.masks.sum(1), torch.ones(NEURONS), atol=1e-4, rtol=0)


def test_a_flat_mask_is_not_rough(readout: FactorisedReadout) -> None:
    with torch.no_grad():
        readout.spatial.fill_(0.3)
        readout.features.zero_()
    assert readout.regularizer().item() == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        readout.features[0] = torch.tensor([1.0, -2.0, 0.0])
    assert readout.regularizer().item() == pytest.approx(0.5 * 3)


def test_penalty_does_not_grow_with_the_number_of_neurons() -> None:
    config = EncoderConfig(readout=ReadoutConfig(kind="factorised", gamma=1.0))
    penalties = []
    for n in (5, 10):
        encoder = build_encoder(config, {"a": Population(n)}, image_shape=(1, 16, 20))
        with torch.no_grad():
            encoder.readout["a"].features.fill_(0.1)
        penalties.append(encoder.penalty().item())
    assert penalties[0] == pytest.approx(penalties[1], rel=1e-5)


def test_it_cannot_be_shifted(readout: FactorisedReadout) -> None:
    with pytest.raises(ValueError, match="cannot be shifted"):
        readout(torch.zeros(1, CHANNELS, HEIGHT, WIDTH), shift=torch.zeros(1, 2))
    with pytest.raises(ValidationError, match="factorised readout cannot be shifted"):
        EncoderConfig(readout=ReadoutConfig(kind="factorised"), shifter=ShifterConfig())
