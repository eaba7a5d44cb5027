"""Accuracies of published CIFAR-10 networks, clean, with noise and attacked, as others measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regularized_training.robustness.attacks import without_parameter_gradients
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.noise import NoiseConfig, accuracy_under_noise
from regularized_training.robustness.pgd import attack_in_balls, unit_starts
from regularized_training.tasks.batches import to_float
from tests.real_data.cifar10 import cifar10_network, cifar10_test_images

NAMES = (
    *("resnet20_std", "resnet32_std", "resnet8_mlperf_std", "kw_small_linf8", "oval_base_kw"),
    *("oval_wide_kw", "oval_deep_kw", "convsmall_pgd", "convsmall_sigmoid_pgd"),
    *("marabou_small_std", "marabou_medium_std", "resnet2b_adv", "resnet4b_adv"),
    *("biasfield_base_std", "wide_maskedrelu_adv"),
)
# Of these a tenth of the images, which all together take minutes: within four standard errors.
SLOW = {"resnet20_std": 3.5, "resnet32_std": 3.5}
ATTACKED = ("convsmall_pgd", "resnet2b_adv", "marabou_small_std", "oval_deep_kw")

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture(scope="module")
def measured(data_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data_folder / "cifar10_pool/measured.json").read_text())
    return found


@pytest.fixture(scope="module")
def images(data_folder: Path) -> Images:
    return cifar10_test_images(data_folder / "cifar10_test_lossless")


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_the_published_one_without_and_with_noise(
    name: str, data_folder: Path, measured: dict[str, Any], images: Images
) -> None:
    """Within .1 points of all 10,000 images; with noise, of 2,000 of them, within 2 or so."""
    network = cifar10_network(data_folder, name)
    pixels, labels = (part[:1000] if name in SLOW else part for part in images)
    with torch.inference_mode():
        parts = torch.from_numpy(pixels).split(500)
        answers = torch.cat([network(to_float(part)).argmax(1) for part in parts]).numpy()
    off = SLOW.get(name, 0.1)
    assert 100 * (answers == labels).mean() == pytest.approx(measured[name]["acc10k"], abs=off)
    noisy = NoiseConfig(levels=(0.1,))
    scores = accuracy_under_noise(network, pixels[:2000], labels[:2000], noisy)
    off = SLOW.get(name, 2)
    assert 100 * scores.accuracy[0] == pytest.approx(measured[name]["noise_sd0.1"], abs=off)


@pytest.mark.parametrize("name", ATTACKED)
@pytest.mark.parametrize(
    ("norm", "epsilon", "column"),
    [("Linf", 2 / 255, "pgd_linf_2_255"), ("L2", 0.5, "pgd_l2_0.5")],
)
def test_accuracy_under_attack_is_the_published_one(
    name: str,
    norm: str,
    epsilon: float,
    column: str,
    data_folder: Path,
    measured: dict[str, Any],
    images: Images,
) -> None:
    """Within 3 points: 20 steps of projected gradient descent on 500 images."""
    network = cifar10_network(data_folder, name)
    pixels, labels = (part[:500] for part in images)
    with without_parameter_gradients(network):
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        _, fooled = attack_in_balls(
            model,
            to_float(torch.from_numpy(pixels)),
            torch.from_numpy(labels),
            torch.full((500,), epsilon),
            norm=norm,
            step_size=epsilon / 8,
            steps=20,
            start=unit_starts(np.arange(500), (3, 32, 32), 0, norm),
        )
    robust = 100 * (1 - fooled.float().mean().item())
    assert robust == pytest.approx(measured[name][column], abs=3)
