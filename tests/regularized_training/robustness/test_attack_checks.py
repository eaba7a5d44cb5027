"""Checks of attacks pass on an honest network and fail on those that hide their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regularized_training.robustness.attack_checks import AttackCheck, check_attacks
from regularized_training.robustness.attack_config import AttackCheckConfig
from tests.regularized_training.robustness.test_attacks import Linear

CONFIG = AttackCheckConfig(n_images=20, distances=(0.01, 0.03, 0.1), n_noise=5)


def images_and_labels(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(3).integers(60, 196, (n, 1, 6, 6)).astype(np.uint8)
    with torch.no_grad():
        labels = Linear()(torch.from_numpy(images) / 255).argmax(1)
    return images, labels.numpy()


def found(network: nn.Module) -> dict[str, AttackCheck]:
    return {c.check: c for c in check_attacks(network, *images_and_labels(), CONFIG)}


def test_all_checks_pass_on_an_honest_network() -> None:
    checks = found(Linear())
    assert set(checks) == {
        "more_steps",
        "larger_ball",
        "white_box",
        "unbounded",
        "iterative",
        "gradients",
    }
    assert all(c.passed for c in checks.values()), checks


def ensemble_checks(network: nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, bool]:
    config = CONFIG.model_copy(update={"autoattack": True})
    checks = check_attacks(network, images, labels, config)
    return {c.check: c.passed for c in checks if c.check.startswith("ensemble")}


def test_the_ensemble_passes_too_where_gradients_are_honest() -> None:
    assert ensemble_checks(Linear(), *images_and_labels()) == {
        "ensemble_larger_ball": True,
        "ensemble_pgd": True,
        "ensemble_unbounded": True,
    }


class Deaf(nn.Module):
    """Gives the same answer to every image."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([torch.ones(len(images)), 0 * images.flatten(1).sum(1)], 1)


def test_the_ensemble_cannot_fool_what_does_not_look_at_images() -> None:
    images, labels = images_and_labels()
    assert not ensemble_checks(Deaf(), images, np.zeros_like(labels))["ensemble_unbounded"]


def test_the_ensemble_is_left_out_unless_asked_for_and_the_hash_stays() -> None:
    assert "autoattack" not in AttackCheckConfig().described()
    assert not any(name.startswith("ensemble") for name in found(Linear()))


class Stairs(Linear):
    """The same answers from rounded pixels, which have no gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images * 255).round() / 255)


def test_a_network_without_gradients_is_found_out() -> None:
    checks = found(Stairs())
    assert not checks["gradients"].passed and checks["gradients"].value == 0
    assert not checks["unbounded"].passed
    assert not checks["white_box"].passed, "noise fools what the attack cannot"


class Astray(Linear):
    """The same answers, with gradients of the opposite sign."""

    def forward(self, images: Tensor) -> Tensor:
        astray = super().forward(images)
        return (2 * astray).detach() - astray


def test_gradients_that_lead_astray_are_found_out() -> None:
    checks = found(Astray())
    assert checks["gradients"].passed, "they are there"
    assert not checks["white_box"].passed
    assert not checks["unbounded"].passed


def test_a_network_that_is_always_wrong_cannot_be_checked() -> None:
    images, labels = images_and_labels()
    with pytest.raises(ValueError, match="classifies none of 60 images correctly"):
        check_attacks(Linear(), images, 1 - labels, CONFIG)


def test_an_attack_that_finds_nothing_has_not_beaten_noise() -> None:
    config = AttackCheckConfig(n_images=20, distances=(1e-7,), n_noise=5)
    checks = {c.check: c for c in check_attacks(Linear(), *images_and_labels(), config)}
    assert not checks["white_box"].passed
    assert checks["white_box"].expected == "above 0.02 at some size"


@pytest.mark.parametrize("distances", [(), (0.03, 0.01), (0.0, 0.1), (0.5, 1.5), (0.1, 0.1)])
def test_sizes_of_perturbations_rise(distances: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="distances"):
        AttackCheckConfig(distances=distances)
