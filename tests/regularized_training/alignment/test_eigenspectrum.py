"""Features of a known power law give its exponent, whatever the layer's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.alignment.eigenspectrum import (
    cross_validated_variances,
    eigenspectra,
    power_law,
    spectrum_of,
)
from regularized_training.alignment.eigenspectrum_config import EigenspectrumConfig
from regularized_training.alignment.gram import Gram
from regularized_training.networks.layer_reader import LayerError

N, SIDE = 300, 16
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 1, SIDE, SIDE)).astype(np.uint8)
LABELS = np.arange(N) % 10
FITTED = {"first_rank": 5, "last_rank": 60, "n_images": N}


def config(**settings: object) -> EigenspectrumConfig:
    return EigenspectrumConfig.model_validate(FITTED | settings)


def principal_axes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the images themselves: directions, and standard deviations along them."""
    flat = IMAGES.reshape(N, -1) / 255.0
    _, deviation, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return axes, deviation


class PowerLaw(nn.Module):
    """Linear features whose variance over these images falls as rank^-exponent, and a rotation."""

    def __init__(self, exponent: float, n_features: int) -> None:
        super().__init__()
        axes, deviation = principal_axes()
        k = min(len(axes), SIDE * SIDE)
        wanted = np.arange(1, k + 1) ** (-exponent / 2)
        mix = np.linalg.qr(np.random.default_rng(1).normal(size=(n_features, k)))[0]
        weights = mix @ ((wanted / deviation[:k])[:, None] * axes[:k])
        self.first = nn.Linear(SIDE * SIDE, n_features, bias=False)
        self.first.weight.data = torch.from_numpy(weights.astype(np.float32))
        self.second = nn.Linear(n_features, 10)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.second(self.first(images.flatten(1)))
        return scores


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.7])
def test_a_layer_of_a_known_power_law_gives_its_exponent(exponent: float) -> None:
    network = PowerLaw(exponent, 400)
    (found,) = eigenspectra(network, ("first",), IMAGES, LABELS, config(batch_size=64))
    assert found.law is not None and found.n_features == 400
    assert found.law.exponent == pytest.approx(exponent, abs=0.01) and found.law.r2 > 0.999
    assert found.variances.sum() == pytest.approx(1)
    expected = np.arange(1, 101) ** -exponent
    np.testing.assert_allclose(found.variances[:100] / found.variances[0], expected, rtol=0.01)


@pytest.mark.parametrize("exponent", [1.5, 2.0])
def test_images_drawn_at_random_give_the_exponent_of_what_they_are_drawn_from(
    exponent: float,
) -> None:
    rng = np.random.default_rng(0)
    deviation = np.arange(1, 1501) ** (-exponent / 2)
    features = rng.normal(size=(1200, 1500)) * deviation
    variances = spectrum_of(Gram.of(features))
    # Of slower ones so few images show less than there is, see docs/what-networks-use.md.
    assert power_law(variances, 11, 120).exponent == pytest.approx(exponent, abs=0.05)


def test_two_repeats_give_the_exponent_without_their_noise() -> None:
    rng = np.random.default_rng(0)
    deviation = np.arange(1, 301) ** -0.5  # an exponent of 1
    mix = np.linalg.qr(rng.normal(size=(300, 300)))[0]
    signal = (rng.normal(size=(800, 300)) * deviation) @ mix
    first, second = (signal + rng.normal(0, 0.1, signal.shape) for _ in range(2))
    shared = cross_validated_variances(first, second)
    assert shared.sum() == pytest.approx(1)
    assert power_law(shared, 5, 80).exponent == pytest.approx(1, abs=0.06)
    assert power_law(spectrum_of(Gram.of(first)), 5, 80).exponent < 0.8  # noise is flat
    same = cross_validated_variances(signal, signal)
    np.testing.assert_allclose(same, spectrum_of(Gram.of(signal)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"shapes \(800, 300\) and \(9, 300\)"):
        cross_validated_variances(first, second[:9])
    with pytest.raises(ValueError, match="share no variance"):
        cross_validated_variances(first, -first)
    with pytest.raises(ValueError, match="2 of ranks 1 to 3 are 0 or less"):
        power_law(np.array([1.0, 0.0, -0.1]), 1, 3)


def test_variances_are_those_of_principal_components_in_any_unit() -> None:
    features = RNG.normal(size=(50, 8)) * np.arange(1, 9) + 100
    expected = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    for scale in (1, 1e6):
        found = spectrum_of(Gram.of(scale * features))
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-6)
    assert len(spectrum_of(Gram.of(np.ones((10, 4))))) == 0


def test_the_fit_weighs_ranks_by_their_inverse() -> None:
    ranks = np.arange(1, 201)
    # Two power laws that meet at rank 20.
    variances = np.where(ranks <= 20, ranks**-0.5, 20**0.5 * ranks**-1.0)
    found = power_law(variances, 1, 200)
    x = np.stack([np.log(ranks), np.ones(200)], 1) / np.sqrt(ranks)[:, None]
    slope, _ = np.linalg.lstsq(x, np.log(variances) / np.sqrt(ranks), rcond=None)[0]
    assert found.exponent == pytest.approx(-slope)
    plain = np.polyfit(np.log(ranks), np.log(variances), 1)[0]
    assert found.exponent < -plain - 0.05  # which the many high ranks decide
    assert 0.9 < found.r2 < 1


def test_layers_come_in_their_order_and_from_a_file_as_from_memory() -> None:
    network, settings = PowerLaw(1.0, 300), config(last_rank=9)
    layers = ("second", "first")
    held = eigenspectra(network, layers, IMAGES, LABELS, settings)
    filed = eigenspectra(network, layers, IMAGES, LABELS, settings, feature_bytes=0)
    assert [one.layer for one in held] == list(layers)
    assert [one.law for one in held] == [one.law for one in filed]


def test_what_cannot_be_fitted_is_refused() -> None:
    network = PowerLaw(1.0, 300)
    # Of some of the layers it is missing: a trained network may have units that say nothing.
    found = eigenspectra(network, ("first", "second"), IMAGES, LABELS, config())
    assert found[0].law is not None and found[1].law is None and len(found[1].variances) == 10
    with pytest.raises(ValueError, match="last_rank: 60, but no layer has .* images: second 10"):
        eigenspectra(network, ("second",), IMAGES, LABELS, config())
    with pytest.raises(LayerError, match="third are not among those"):
        eigenspectra(network, ("third",), IMAGES, LABELS, config())
    with pytest.raises(ValueError, match="n_images: 301, expected 1 to 300"):
        eigenspectra(network, ("first",), IMAGES, LABELS, config(n_images=301))
    with pytest.raises(ValueError, match="ranks: 11 to 60, expected two or more of the 50"):
        power_law(np.ones(50), 11, 60)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_images": 60}, "n_images: 60, expected more than last_rank, 60"),
        ({"first_rank": 60}, "60 and 60, expected the last above the first"),
        ({"first_rank": 0}, "greater than or equal to 1"),
        ({"layers": ("V1", "V1")}, "layers: V1, V1, expected each once"),
        ({"layers": ()}, "at least 1 item"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)
