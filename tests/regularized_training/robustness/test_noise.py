from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor, nn

from regularized_training.robustness.draws import BLOCK
from regularized_training.robustness.noise import (
    NoiseConfig,
    NoiseKind,
    accuracy_under_noise,
    add_noise,
    calibration_error,
    unit_noise,
)

KINDS = ("gaussian", "uniform", "salt_and_pepper")


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


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_and_another_image_is_other_noise(kind: NoiseKind) -> None:
    a, b = (unit_noise(np.arange(2 * BLOCK), (1, 4, 4), seed, kind) for seed in (0, 1))
    assert not torch.equal(a, b)
    assert len({image.numpy().tobytes() for image in torch.cat([a, b])}) == 4 * BLOCK


@pytest.mark.parametrize("kind", KINDS)
def test_noise_does_not_depend_on_which_images_are_asked_for(kind: NoiseKind) -> None:
    """Nor on their order, within a block that is drawn at once and across several."""
    everything = unit_noise(np.arange(3 * BLOCK), (1, 3, 5), 7, kind)
    for index in ([2 * BLOCK + 5], [3, 1], [BLOCK - 1, BLOCK, 0, 3 * BLOCK - 1, 3]):
        asked = unit_noise(np.array(index), (1, 3, 5), 7, kind)
        assert torch.equal(asked, everything[index])


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_that_of_a_generator_of_seed_and_block(kind: NoiseKind) -> None:
    """Rows in databases were computed with these numbers."""
    rng, size = np.random.default_rng((7, 1)), (BLOCK, 1 if kind == "salt_and_pepper" else 3, 2, 5)
    expected = (
        rng.standard_normal(size, np.float32)
        if kind == "gaussian"
        else 2 * rng.random(size, np.float32) - 1
    )
    noise = unit_noise(np.arange(BLOCK, 2 * BLOCK), (3, 2, 5), 7, kind).numpy()
    assert np.array_equal(noise, np.broadcast_to(expected, noise.shape))


# -- kinds of noise ------------------------------------------------------------------------


def test_gaussian_noise_is_normal() -> None:
    noise = unit_noise(np.arange(200), (1, 20, 20), 0).numpy().ravel()
    assert stats.kstest(noise, "norm").pvalue > 0.01


def test_uniform_noise_spans_the_half_width_evenly() -> None:
    level = 0.1
    clean = torch.full((200, 1, 20, 20), 0.5)
    noise = unit_noise(np.arange(200), (1, 20, 20), 0, "uniform")
    added = (add_noise(clean, noise, level, "uniform") - clean).numpy().ravel()
    assert np.abs(added).max() <= level + 1e-6
    assert (added.min(), added.max()) == (
        pytest.approx(-level, abs=1e-4),
        pytest.approx(level, abs=1e-4),
    )
    assert added.var() == pytest.approx(level**2 / 3, rel=0.02)
    assert stats.kstest(added, stats.uniform(-level, 2 * level).cdf).pvalue > 0.01


@pytest.mark.parametrize("level", [0.0, 0.02, 0.3, 1.0])
def test_salt_and_pepper_change_the_fraction_of_pixels_asked_for_half_each(level: float) -> None:
    clean = torch.full((100, 1, 20, 20), 0.25)
    noise = unit_noise(np.arange(100), (1, 20, 20), 0, "salt_and_pepper")
    noisy = add_noise(clean, noise, level, "salt_and_pepper")
    white, black = ((noisy == shade).double().mean().item() for shade in (1, 0))
    off = 4 * math.sqrt(level / 2 * (1 - level / 2) / clean.numel())
    assert white == pytest.approx(level / 2, abs=off)
    assert black == pytest.approx(level / 2, abs=off)
    assert ((noisy == 0.25) | (noisy == 0) | (noisy == 1)).all()
    if level in (0, 1):
        assert white + black == level


def test_pixels_changed_by_little_salt_and_pepper_are_among_those_changed_by_more() -> None:
    clean = torch.full((10, 1, 20, 20), 0.25)
    noise = unit_noise(np.arange(10), (1, 20, 20), 0, "salt_and_pepper")
    less, more = (add_noise(clean, noise, level, "salt_and_pepper") for level in (0.1, 0.4))
    changed = less != clean
    assert torch.equal(less[changed], more[changed])
    assert (more != clean).sum() > changed.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_no_noise_leaves_images_as_they_are(kind: NoiseKind) -> None:
    network = Inputs()
    images, labels = random_images(20)
    accuracy_under_noise(network, images, labels, NoiseConfig(kind=kind, levels=(0.0,)))
    torch.testing.assert_close(network.seen[0], torch.from_numpy(images) / 255, rtol=0, atol=0)


