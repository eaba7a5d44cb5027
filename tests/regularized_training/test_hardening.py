"""What is learned in place of images: noisy and adversarial ones, on the one loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.hardening import adversarial, hardening
from regularized_training.hardening_config import Hardened, NoiseConfig, PgdConfig
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.robustness.noise import NoiseConfig as UnderNoise
from regularized_training.robustness.noise import accuracy_under_noise
from regularized_training.tasks.image_task import ImageTask
from regularized_training.training import train
from regularized_training.training_config import TrainingConfig
from tests.regularized_training.short_trainings import PLAIN, Killed, assert_same_weights

NETWORK = NetworkConfig(width=2)
IMAGES = torch.rand(400, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
LABELS = torch.arange(400) % 2


class Linear(nn.Module):
    """Says 1 to images whose weighted mean is above one half, the steeper the surer."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.rand(192, generator=torch.Generator().manual_seed(1)) - 0.3
        self.weights = nn.Parameter(weights / weights.norm())
        self.norm = nn.BatchNorm2d(3, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        said = images.flatten(1) @ self.weights
        self.norm(images)  # which gathers statistics if it may
        return torch.stack([-said, said], 1)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_worst_image_of_a_ball_is_found_where_it_is_known(norm: Any) -> None:
    """Of a linear network it lies where the gradient leads, on the ball's edge."""
    network = Linear().train()
    config = PgdConfig(method="pgd", norm=norm, epsilon=0.05, steps=20, step_size=0.01)
    with seeded(0):
        attacked = adversarial(network, IMAGES, LABELS, config)
    direction = network.weights.detach().view(3, 8, 8)
    direction = direction.sign() if norm == "Linf" else direction
    worse = 1 - 2 * LABELS.view(-1, 1, 1, 1)  # towards the other answer
    torch.testing.assert_close(attacked, IMAGES + 0.05 * worse * direction, atol=1e-3, rtol=0)
    assert network.training and network.weights.grad is None
    assert network.norm.num_batches_tracked == 0


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_no_image_leaves_its_ball_or_the_range_of_pixels(norm: Any) -> None:
    network = build_network(NETWORK, n_channels=3, n_classes=2, seed=0)
    images = IMAGES[:50].clone()
    images[:25] = images[:25].round()  # black and white
    config = PgdConfig(method="pgd", norm=norm, epsilon=0.3, steps=3, step_size=0.5)
    with seeded(0):
        attacked = adversarial(network, images, LABELS[:50], config)
    assert attacked.min() >= 0 and attacked.max() <= 1
    moved = (attacked - images).flatten(1)
    size = moved.abs().amax(1) if norm == "Linf" else moved.norm(dim=1)
    assert (size <= 0.3 + 1e-5).all() and size.median() > 0.2


def test_a_share_of_the_images_is_noisy() -> None:
    change = hardening(nn.Identity(), NoiseConfig(method="noise", deviation=0.05, share=0.3))
    with seeded(0):
        made = change(IMAGES, LABELS)
    changed = (made != IMAGES).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.07)
    spread = (made - IMAGES)[changed].std().item()
    assert spread == pytest.approx(0.05, rel=0.03)


HARDENED = {
    "pgd": PgdConfig(method="pgd", epsilon=0.1, steps=2),
    "noise": NoiseConfig(method="noise", deviation=0.4),
}


def config(name: str, **changes: object) -> TrainingConfig:
    return PLAIN.model_copy(update={"hardened": HARDENED[name], **changes})


@pytest.mark.parametrize("name", HARDENED)
def test_a_killed_training_goes_on_to_the_same_bits(
    name: str, small_digits: ImageTask, tmp_path: Path
) -> None:
    settings = config(name, n_train=96, n_test=20, epochs=2)
    whole = train(small_digits, NETWORK, settings, seed=1)
    kept = tmp_path / "checkpoint"

    def kill(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(small_digits, NETWORK, settings, seed=1, checkpoint=kept, progress=kill)
    assert_same_weights(train(small_digits, NETWORK, settings, seed=1, checkpoint=kept), whole)


def test_a_network_that_learned_noise_withstands_it(small_digits: ImageTask) -> None:
    levels = UnderNoise(levels=(0.0, 0.5))
    found = {}
    for name in ("plain", "noise"):
        settings = PLAIN if name == "plain" else config(name)
        settings = settings.model_copy(update={"epochs": 6, "learning_rate": 0.1, "n_train": 960})
        images, labels = small_digits.test_images, small_digits.test_labels
        # What a network that learned clean images withstands differs much between seeds.
        found[name] = np.mean(
            [
                accuracy_under_noise(
                    train(small_digits, NetworkConfig(width=4), settings, seed).network(),
                    images,
                    labels,
                    levels,
                ).accuracy[1]
                for seed in range(3)
            ]
        )
    assert found["noise"] > found["plain"] + 0.05


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hardened": {"method": "pgd", "epsilon": 0}}, "hardened.pgd.epsilon"),
        ({"hardened": {"method": "noise"}}, "hardened.noise.deviation"),
        ({"hardened": {"method": "blur"}}, "hardened"),
        (
            {
                "hardened": {"method": "noise", "deviation": 0.1},
                "distorted": {"by": {"fog": [1]}, "layer": "stage1"},
            },
            "hardened: given beside distorted",
        ),
        ({"hardened": {"method": "pgd"}, "graph": True}, "graph: true with hardened.method"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TrainingConfig.model_validate(settings)


def test_they_have_names() -> None:
    names = [str(TypeAdapter(Hardened).validate_python(one)) for one in HARDENED.values()]
    assert names == ["PGD Linf 0.1", "noise 0.4"]
