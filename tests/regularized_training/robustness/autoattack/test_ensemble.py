"""The ensemble against networks whose robust accuracy is known, or that hide their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.robustness.autoattack.apgd import apgd
from regularized_training.robustness.autoattack.asked import AskedNetwork, cross_entropy
from regularized_training.robustness.autoattack.config import ATTACKS, AutoAttackConfig
from regularized_training.robustness.autoattack.ensemble import RobustAccuracy, robust_accuracy

SIDE = 6
PATTERNS = np.random.default_rng(0).normal(size=(3, 2 * SIDE * SIDE)).astype(np.float32)


class Linear(nn.Module):
    """Two or three classes of images with two channels: the largest w . (x - 1/2) wins."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(PATTERNS[:n_classes]))

    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5).flatten(1) @ self.weight.T


def task(network: nn.Module, n: int = 30, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images that hold every grey level, and what the network takes them for."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 2, SIDE, SIDE)).astype(np.uint8)
    with torch.no_grad():
        return images, network(torch.from_numpy(images).float() / 255).argmax(1).numpy()


def config(**settings: Any) -> AutoAttackConfig:
    quick = {"n_images": "all", "steps": 40, "queries": 200}
    return AutoAttackConfig.model_validate(quick | settings)


def exact_distance(norm: str, image: np.ndarray, label: int, n_classes: int) -> float:
    """To the closest image of another class, by filling pixels up to the ends of the scale."""
    x = image.ravel() / 255
    found = []
    for other in set(range(n_classes)) - {label}:
        w = (PATTERNS[other] - PATTERNS[label]).astype(float)
        far = -w @ (x - 0.5)
        room, worth = np.where(w > 0, 1 - x, x), np.abs(w)
        if norm == "L1":
            order = np.argsort(-worth)
            room, worth = room[order], worth[order]
            before = np.cumsum(room * worth) - room * worth
            found.append(np.clip((far - before) / worth, 0, room).sum())
            continue
        speed = worth if norm == "L2" else np.ones_like(worth)
        low, high = 0.0, 1e3
        for _ in range(80):
            middle = (low + high) / 2
            enough = np.minimum(middle * speed, room) @ worth > far
            low, high = (low, middle) if enough else (middle, high)
        length = np.minimum(high * speed, room)
        found.append(np.linalg.norm(length) if norm == "L2" else length.max())
    return float(min(found))


@pytest.mark.parametrize(
    ("attacks", "n_classes", "norm"),
    [
        *[(ATTACKS, n, norm) for n in (2, 3) for norm in ("Linf", "L2", "L1")],
        *[(("fab_t",), n, norm) for n in (2, 3) for norm in ("Linf", "L2", "L1")],
        # Of three classes, cross-entropy may follow one that is not the closest.
        *[(("apgd_ce",), 2, norm) for norm in ("Linf", "L2", "L1")],
        *[(("apgd_t",), 3, norm) for norm in ("Linf", "L2")],
    ],
)
def test_robust_accuracy_of_a_linear_classifier_is_exact(
    attacks: tuple[str, ...], n_classes: int, norm: str
) -> None:
    network = Linear(n_classes)
    images, labels = task(network)
    exact = np.array(
        [exact_distance(norm, x, y, n_classes) for x, y in zip(images, labels, strict=True)]
    )
    # Between two images' distances, so that there is room on either side.
    rising = np.sort(exact)
    gaps = [k for k in range(2, 28) if rising[k + 1] > 1.03 * rising[k]][::4]
    epsilons = tuple(float(np.sqrt(rising[k] * rising[k + 1])) for k in gaps)
    found = robust_accuracy(
        network, images, labels, config(norm=norm, epsilons=epsilons, attacks=attacks)
    )
    assert found.clean_accuracy == 1
    accuracies = [found.accuracy(place) for place in range(len(epsilons))]
    expected = [float((exact > epsilon).mean()) for epsilon in epsilons]
    assert len(epsilons) >= 3
    assert accuracies == pytest.approx(expected, abs=1e-9)


class Masked(Linear):
    """The same answers from logits so far apart that the cross-entropy has no gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return 1e5 * super().forward(images)


class Stairs(Linear):
    """The same answers from rounded pixels, which have no gradient at all."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images * 255).round() / 255)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_the_square_attack_needs_no_gradient(norm: str) -> None:
    network = Stairs(3)
    images, labels = task(network)
    exact = [exact_distance(norm, x, y, 3) for x, y in zip(images, labels, strict=True)]
    epsilon = min(2 * float(np.quantile(exact, 0.9)), 1.0)
    masked = config(norm=norm, epsilons=(epsilon,))
    found = robust_accuracy(network, images, labels, masked)
    assert found.first_fooled(0, "fab_t") == 0
    # A random start may lie across the boundary, though no gradient leads there.
    left = 30 - found.first_fooled(0, "apgd_ce") - found.first_fooled(0, "apgd_t")
    assert left >= 15
    assert found.first_fooled(0, "square") >= left / 2


def test_the_ratio_of_logits_finds_what_cross_entropy_of_a_sure_network_cannot() -> None:
    network = Masked(3)
    images, labels = task(network)
    exact = [exact_distance("Linf", x, y, 3) for x, y in zip(images, labels, strict=True)]
    balls = config(norm="Linf", epsilons=(float(np.quantile(exact, 0.5)),))
    kinds = (("apgd_ce",), ("apgd_t",), ("fab_t",))
    alone = [
        robust_accuracy(network, images, labels, balls.model_copy(update={"attacks": kind}))
        for kind in kinds
    ]
    cross_entropy, ratio, boundary = (one.accuracy(0) for one in alone)
    assert cross_entropy > 0.9 and ratio == boundary == 0.5


class Bent(nn.Module):
    """A small network with random weights: five classes, bent boundaries."""

    def __init__(self, n_channels: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.layers = nn.Sequential(
                nn.Conv2d(n_channels, 8, 3, padding=1), nn.Tanh(), nn.Flatten(),
                nn.Linear(8 * SIDE * SIDE, 5),
            )  # fmt: skip
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images - 0.5)


@pytest.mark.parametrize(("norm", "epsilons"), [("Linf", (0.01, 0.05)), ("L1", (0.3, 1.0))])
def test_neither_the_batch_nor_a_second_run_changes_what_is_found(
    norm: str, epsilons: tuple[float, ...]
) -> None:
    network = Bent()
    images, labels = task(network)
    whole = config(norm=norm, epsilons=epsilons, steps=10, queries=40)
    state = torch.get_rng_state()
    network.train()
    first = robust_accuracy(network, images, labels, whole)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training and all(p.requires_grad for p in network.parameters())
    for other in (whole, whole.model_copy(update={"batch_size": 7})):
        again = robust_accuracy(network, images, labels, other)
        np.testing.assert_array_equal(again.smallest, first.smallest)
        np.testing.assert_array_equal(again.first, first.first)


def test_starts_and_squares_go_by_the_seed() -> None:
    network = Bent()
    images, labels = task(network, n=60)
    one = config(norm="Linf", epsilons=(0.03,), attacks=("square",), queries=30)
    found = [
        robust_accuracy(network, images, labels, one.model_copy(update={"seed": seed})).smallest
        for seed in (0, 1)
    ]
    assert (found[0] != found[1]).any()


def test_grey_images_are_attacked_too_and_what_is_wrong_already_is_left_alone() -> None:
    network = Bent(n_channels=1)
    images = np.random.default_rng(2).integers(0, 256, (20, 1, SIDE, SIDE)).astype(np.uint8)
    with torch.no_grad():
        labels = network(torch.from_numpy(images).float() / 255).argmax(1).numpy()
    labels[:3] = (labels[:3] + 1) % 5
    for norm, epsilon in (("Linf", 0.3), ("L2", 3.0), ("L1", 10.0)):
        for attack in ATTACKS:
            ball = config(norm=norm, epsilons=(epsilon,), attacks=(attack,), steps=20)
            found = robust_accuracy(network, images, labels, ball)
            assert found.clean_accuracy == pytest.approx(17 / 20)
            assert found.accuracy(0) <= (0.2 if attack == "square" else 0), (norm, attack)
            lost = 20 * (found.clean_accuracy - found.accuracy(0))
            assert found.first_fooled(0, attack) == pytest.approx(lost)


class Patchy(Linear):
    """Nine pixels of ten are left out, others in each pass: dropout that is never turned off."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(images - 0.5, 0.9) + 0.5)


def test_gradients_averaged_over_a_networks_noise_find_more() -> None:
    """What counts is how the network answers to the attacked images on the mean of many passes."""
    network = Patchy(3)
    images, labels = task(Linear(3), n=100)
    exact = [exact_distance("Linf", x, y, 3) for x, y in zip(images, labels, strict=True)]
    epsilon = float(np.quantile(exact, 0.6))
    x, y = torch.from_numpy(images).float() / 255, torch.from_numpy(labels)
    fooled = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for eot in (1, 30):
            made = apgd(
                AskedNetwork(network, eot), x, y, lambda some: cross_entropy(y[some]),
                torch.zeros_like(x), norm="Linf", epsilon=epsilon, steps=30,
            )  # fmt: skip
            answers = Linear(3)(made).argmax(1)  # the mean over all that dropout may leave
            fooled[eot] = float((answers != y).float().mean())
    assert fooled[30] > fooled[1] + 0.1, fooled


def test_what_a_noisy_network_gets_wrong_by_chance_counts_less_on_the_mean_of_passes() -> None:
    images, labels = task(Linear(3), n=60)
    tiny = config(norm="Linf", epsilons=(1e-6,), attacks=("apgd_ce",), steps=10)
    once = robust_accuracy(Patchy(3), images, labels, tiny)
    on_mean = robust_accuracy(Patchy(3), images, labels, tiny.model_copy(update={"eot": 100}))
    assert on_mean.accuracy(0) > once.accuracy(0) + 0.3
    again = robust_accuracy(Patchy(3), images, labels, tiny)
    np.testing.assert_array_equal(again.smallest, once.smallest)


def test_two_classes_have_no_targeted_ratio() -> None:
    network = Linear(2)
    images, labels = task(network)
    found = robust_accuracy(network, images, labels, config(norm="L2", epsilons=(0.1,)))
    assert found.attacks == ("apgd_ce", "fab_t", "square") and found.n_targets == 1
    with pytest.raises(ValueError, match="needs three classes, of a network with 2"):
        robust_accuracy(network, images, labels, config(attacks=("apgd_t",)))


def test_a_network_that_answers_with_one_number_is_refused() -> None:
    class Single(Linear):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, :1]

    images, labels = task(Linear(2))
    with pytest.raises(ValueError, match=r"answers of shape \(1, 1\).*at least two classes"):
        robust_accuracy(Single(2), images, labels, config())


def test_counts_add_up_over_balls() -> None:
    found = RobustAccuracy(
        index=np.arange(6),
        epsilons=(0.1, 0.2),
        attacks=("apgd_ce", "square"),
        n_targets=1,
        smallest=np.array([-1, 0, 0, 1, 1, 2]),
        first=np.array([-1, 0, 1, 0, 0, -1]),
    )
    assert found.clean_accuracy == pytest.approx(5 / 6)
    assert [found.accuracy(0), found.accuracy(1)] == pytest.approx([0.5, 1 / 6])
    assert [found.first_fooled(1, "apgd_ce"), found.first_fooled(1, "square")] == [3, 1]


def test_the_published_budget_is_the_default() -> None:
    default = AutoAttackConfig()
    assert (default.steps, default.queries, default.n_targets) == (100, 5000, 9)
    assert default.epsilons == (8 / 255,) and AutoAttackConfig(norm="L1").epsilons == (12.0,)
    assert AutoAttackConfig.model_validate(default.model_dump()) == default


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilons": (8.0,)}, r"epsilons: \(8.0,\), .*at most 1"),
        ({"epsilons": (0.2, 0.1)}, "rising"),
        ({"epsilons": (0.0,)}, "above 0"),
        ({"epsilons": ()}, "at least 1"),
        ({"attacks": ("square", "square")}, "each attack once"),
        ({"attacks": ()}, "at least 1"),
        ({"attacks": ("fgsm",)}, "apgd_ce"),
        ({"norm": "L0"}, "norm"),
        ({"eot": 0}, "greater than or equal to 1"),
        ({"restarts": 3}, "restarts"),
    ],
)
def test_impossible_ensembles_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AutoAttackConfig.model_validate(settings)
