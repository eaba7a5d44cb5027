"""The V1 block: its cells, their noise, and networks that it stands before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import spearmanr
from torch import Tensor, nn

from regularized_training.networks.architectures import build_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.networks.saved import network_from_bytes
from regularized_training.networks.v1 import V1Cells, noise_of
from regularized_training.networks.v1_config import V1Config
from regularized_training.networks.v1_tuning import (
    FREQUENCY_COUNTS,
    FREQUENCY_EDGES,
    ORIENTATION_COUNTS,
    ORIENTATION_EDGES,
    SIZE_COUNTS,
    SIZE_EDGES,
    draw_cells,
)
from regularized_training.robustness.autoattack.config import AutoAttackConfig
from regularized_training.robustness.autoattack.ensemble import robust_accuracy
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.training import train
from regularized_training.training_config import TrainingConfig

# Of images of 32 pixels that span two degrees.
SMALL: dict[str, Any] = {"field_of_view": 2, "image_size": 32, "stride": 2}
RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.random((4, 3, 32, 32), np.float32))


def config(architecture: str = "resnet18", **v1: Any) -> NetworkConfig:
    width = {} if ":" in architecture else {"width": 4}
    described = {"architecture": architecture, **width, "v1": SMALL | v1}
    return NetworkConfig.model_validate(described)


def cells_of(n_channels: int = 3, simple: int = 5, complex: int = 6, **settings: Any) -> V1Cells:
    return V1Cells(V1Config.model_validate(SMALL | settings), n_channels, simple, complex).eval()


# Cells


@pytest.mark.parametrize("n_channels", [1, 3])
def test_responses_are_those_of_cells_one_by_one(n_channels: int) -> None:
    cells = cells_of(n_channels, noise="off", gain=7)
    images = 2 * IMAGES[:2, :n_channels] - 1
    found = cells(images).numpy()
    settings = cells.config
    side, half, per_degree = 15, 7, 16
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (half, half), (half, half)))
    for number in range(11):
        kind, place = divmod(number, 5) if number < 5 else (1, number - 5)
        drawn = draw_cells((5, 6)[kind], settings, n_channels, np.random.default_rng([0, kind]))
        turn, phase = drawn.orientation[place], drawn.phase[place]
        f = drawn.frequency[place] / per_degree
        wide, long = drawn.across[place] / f, drawn.along[place] / f
        for row, column in ((0, 0), (3, 9), (15, 15)):  # at every second pixel
            dot = {0.0: 0.0, math.pi / 2: 0.0}
            for ahead in dot:
                for i in range(side):
                    for j in range(side):
                        x, y = j - half, i - half
                        u = x * math.cos(turn) + y * math.sin(turn)
                        v = -x * math.sin(turn) + y * math.cos(turn)
                        gabor = math.exp(-(u**2 / wide**2 + v**2 / long**2) / 2)
                        gabor *= math.cos(2 * math.pi * f * u + phase + ahead)
                        gabor /= 2 * math.pi * wide * long
                        pixel = padded[1, drawn.channel[place], 2 * row + i, 2 * column + j]
                        dot[ahead] += gabor * float(pixel)
            even, odd = dot.values()
            expected = 7 * (math.hypot(even, odd) / math.sqrt(2) if kind else max(0.0, even))
            assert found[1, number, row, column] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_cells_are_tuned_as_published() -> None:
    n = 100_000
    cells = draw_cells(n, V1Config(), 3, np.random.default_rng(0))
    for values, edges, counts in (
        (np.rad2deg(cells.orientation), ORIENTATION_EDGES, ORIENTATION_COUNTS),
        (cells.frequency, FREQUENCY_EDGES, FREQUENCY_COUNTS),
        (cells.phase, np.linspace(0, 2 * np.pi, 5), np.ones(4)),
        (cells.channel, np.arange(4), np.ones(3)),
    ):
        found = np.histogram(values, edges)[0] / n
        np.testing.assert_allclose(found, counts / counts.sum(), atol=0.006)
    joint = np.histogram2d(cells.across, cells.along, (SIZE_EDGES, SIZE_EDGES))[0] / n
    np.testing.assert_allclose(joint, SIZE_COUNTS / SIZE_COUNTS.sum(), atol=0.006)
    # A Gaussian copula of correlation r has the rank correlation 6 / pi asin(r / 2).
    expected = 6 / np.pi * np.arcsin(0.75 / 2)
    assert spearmanr(cells.frequency, cells.across)[0] == pytest.approx(expected, abs=0.01)


def test_the_published_histograms_are_all_there() -> None:
    counts = (ORIENTATION_COUNTS, FREQUENCY_COUNTS, SIZE_COUNTS)
    assert [int(c.sum()) for c in counts] == [246, 139, 79]
    assert all(len(e) == len(c) + 1 for e, c in ((ORIENTATION_EDGES, ORIENTATION_COUNTS),
                                                 (FREQUENCY_EDGES, FREQUENCY_COUNTS)))  # fmt: skip


def test_the_size_of_gabors_follows_from_pixels_in_a_degree() -> None:
    published = V1Config()
    assert (published.pixels_per_degree, published.kernel_size) == (28, 25)
    assert published.cells(width=64) == (256, 256)
    small = V1Config.model_validate(SMALL)
    assert (small.kernel_size, small.highest_frequency) == (15, 8)
    coarse = V1Config(field_of_view=8, image_size=32)
    drawn = draw_cells(2000, coarse, 1, np.random.default_rng(0))
    # Half of four pixels in a degree.
    assert coarse.highest_frequency == 2 and 1.9 < drawn.frequency.max() < 2


def test_the_seed_decides_cells_and_fewer_are_the_first_of_more() -> None:
    one, again, other = cells_of(), cells_of(), cells_of(seed=1)
    assert torch.equal(one.gabors, again.gabors)
    assert not torch.equal(one.gabors, other.gabors)
    more = cells_of(simple=9)
    assert torch.equal(more.gabors[:5], one.gabors[:5])
    assert torch.equal(more.gabors[9:], one.gabors[5:])


# Noise


def test_the_variance_of_noise_is_its_mean() -> None:
    """In spikes, of responses so strong that rectification has no part in it."""
    cells = cells_of(gain=3000)
    images = (2 * IMAGES[:1] - 1).expand(4000, -1, -1, -1)[..., :8, :8]
    with noise_of(cells, "off"):
        response = cells(images[:1])
    torch.manual_seed(0)
    spikes = 0.35 * cells(images) + 0.07
    mean = 0.35 * response[0] + 0.07
    strong = mean > 40  # more than six standard deviations above 0
    assert strong.sum() > 20
    # Sampling errors of 4,000 draws.
    torch.testing.assert_close(
        spikes.mean(0)[strong], mean[strong], rtol=0, atol=float(5 * (mean.max() / 4000) ** 0.5)
    )
    torch.testing.assert_close(spikes.var(0)[strong], mean[strong], rtol=0.12, atol=0)
    assert (cells(images[:9]) >= 0).all()


@pytest.mark.parametrize(
    ("noise", "in_training", "in_evaluation"),
    [
        ("on", True, True),
        ("training", True, False),
        ("fixed", True, False),
        ("off", False, False),
    ],
)
def test_noise_is_drawn_anew_where_the_setting_says(
    noise: str, in_training: bool, in_evaluation: bool
) -> None:
    cells = cells_of(noise=noise)

    def differs() -> bool:
        return not torch.equal(cells(IMAGES), cells(IMAGES))

    assert differs() is in_evaluation
    cells.train()
    assert differs() is in_training
    cells.eval()
    with noise_of(cells, "off"):
        silent = cells(IMAGES)
    assert torch.equal(cells(IMAGES), silent) is (noise in ("training", "off"))


def test_fixed_noise_is_the_same_for_an_image_whatever_comes_with_it() -> None:
    network = build_network(config(), 3, 10, seed=0).eval()
    cells = network.get_submodule("stem.cells")
    with noise_of(network, "fixed", seed=4):
        together = cells(IMAGES)
        torch.rand(7)
        alone = torch.cat([cells(image[None]) for image in IMAGES])
        assert torch.equal(cells(IMAGES), together)
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    with noise_of(network, "fixed", seed=5):
        assert not torch.allclose(cells(IMAGES), together, atol=0.1)
    assert cells.noise == "own"


def test_gradients_reach_the_image_and_are_finite_where_nothing_responds() -> None:
    network = build_network(config(), 3, 10, seed=0)
    for images in (IMAGES.clone(), torch.full_like(IMAGES, 0.5)):  # grey: no cell responds
        images.requires_grad_(True)
        for noise in ("on", "fixed", "off"):
            with noise_of(network, noise):
                (gradient,) = torch.autograd.grad(network(images).square().sum(), images)
            assert torch.isfinite(gradient).all()
            if images[0, 0, 0, 0] != 0.5:
                assert gradient.abs().max() > 0


def test_fixed_noise_has_the_gradient_of_finite_differences() -> None:
    cells = cells_of(1, noise="fixed").double()
    image = (2 * IMAGES[:1, :1, :8, :8] - 1).double().requires_grad_(True)
    cells(image)  # the draw is of this type from now on
    assert torch.autograd.gradcheck(lambda x: cells(x).square(), (image,), atol=1e-4, eps=1e-6)


# Networks


@pytest.mark.parametrize("architecture", ["resnet18", "cornet_z", "cornet_s", "vgg16", "vgg19_bn"])
def test_it_stands_in_for_the_first_stage(architecture: str) -> None:
    """What comes after it is the same network, and the cells are what is compared as V1."""
    plain = build_network(NetworkConfig(architecture=architecture, width=4), 3, 10, seed=0)
    described = config(architecture, stride=1)
    network = build_network(described, 3, 10, seed=0)
    names = set(network.state_dict()) - set(plain.state_dict())
    (bottleneck,) = names
    first, *later = compared_layers(described)
    assert bottleneck == first.replace("cells", "bottleneck.weight")
    assert later == list(compared_layers(architecture))[1:]
    # 256 + 256 cells of a network of width 64, into the 4 channels of this one.
    assert network.state_dict()[bottleneck].shape == (4, 32, 1, 1)
    seen, *_ = LayerReader(network, (first, *later))(IMAGES)
    assert seen.shape == (4, 32, 32, 32) and (seen >= 0).all()
    assert network(IMAGES).shape == (4, 10)


def test_it_stands_before_a_residual_network_as_published() -> None:
    v1 = NetworkConfig.model_validate({"architecture": "torchvision:resnet50", "v1": {}})
    with torch.device("meta"):
        network = build_network(v1, 3, 1000, seed=0)
        plain = build_network(NetworkConfig(architecture="torchvision:resnet50"), 3, 1000, seed=0)
    n, before = (sum(p.numel() for p in one.parameters()) for one in (network, plain))
    # Convolution and normalisation go, the bottleneck comes.
    assert n == before - 3 * 64 * 49 - 2 * 64 + 512 * 64
    block = network.get_submodule("network.conv1")
    assert block(torch.zeros(1, 3, 224, 224)).shape == (1, 64, 56, 56)


def test_its_images_are_standardised_by_one_half() -> None:
    network = build_network(config(), 1, 10, seed=0)
    normalise = network.get_submodule("normalise")
    torch.testing.assert_close(
        normalise(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)).flatten(),
        torch.tensor([-1.0, 0.0, 1.0]),
    )


class Others(nn.Module):
    def __init__(self, n_channels: int, n_classes: int, *, normalised: bool = True) -> None:
        super().__init__()
        from regularized_training.networks.normalisation import Normalise

        self.normalise = Normalise(n_channels) if normalised else nn.Identity()
        self.first = nn.Conv2d(n_channels, 7, 5, 2, 2)
        self.norm = nn.BatchNorm2d(7)
        self.rest = nn.Conv2d(7, n_classes, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.rest(self.norm(self.first(self.normalise(images))).relu()).mean((2, 3))


OTHERS = f"{__name__}:Others"


def test_it_stands_before_the_networks_of_others_that_say_where() -> None:
    described = config(OTHERS, replaces=["first", "norm"])
    network = build_network(described, 3, 10, seed=0)
    assert network(IMAGES).shape == (4, 10)
    assert network.get_parameter("first.bottleneck.weight").shape == (7, 512, 1, 1)
    assert isinstance(network.get_submodule("norm"), nn.Identity)


@pytest.mark.parametrize(
    ("v1", "options", "message"),
    [
        ({}, {}, r"v1.replaces: which modules of .*:Others the block stands in for is not known"),
        ({"replaces": ["stem"]}, {}, "v1.replaces: stem are no modules of Others; expected some"),
        ({"replaces": ["norm"]}, {}, "v1.replaces: no convolution in norm"),
        (
            {"replaces": ["first"]},
            {"normalised": False},
            "v1: given, but .*Others does not begin with .*Normalise, which that is for",
        ),
    ],
)
def test_a_first_stage_that_is_not_there_is_refused(
    v1: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        described = {"architecture": OTHERS, "options": options, "v1": SMALL | v1}
        build_network(NetworkConfig.model_validate(described), 3, 10, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simple": 0, "complex": 0}, "simple, complex: 0, expected cells"),
        ({"field_of_view": 32, "image_size": 32}, "show no more than 0.5 cycles per degree"),
        ({"correlation": 1.1}, "correlation"),
        ({"noise": "poisson"}, "noise"),
        ({"replaces": []}, "replaces"),
        ({"max_frequency": 0.5}, "max_frequency"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        V1Config.model_validate(settings)


def test_networks_without_it_are_known_as_before() -> None:
    assert "v1" not in NetworkConfig().described()
    assert config().needs() == "0.2.0"


def test_results_call_it_by_what_is_not_published() -> None:
    assert str(V1Config()) == "V1 block"
    described = V1Config(field_of_view=2, image_size=32, noise="fixed", replaces=("conv1",))
    assert str(described) == "V1 block, field of view 2.0, image size 32, noise fixed"


# Training and attacks


def task() -> ImageTask:
    """Stripes across or along, with noise."""
    rng = np.random.default_rng(1)
    labels = np.arange(160) % 2
    stripes = 60 * np.sin(2 * np.pi * (np.arange(16) / 6 + rng.random((160, 1))))
    across = np.broadcast_to(stripes[:, None, :], (160, 16, 16))
    light = np.where(labels[:, None, None] == 0, across, across.swapaxes(1, 2))
    images = (128 + light + rng.uniform(-40, 40, light.shape)).astype(np.uint8)[:, None]
    return ImageTask(
        name="stripes",
        train_images=images[:128],
        train_labels=labels[:128],
        test_images=images[128:],
        test_labels=labels[128:],
        classes=("across", "along"),
    )


TRAINED = config(stride=4).model_copy(update={"width": 8})
TRAINING = TrainingConfig(
    epochs=4,
    batch_size=16,
    learning_rate=0.01,
    schedule="constant",
    augment=AugmentConfig(padding=0, flip=False),
)


@pytest.fixture(scope="module")
def trained() -> Any:
    return train(task(), TRAINED, TRAINING, seed=0)


def test_it_trains_in_the_one_loop_and_its_seed_decides_it(trained: Any) -> None:
    assert trained.history[-1].task_loss < trained.history[0].task_loss / 2
    assert trained.history[-1].test_accuracy > 0.8
    torch.manual_seed(3)  # of what others draw nothing depends on
    again = train(task(), TRAINED, TRAINING, seed=0)
    assert all(torch.equal(trained.state_dict[n], again.state_dict[n]) for n in again.state_dict)
    assert [r.test_loss for r in again.history] == [r.test_loss for r in trained.history]


def test_it_is_saved_and_read_to_the_bit(trained: Any) -> None:
    images = torch.from_numpy(task().test_images).float() / 255
    network, read = trained.network(), network_from_bytes(trained.to_bytes())
    for noise in ("fixed", "off"):
        with noise_of(network, noise), noise_of(read, noise), torch.no_grad():
            assert torch.equal(network(images), read(images))
    # No more than the bottleneck is stored of the block.
    stored = {name for name in trained.state_dict if name.startswith("stem")}
    assert stored == {"stem.bottleneck.weight"}


def test_it_is_attacked_by_expectation_over_its_noise(trained: Any) -> None:
    """A large ball leaves nothing; the attack's seed decides it."""
    images, labels = task().test_images, task().test_labels
    tiny = AutoAttackConfig(
        epsilons=(1e-4, 0.5), attacks=("apgd_ce",), n_images="all", steps=5, eot=3
    )
    network = trained.network()
    found = robust_accuracy(network, images, labels, tiny)
    assert found.accuracy(1) < 0.2 < found.accuracy(0)
    again = robust_accuracy(network, images, labels, tiny)
    np.testing.assert_array_equal(found.smallest, again.smallest)


def test_fixed_noise_is_attacked_as_a_network_without_chance(trained: Any) -> None:
    """What an image's robustness is does not depend on the batch it is in."""
    images, labels = task().test_images, task().test_labels
    found = [
        robust_accuracy(
            trained.network(),
            images,
            labels,
            AutoAttackConfig(
                epsilons=(0.01, 0.1),
                attacks=("apgd_ce",),
                n_images="all",
                steps=5,
                noise="fixed",
                batch_size=size,
            ),
        )
        for size in (32, 5)
    ]
    np.testing.assert_array_equal(found[0].smallest, found[1].smallest)
    assert "noise" not in AutoAttackConfig().described()