def test_accuracy_under_uniform_noise_is_that_of_its_distribution() -> None:
    """Pixels 0.1 from the observer's criterion, which noise of up to 0.4 carries over it."""
    n = 4000
    config = NoiseConfig(kind="uniform", levels=(0.05, 0.4), clamp=False)
    scores = accuracy_under_noise(Brightness(), *pixels(n), config)
    assert scores.accuracy[0] == 1
    assert scores.accuracy[1] == pytest.approx(0.5 + 0.1 / 0.8, abs=4 * math.sqrt(0.25 / n))


def test_accuracy_under_salt_and_pepper_is_that_of_guessing_where_a_pixel_is_changed() -> None:
    n = 4000
    config = NoiseConfig(kind="salt_and_pepper", levels=(0.0, 0.3, 1.0))
    scores = accuracy_under_noise(Brightness(), *pixels(n), config)
    for level, accuracy in zip(config.levels, scores.accuracy, strict=True):
        assert accuracy == pytest.approx(1 - level / 2, abs=4 * math.sqrt(0.25 / n))


# -- confidence and calibration ------------------------------------------------------------


def test_confidence_is_the_probability_of_the_answer() -> None:
    """Logits 0.1 and -0.1 make the softmax of the answer 1 / (1 + exp(-0.2))."""
    config = NoiseConfig(levels=(0.0,))
    scores = accuracy_under_noise(Brightness(), *pixels(40), config)
    expected = 1 / (1 + math.exp(-0.2))
    assert scores.confidence[0] == pytest.approx(expected, abs=1e-6)
    assert scores.calibration_error[0] == pytest.approx(1 - expected, abs=1e-6)


def test_confidence_under_noise_is_the_largest_softmax_of_what_was_seen() -> None:
    network = Inputs()
    images, labels = random_images(20)
    config = NoiseConfig(levels=(0.1, 0.5), batch_size=20)
    scores = accuracy_under_noise(network, images, labels, config)
    for seen, confidence, error in zip(
        network.seen, scores.confidence, scores.calibration_error, strict=True
    ):
        sure, answer = Brightness()(seen).softmax(1).max(1)
        assert confidence == pytest.approx(sure.mean().item(), abs=1e-6)
        right = answer.numpy() == labels
        assert error == pytest.approx(calibration_error(sure.numpy(), right), abs=1e-6)


@pytest.mark.parametrize(
    ("confidence", "correct", "expected"),
    [
        # Tenths 0.5 to 0.6 and 0.9 to 1: |1 - 1.13| / 4 and |2 - 1.86| / 4.
        ([0.55, 0.58, 0.91, 0.95], [True, False, True, True], (0.13 + 0.14) / 4),
        ([1.0, 1.0], [True, True], 0.0),
        ([1.0, 1.0], [False, False], 1.0),
        # Too sure and not sure enough even out within a bin, and do not in two.
        ([0.62, 0.68], [True, False], 0.15),
        ([0.35, 0.65], [True, False], 0.65),
    ],
)
def test_calibration_error_is_that_computed_by_hand(
    confidence: list[float], correct: list[bool], expected: float
) -> None:
    found = calibration_error(np.array(confidence), np.array(correct), n_bins=10)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("too_sure", "expected"), [(0.0, 0.0), (0.1, 0.1), (-0.1, 0.1)])
def test_calibration_error_is_how_much_too_sure_an_observer_is(
    too_sure: float, expected: float
) -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.6, 0.9, 50_000)
    correct = rng.random(50_000) < confidence - too_sure
    assert calibration_error(confidence, correct) == pytest.approx(expected, abs=0.01)


# -- the network and the settings ----------------------------------------------------------


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
        ({"kind": "salt_and_pepper", "levels": (0.5, 1.1)}, "levels: .*fractions of pixels"),
        ({"kind": "pink"}, "kind"),
        ({"batch_size": 0}, "batch_size"),
        ({"sigma": 0.1}, "sigma"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        NoiseConfig.model_validate(fields)


def test_only_fractions_of_pixels_end_at_1() -> None:
    assert NoiseConfig(kind="salt_and_pepper", levels=(1.0,)).levels == (1.0,)
    with pytest.raises(ValidationError, match="levels: .* expected 0 to 2, as pixels"):
        NoiseConfig(levels=(0.0, 8.0))
    assert NoiseConfig(kind="uniform", levels=(1.5,)).levels == (1.5,)


def test_images_and_labels_must_fit() -> None:
    images, labels = random_images(20)
    with pytest.raises(ValueError, match="with 19 labels"):
        accuracy_under_noise(Brightness(), images, labels[:19], NoiseConfig())
    with pytest.raises(ValueError, match="type float64"):
        accuracy_under_noise(Brightness(), images / 255, labels, NoiseConfig())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_images: 21, expected 1 to 20"):
        accuracy_under_noise(Brightness(), images, labels, NoiseConfig(n_images=21))
