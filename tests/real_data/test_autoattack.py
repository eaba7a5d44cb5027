"""The ensemble beside pyautoattack 0.2.0, on published CIFAR-10 networks and the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regularized_training.robustness.autoattack.config import AutoAttackConfig
from regularized_training.robustness.autoattack.ensemble import robust_accuracy
from tests.real_data.cifar10 import cifar10_network, cifar10_test_images

EPSILONS = {"Linf": 2 / 255, "L2": 0.5, "L1": 6.0}
# Robust accuracy that pyautoattack finds on the first 100 test images: one start, seed 0, 20 steps,
# 3 targets, 200 queries; of the attack alone.
THEIRS = {
    ("convsmall_pgd", "Linf", "apgd_ce"): 0.53,
    ("convsmall_pgd", "Linf", "apgd_t"): 0.49,
    ("convsmall_pgd", "Linf", "square"): 0.64,
    ("convsmall_pgd", "L2", "apgd_t"): 0.36,
    ("convsmall_pgd", "L2", "square"): 0.59,
    ("convsmall_pgd", "L1", "apgd_ce"): 0.39,
    ("resnet2b_adv", "Linf", "apgd_ce"): 0.62,
    ("resnet2b_adv", "Linf", "apgd_t"): 0.60,
    ("resnet2b_adv", "L2", "apgd_t"): 0.22,
    ("resnet2b_adv", "L2", "fab_t"): 0.22,
    ("resnet2b_adv", "L1", "fab_t"): 0.10,
}


@pytest.mark.parametrize(("name", "norm", "attack"), list(THEIRS))
def test_each_attack_finds_what_the_reference_finds(
    data_folder: Path, name: str, norm: Any, attack: Any
) -> None:
    network = cifar10_network(data_folder, name)
    images, labels = cifar10_test_images(data_folder / "cifar10_test_lossless", 100)
    config = AutoAttackConfig(
        norm=norm,
        epsilons=(EPSILONS[norm],),
        attacks=(attack,),
        n_images="all",
        steps=20,
        n_targets=3,
        queries=200,
    )
    found = robust_accuracy(network, images, labels, config).accuracy(0)
    # The square attack draws, so that an image or two may fall otherwise.
    off = 0.03 if attack == "square" else 0.01
    assert found == pytest.approx(THEIRS[name, norm, attack], abs=off + 1e-9)
