"""Attacks on networks with a known distance to the boundary, and beside Foolbox alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.robustness.attack_config import (
    BOUNDARY_STEP_SIZES,
    PGD_STEP_SIZES,
    PGD_STEPS,
    AttackConfig,
)
from regularized_training.robustness.attacks import (
    LEVELS_AN_OCTAVE,
    OCTAVES,
    AdversarialDistances,
    adversarial_distances,
)
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.pgd import unit_starts

# Where the solvers are not yet compiled, one process compiles them while another has other work.
pytestmark = [pytest.mark.xdist_group("foolbox"), pytest.mark.timeout(600)]

SIDE = 6
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(SIDE, SIDE)).astype(np.float32)


class Linear(nn.Module):
    """Two classes on either side of a plane through mid-grey: w . (x - 1/2) below or above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(WEIGHTS))

    def forward(self, images: Tensor) -> Tensor:
        margin = ((images[:, 0] - 0.5) * self.weight).sum((1, 2))
        return torch.stack([-margin, margin], 1)


def images_beside_the_plane(n: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Greyish images, half on either side, their classes, and how far each margin is from 0."""
    images = RNG.integers(90, 166, (n, 1, SIDE, SIDE)).astype(np.uint8)
    margin = ((images[:, 0] / 255 - 0.5) * WEIGHTS).sum((1, 2))
    return images, (margin > 0).astype(np.int64), np.abs(margin)


def least_perturbation(norm: str, images: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Exact distance to the plane; pixels have room enough in L2 and Linf."""
    if norm == "L2":
        return margin / np.linalg.norm(WEIGHTS)
    if norm == "Linf":
        return margin / np.abs(WEIGHTS).sum()
    distances = []
    for image, far in zip(images[:, 0] / 255, margin, strict=True):
        side = np.sign(((image - 0.5) * WEIGHTS).sum())
        # How far each pixel may go toward the plane, and what that is worth.
        room = np.where(WEIGHTS * side > 0, image, 1 - image).ravel()
        worth = np.abs(WEIGHTS).ravel()
        if norm == "L0":
            gained = np.cumsum(np.sort(room * worth)[::-1])
            distances.append(np.searchsorted(gained, far) + 1)
            continue
        used = left = 0.0
        left = far
        for i in np.argsort(-worth):
            step = min(room[i], left / worth[i])
            used, left = used + step, left - step * worth[i]
        distances.append(used)
    return np.array(distances)


@pytest.mark.parametrize(("norm", "off"), [("L2", 0.01), ("Linf", 0.02), ("L1", 0.05), ("L0", 0)])
def test_the_boundary_attack_finds_the_distance_to_a_plane(norm: str, off: float) -> None:
    images, labels, margin = images_beside_the_plane()
    config = AttackConfig(
        method="brendel_bethge", norm=norm, step_sizes=(0.03, 0.3), steps=(60,), n_images="all"
    )
    found = adversarial_distances(Linear(), images, labels, config)
    exact = least_perturbation(norm, images, margin)
    assert not found.failed.any() and not found.misclassified.any()
    # No adversarial image can be closer than the plane.
    assert (found.distance >= exact * (1 - 1e-4)).all()
    if norm == "L0":
        assert np.median(found.distance - exact) <= 1
    else:
        assert np.median(found.distance / exact) == pytest.approx(1, abs=off)


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_pgd_finds_the_distance_to_a_plane_to_the_fineness_of_its_balls(norm: str) -> None:
    images, labels, margin = images_beside_the_plane()
    config = AttackConfig(
        method="pgd", norm=norm, step_sizes=(0.02, 0.002), steps=(10, 40), n_images="all"
    )
    found = adversarial_distances(Linear(), images, labels, config)
    exact = least_perturbation(norm, images, margin)
    assert (found.distance >= exact * (1 - 1e-4)).all()
    assert (found.distance <= exact * 2 ** (1 / 8) * (1 + 1e-3)).all()


def test_pgd_reaches_no_farther_than_its_steps_and_counts_what_it_missed() -> None:
    images, labels, margin = images_beside_the_plane()
    exact = least_perturbation("Linf", images, margin)
    reach = np.median(exact)
    config = AttackConfig(
        method="pgd", norm="Linf", step_sizes=(reach / 10,), steps=(10,), n_images="all"
    )
    found = adversarial_distances(Linear(), images, labels, config)
    sure = np.abs(exact - reach) > 0.1 * reach
    np.testing.assert_array_equal(found.failed[sure], (exact > reach)[sure])


class Curved(nn.Module):
    """A small convolutional network with random weights: three classes, bent boundaries."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64, 3)
            )
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images - 0.5)


def curved_task(n: int = 16) -> tuple[Curved, np.ndarray, np.ndarray, Tensor, Tensor]:
    """A network, images that it classifies as their labels say, and both as floats."""
    network = Curved().eval()
    images = np.random.default_rng(2).integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    x = torch.from_numpy(images).float() / 255
    with torch.no_grad():
        y = network(x).argmax(1)
    return network, images, y.numpy(), x, y


FOOLBOX_ALONE = {
    "L2": (foolbox.attacks.L2BrendelBethgeAttack, "L2Optimizer", foolbox.distances.l2),
    "Linf": (foolbox.attacks.LinfinityBrendelBethgeAttack, "LinfOptimizer", foolbox.distances.linf),
    "L1": (foolbox.attacks.L1BrendelBethgeAttack, "L1Optimizer", foolbox.distances.l1),
    "L0": (foolbox.attacks.L0BrendelBethgeAttack, "L0Optimizer", foolbox.distances.l0),
}


def foolbox_alone(norm: str, **settings: Any) -> Any:
    """Foolbox's attack with its own solver, the base of the compiled class, run by Python."""
    attack, solver, _ = FOOLBOX_ALONE[norm]

    def uncompiled(self: Any) -> Any:
        solvers = foolbox.attacks.brendel_bethge
        made = object.__new__(getattr(solvers, solver).__base__)
        made.bfgsb = solvers.BFGSB.__base__()
        return made

    return type("Uncompiled", (attack,), {"instantiate_optimizer": uncompiled})(**settings)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(("norm", "steps"), [("L2", 30), ("Linf", 6), ("L1", 6), ("L0", 6)])
def test_the_boundary_attack_is_foolbox_at_the_same_settings(norm: Any, steps: int) -> None:
    network, images, labels, x, y = curved_task()
    config = AttackConfig(
        method="brendel_bethge", norm=norm, step_sizes=(0.02,), steps=(steps,), n_images="all"
    )
    found = adversarial_distances(network, images, labels, config)
    # The starting points that the documentation describes: of the same images, in random order,
    # from a place of each image's own the first that is of another class.
    order = np.random.default_rng(0).permutation(len(images))
    starts = []
    for i in range(len(images)):
        tried = [order[(k + 7919 * i) % len(images)] for k in range(len(images))]
        starts.append(next(j for j in tried if labels[j] != labels[i]))
    attack = foolbox_alone(norm, steps=steps, lr=0.02 / len(images))
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    alone = attack.run(model, x, foolbox.Misclassification(y), starting_points=x[starts])
    expected = FOOLBOX_ALONE[norm][-1](x, alone).numpy()
    same = np.isclose(found.distance, expected, rtol=1e-5)
    # Compiled, the last digit may be another, and with it which of two pixels is changed first.
    assert same.mean() >= (0.9 if norm == "L0" else 1), (found.distance, expected)


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_pgd_finds_the_smallest_ball_that_foolbox_finds(norm: str) -> None:
    """Foolbox is asked for every ball; where success does not rise with it, ours is one of them."""
    network, images, labels, x, y = curved_task()
    config = AttackConfig(
        method="pgd", norm=norm, step_sizes=(0.01,), steps=(20,), n_images="all", max_distance=0.5
    )
    found = adversarial_distances(network, images, labels, config)
    attack = {
        "L2": foolbox.attacks.L2ProjectedGradientDescentAttack,
        "Linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
    }[norm](abs_stepsize=0.01, steps=20, random_start=False)
    sizes = 0.5 * 2.0 ** (np.arange(-112, 1) / 8)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, clipped, success = attack(model, x, foolbox.Misclassification(y), epsilons=list(sizes))
    won = success.numpy()
    distance = {"L2": foolbox.distances.l2, "Linf": foolbox.distances.linf}[norm]
    reached = np.stack([distance(x, c).numpy() for c in clipped])
    rising = (np.diff(won.astype(int), axis=0) >= 0).all(0)
    assert rising.mean() > 0.8
    fooled = won.any(0)
    np.testing.assert_array_equal(found.failed, ~fooled)
    first = won.argmax(0)
    expected = reached[first, np.arange(len(x))]
    some = fooled & rising
    np.testing.assert_allclose(found.distance[some], expected[some], rtol=1e-5)


def test_the_best_step_size_is_taken_image_by_image() -> None:
    network, images, labels, _, _ = curved_task()
    single = [
        adversarial_distances(
            network,
            images,
            labels,
            AttackConfig(method="pgd", norm="Linf", step_sizes=sizes, steps=(10,), n_images="all"),
        )
        for sizes in ((0.002,), (0.05,), (0.002, 0.05))
    ]
    best = np.minimum(single[0].distance, single[1].distance)
    assert (single[2].distance <= best * 2 ** (1 / 8)).all()
    assert (single[0].distance != single[1].distance).any()


@pytest.mark.parametrize("method", ["brendel_bethge", "pgd"])
def test_distances_do_not_depend_on_the_size_of_the_batch(method: Any) -> None:
    """Of Foolbox's boundary attack they would: its trust region grows with the batch."""
    network, images, labels, _, _ = curved_task()
    config = AttackConfig(
        method=method, norm="L2", step_sizes=(0.02,), steps=(20,), n_images="all", batch_size=16
    )
    whole = adversarial_distances(network, images, labels, config)
    parts = adversarial_distances(
        network, images, labels, config.model_copy(update={"batch_size": 5})
    )
    np.testing.assert_allclose(parts.distance, whole.distance, rtol=1e-3)
    np.testing.assert_array_equal(parts.index, whole.index)


def test_more_queries_only_bring_the_attacker_closer_and_end_at_the_distance() -> None:
    network, images, labels, _, _ = curved_task()
    for method in ("brendel_bethge", "pgd"):
        config = AttackConfig(
            method=method, norm="L2", step_sizes=(0.02, 0.05), steps=(20,), n_images="all"
        )
        found = adversarial_distances(network, images, labels, config)
        assert (np.diff(found.curve_queries) > 0).all()
        assert found.curve.shape == (len(found.curve_queries), len(images))
        assert (found.curve[1:] <= found.curve[:-1]).all()
        np.testing.assert_array_equal(found.curve[-1], found.distance)
        assert found.queries.max() == found.curve_queries[-1]


@pytest.mark.parametrize(
    ("method", "sizes"), [("brendel_bethge", (0.1, 0.001, 0.02)), ("pgd", (0.02, 0.3, 0.005))]
)
def test_the_order_in_which_settings_are_listed_decides_nothing(
    method: Any, sizes: tuple[float, ...]
) -> None:
    network, images, labels, _, _ = curved_task()
    config = AttackConfig(method=method, norm="L2", step_sizes=sizes, steps=(5, 20), n_images="all")
    other = config.model_copy(update={"step_sizes": sizes[::-1], "steps": (20, 5)})
    a, b = (adversarial_distances(network, images, labels, c) for c in (config, other))
    for name in ("distance", "queries", "curve_queries", "curve"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_the_curve_of_a_grid_is_the_best_of_its_settings_in_turn() -> None:
    """After each of two has had k queries, the attacker has had 2 k."""
    network, images, labels, _, _ = curved_task()

    def curve(*sizes: float) -> np.ndarray:
        config = AttackConfig(
            method="brendel_bethge", norm="L2", step_sizes=sizes, steps=(20,), n_images="all"
        )
        found = adversarial_distances(network, images, labels, config)
        points = np.arange(1, found.queries.max(), len(sizes))  # the first is about the image
        last = np.searchsorted(found.curve_queries, points, side="right") - 1
        known = np.isin(points, found.curve_queries)
        return np.where(known[:, None], found.curve[last], np.nan)

    slow, fast, both = curve(0.002), curve(0.05), curve(0.002, 0.05)
    expected = np.minimum(slow, fast)
    known = ~np.isnan(expected + both)
    assert known[:, 0].sum() > 10
    np.testing.assert_allclose(both[known], expected[known], rtol=1e-5)


class Wavering(Linear):
    """Its answers near the plane depend on how many are asked, as rounding makes them: enlarged."""

    def forward(self, images: Tensor) -> Tensor:
        tipped = 0.1 if len(images) < 12 else 0.0
        margin = ((images[:, 0] - 0.5) * self.weight).sum((1, 2)) - tipped
        return torch.stack([-margin, margin], 1)


def test_a_start_that_is_not_adversarial_in_its_batch_does_not_end_the_attack() -> None:
    """All start from the one image of the other class, which is not of it in the attack's batch."""
    images = np.random.default_rng(3).integers(90, 166, (100, 1, SIDE, SIDE)).astype(np.uint8)
    side = ((images[:, 0] / 255 - 0.5) * WEIGHTS).sum((1, 2))
    near = np.flatnonzero((side > 0) & (side < 0.1))[0]
    images = images[[*np.flatnonzero(side < -0.2)[:11], near]]
    labels = np.array([0] * 11 + [1])
    config = AttackConfig(
        method="brendel_bethge",
        norm="L2",
        step_sizes=(0.03, 0.3),
        steps=(60,),
        n_images="all",
        batch_size=6,
    )
    found = adversarial_distances(Wavering(), images, labels, config)
    far = 0.1 - ((images[:11, 0] / 255 - 0.5) * WEIGHTS).sum((1, 2))
    np.testing.assert_allclose(found.distance[:11], far / np.linalg.norm(WEIGHTS), rtol=0.02)


class Counting(Curved):
    """How many images are asked about at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        return super().forward(images)


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_pgd_searches_the_ball_of_every_image_in_one_call(norm: str) -> None:
    _, images, labels, _, _ = curved_task(64)
    network = Counting().eval()
    config = AttackConfig(method="pgd", norm=norm, step_sizes=(0.02,), steps=(5,), n_images="all")
    found = adversarial_distances(network, images, labels, config)
    rounds = 1 + math.ceil(math.log2(OCTAVES * LEVELS_AN_OCTAVE))  # the largest ball, and halving
    assert len(network.asked) <= 2 + rounds * (5 + 1)  # the pool and the images first
    assert len(np.unique(found.distance)) > 4  # of balls that differ


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_random_starts_belong_to_images_and_fill_the_ball(norm: str) -> None:
    index = np.arange(300)
    starts = unit_starts(index, (1, 3, 3), 0, norm)
    some = unit_starts(index[[7, 200]], (1, 3, 3), 0, norm)
    assert torch.equal(some, starts[[7, 200]])
    flat = starts.flatten(1)
    size = flat.norm(dim=1) if norm == "L2" else flat.abs().amax(1)
    assert size.max() <= 1
    # In a ball of nine dimensions the ninth power of the radius is uniform.
    assert (size**9).mean() == pytest.approx(0.5, abs=0.06)
    assert flat.mean(0).abs().max() < 0.1


def test_what_is_misclassified_needs_no_attack_and_what_has_no_start_fails() -> None:
    network, images, labels, _, _ = curved_task()
    wrong = labels.copy()
    wrong[:3] = (wrong[:3] + 1) % 3
    config = AttackConfig(
        method="brendel_bethge", norm="L2", step_sizes=(0.02,), steps=(5,), n_images="all"
    )
    found = adversarial_distances(network, images, wrong, config)
    assert found.misclassified[:3].all() and (found.distance[:3] == 0).all()
    assert (found.queries[:3] == 1).all()
    # Images of a single class: none can be a starting point, and nothing crashes.
    alike = np.flatnonzero(labels == labels[0])
    alone = adversarial_distances(network, images[alike], labels[alike], config)
    assert alone.failed.all() and np.isinf(alone.median())


def test_the_network_is_left_as_it_was() -> None:
    network, images, labels, _, _ = curved_task()
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    config = AttackConfig(
        method="pgd", norm="L2", step_sizes=(0.02,), steps=(3,), n_images=4, random_start=True
    )
    first = adversarial_distances(network, images, labels, config)
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state), "random starts have a stream of their own"
    again = adversarial_distances(network, images, labels, config)
    np.testing.assert_array_equal(again.distance, first.distance)


def distances(*values: float) -> AdversarialDistances:
    d = np.array(values)
    n = len(d)
    return AdversarialDistances(
        np.arange(n), d, np.ones(n, np.int64), np.array([1]), d[None].copy()
    )


def test_the_median_counts_misclassified_images_as_0_and_failures_as_infinite() -> None:
    assert distances(0, 0, 1, 2, math.inf).median() == 1
    assert distances(0, 0, 1, 2, math.inf).median(correct_only=True) == 2
    assert distances(1, math.inf, math.inf).median() == math.inf
    assert distances(1, math.inf).median() == math.inf
    assert distances(math.inf, math.inf).median() == math.inf
    assert math.isnan(distances(0, 0).median(correct_only=True))


def test_the_interval_of_the_median_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        low, high = distances(*rng.exponential(size=100)).median_interval()
        covered += low <= math.log(2) <= high
    assert 50 <= covered <= 60
    low, high = distances(*[1.0] * 30, *[math.inf] * 25).median_interval()
    assert low == 1 and high == math.inf
    assert all(map(math.isnan, distances(1.0).median_interval()))


def test_the_papers_grids_are_the_default() -> None:
    pgd = AttackConfig(method="pgd", norm="Linf")
    assert (pgd.step_sizes, pgd.steps, pgd.n_images) == (PGD_STEP_SIZES, PGD_STEPS, 1000)
    boundary = AttackConfig(method="brendel_bethge", norm="L2")
    assert boundary.step_sizes == BOUNDARY_STEP_SIZES
    assert AttackConfig.model_validate(boundary.model_dump()) == boundary


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pgd", "norm": "L0"}, "norm: L0 with pgd, expected one of L2, Linf"),
        ({"method": "pgd", "norm": "Linf", "step_sizes": (0.1, 0.1)}, "step_sizes: .* distinct"),
        ({"method": "pgd", "norm": "Linf", "step_sizes": (0.0,)}, "step_sizes: .* positive"),
        ({"method": "pgd", "norm": "Linf", "step_sizes": ()}, r"step_sizes: \(\), .*at least one"),
        ({"method": "brendel_bethge", "norm": "L2", "step_sizes": (4.0,)}, "of at most 1"),
        ({"method": "pgd", "norm": "Linf", "step_sizes": (math.nan,)}, "step_sizes.0\n.* finite"),
        ({"method": "pgd", "norm": "Linf", "max_distance": 8.0}, "max_distance: 8, .*at most 1"),
        ({"method": "pgd", "norm": "Linf", "steps": ()}, r"steps: \(\), .*at least one"),
        ({"method": "pgd", "norm": "Linf", "steps": (10, 10)}, "steps: .* distinct"),
        ({"method": "pgd", "norm": "Linf", "steps": (0,)}, "steps: .* at least 1"),
        ({"method": "brendel_bethge", "norm": "L2", "max_distance": 1.0}, "are for pgd"),
        ({"method": "fgsm", "norm": "L2"}, "method"),
        ({"method": "pgd", "norm": "L2", "restarts": 3}, "restarts"),
    ],
)
def test_impossible_attacks_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AttackConfig.model_validate(settings)


def test_images_and_labels_must_fit() -> None:
    network, images, labels, _, _ = curved_task()
    config = AttackConfig(method="pgd", norm="L2", n_images=100)
    with pytest.raises(ValueError, match="n_images: 100, expected 1 to 16"):
        adversarial_distances(network, images, labels, config)
    with pytest.raises(ValueError, match="with 15 labels"):
        adversarial_distances(network, images, labels[:15], config)


def test_failures_are_told_from_zeros() -> None:
    d = replace(distances(0, 1, math.inf))
    np.testing.assert_array_equal(d.misclassified, [True, False, False])
    np.testing.assert_array_equal(d.failed, [False, False, True])
