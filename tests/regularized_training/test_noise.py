from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.robustness.noise import NoiseConfig, accuracy_under_noise, unit_noise


class Brightness(nn.Module):
    """Says 1 to images brighter than one half, 0 to others."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], 1)


def pixels(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of one pixel, 0.1 below or above one half."""
    labels = np.arange(n) % 2
    return np.where(labels, 153, 102).astype(np.uint8).reshape(n, 1, 1, 1), labels


def normal_cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


@pytest.mark.parametrize("clamp", [False, True])
def test_accuracy_of_a_known_observer_is_that_of_signal_detection(clamp: bool) -> None:
    n = 4000
    levels = (0.0, 0.05, 0.1, 0.3)
    config = NoiseConfig(levels=levels, clamp=clamp)
    scores = accuracy_under_noise(Brightness(), *pixels(n), config)
    assert scores.n == n
    assert scores.accuracy[0] == 1
    for level, accuracy in zip(levels[1:], scores.accuracy[1:], strict=True):
        expected = normal_cdf(0.1 / level)
        assert accuracy == pytest.approx(expected, abs=4 * math.sqrt(0.25 / n))


class Inputs(Brightness):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        return super().forward(images)


def random_images(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 1, 5, 7)).astype(np.uint8), np.arange(n) % 2


def test_noise_is_the_same_whatever_the_batch_size_and_the_network() -> None:
    seen = []
    for batch_size in (3, 20):
        network = Inputs()
        config = NoiseConfig(levels=(0.1,), batch_size=batch_size)
        accuracy_under_noise(network, *random_images(20), config)
        seen.append(torch.cat(network.seen))
    assert torch.equal(*seen)


def test_one_draw_is_scaled_by_the_level() -> None:
    network = Inputs()
    images, labels = random_images(20)
    accuracy_under_noise(network, images, labels, NoiseConfig(levels=(0.1, 0.2), clamp=False))
    clean = torch.from_numpy(images) / 255
    torch.testing.assert_close(network.seen[1] - clean, 2 * (network.seen[0] - clean))
    noise = (network.seen[0] - clean) / 0.1
    assert noise.std().item() == pytest.approx(1, abs=0.1)


def test_clamped_images_could_be_shown() -> None:
    network = Inputs()
    accuracy_under_noise(network, *random_images(20), NoiseConfig(levels=(0.5,)))
    assert network.seen[0].min() == 0
    assert network.seen[0].max() == 1


def test_an_image_keeps_its_noise_when_fewer_are_chosen() -> None:
    network = Inputs()
    images, labels = random_images(20)
    config = NoiseConfig(levels=(0.1,), clamp=False, n_images=6)
    scores = accuracy_under_noise(network, images, labels, config)
    assert scores.n == 6
    everything = torch.from_numpy(images) / 255 + 0.1 * unit_noise(np.arange(20), (1, 5, 7), 0)
    for image in network.seen[0]:
        assert (everything - image).abs().amax((1, 2, 3)).min() < 1e-6


def test_another_seed_is_other_noise() -> None:
    a, b = (unit_noise(np.arange(2), (1, 4, 4), seed) for seed in (0, 1))
    assert not torch.equal(a, b)
    assert not torch.equal(a[0], a[1])


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_in_its_mode_with_its_statistics(training: bool) -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), Brightness()).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    accuracy_under_noise(network, *random_images(20), NoiseConfig(levels=(0.1,)))
    assert network.training is training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"levels": ()}, "levels"),
        ({"levels": (-0.1,)}, "levels"),
        ({"levels": (0.1, 0.1)}, "levels"),
        ({"levels": (math.nan,)}, "levels"),
        ({"n_images": 0}, "n_images"),
        ({"batch_size": 0}, "batch_size"),
        ({"sigma": 0.1}, "sigma"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        NoiseConfig.model_validate(fields)


def test_images_and_labels_must_fit() -> None:
    images, labels = random_images(20)
    with pytest.raises(ValueError, match="with 19 labels"):
        accuracy_under_noise(Brightness(), images, labels[:19], NoiseConfig())
    with pytest.raises(ValueError, match="type float64"):
        accuracy_under_noise(Brightness(), images / 255, labels, NoiseConfig())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_images: 21, expected 1 to 20"):
        accuracy_under_noise(Brightness(), images, labels, NoiseConfig(n_images=21))
