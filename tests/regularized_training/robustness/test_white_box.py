"""Weak attacks on networks whose distance to the boundary is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.pgd import attack_in_balls
from regularized_training.robustness.white_box import white_box_accuracy
from regularized_training.robustness.white_box_config import WhiteBoxConfig, scaled_radius

pytestmark = pytest.mark.xdist_group("foolbox")

SIDE = 6
RNG = np.random.default_rng(0)
WEIGHTS = torch.from_numpy(RNG.normal(size=(SIDE, SIDE)).astype(np.float32))
IMAGES = RNG.integers(100, 156, (60, 1, SIDE, SIDE)).astype(np.uint8)


class Linear(nn.Module):
    """Two classes on either side of a plane through mid-grey, with noise along its normal."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise, self.passes = noise, 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        margin = ((images[:, 0] - 0.5) * WEIGHTS).sum((1, 2))
        margin = margin + self.noise * torch.randn_like(margin)
        return torch.stack([-margin, margin], 1)


MARGIN = ((torch.from_numpy(IMAGES[:, 0]).float() / 255 - 0.5) * WEIGHTS).sum((1, 2)).numpy()
LABELS = (MARGIN > 0).astype(np.int64)
AT_224 = (224 / SIDE) ** np.array([0, 1, 2])  # what radii are of, beside images of this size


def config(**settings: Any) -> WhiteBoxConfig:
    return WhiteBoxConfig.model_validate({"n_images": "all"} | settings)


def test_accuracy_of_a_linear_classifier_is_known_in_every_norm() -> None:
    size = WEIGHTS.abs()
    gains = {"Linf": float(size.sum()), "L2": float(WEIGHTS.norm())}
    far = float(np.median(np.abs(MARGIN)))
    local = {norm: far / gain for norm, gain in gains.items()}
    radii = {"Linf": local["Linf"], "L2": local["L2"] * AT_224[1]}
    found = white_box_accuracy(Linear(), IMAGES, LABELS, config(radii=radii, strengths=(0.5, 1)))
    np.testing.assert_allclose(found.radii[:, 1], list(local.values()), rtol=1e-6)
    for i, norm in enumerate(found.norms):
        for j, strength in enumerate(found.strengths):
            stands = np.abs(MARGIN) > strength * local[norm] * gains[norm]
            np.testing.assert_array_equal(found.withstood[i, j], stands, err_msg=norm)
    assert found.clean_accuracy == 1 and not found.varies
    np.testing.assert_allclose(found.mean_accuracy, found.accuracy.mean(0))


def test_an_l1_ball_is_reached_to_its_end_and_never_left() -> None:
    x = torch.from_numpy(IMAGES).float() / 255
    radii = torch.linspace(0.05, 2.0, len(x))
    model = foolbox.PyTorchModel(Linear().eval(), bounds=(0, 1))
    made, fooled = attack_in_balls(
        model, x, torch.from_numpy(LABELS), radii, norm="L1", step_size=radii / 8, steps=400
    )
    length = (made - x).abs().flatten(1).sum(1)
    torch.testing.assert_close(length, radii, rtol=1e-3, atol=0)
    assert made.min() >= 0 and made.max() <= 1
    # All of the ball goes into the pixels that count most, as far as they have room.
    order = WEIGHTS.abs().flatten().argsort(descending=True)
    toward = -torch.from_numpy(np.sign(MARGIN))[:, None] * WEIGHTS.flatten().sign()
    room = torch.where(toward > 0, 1 - x.flatten(1), x.flatten(1))[:, order]
    taken = (radii[:, None] - room.cumsum(1) + room).clamp(min=0).minimum(room)
    gain = (taken * WEIGHTS.abs().flatten()[order]).sum(1).numpy()
    clear = np.abs(gain - np.abs(MARGIN)) > 0.02
    np.testing.assert_array_equal(fooled.numpy()[clear], (gain > np.abs(MARGIN))[clear])
    assert 0 < fooled.float().mean() < 1


def test_an_image_does_not_depend_on_the_batch_and_fills_a_ball_of_its_own() -> None:
    settings = {"radii": {"L2": 20.0, "L1": 900.0}, "random_start": True, "steps": 8}
    whole = white_box_accuracy(Linear(), IMAGES, LABELS, config(**settings))
    parts = white_box_accuracy(Linear(), IMAGES, LABELS, config(**settings, batch_size=7))
    np.testing.assert_array_equal(whole.withstood, parts.withstood)
    assert 0 < whole.accuracy.mean() < 1


def test_what_is_misclassified_as_it_is_counts_without_an_attack() -> None:
    wrong = LABELS.copy()
    wrong[:6] = 1 - wrong[:6]
    found = white_box_accuracy(Linear(), IMAGES, wrong, config(steps=2))
    assert found.clean_accuracy == 0.9
    assert not found.withstood[..., :6].any()
    nothing = white_box_accuracy(Linear(), IMAGES, 1 - LABELS, config(steps=2))
    assert nothing.clean_accuracy == 0 and not nothing.withstood.any()


def test_a_network_of_chance_is_told_and_its_passes_are_averaged() -> None:
    settings = {"radii": {"L2": 1.0}, "strengths": (1,), "steps": 3}
    once, often = Linear(noise=0.3), Linear(noise=0.3)
    assert white_box_accuracy(once, IMAGES, LABELS, config(**settings)).varies
    found = white_box_accuracy(often, IMAGES, LABELS, config(**settings, eot=10))
    assert often.passes - 2 == 10 * (once.passes - 2)  # but for two that tell whether it varies
    single = white_box_accuracy(Linear(noise=0.3), IMAGES, LABELS, config(**settings))
    assert found.clean_accuracy > single.clean_accuracy  # of mean answers chance is less
    first, again = Linear(), Linear()
    white_box_accuracy(first, IMAGES, LABELS, config(**settings))
    white_box_accuracy(again, IMAGES, LABELS, config(**settings, eot=10))
    assert again.passes == first.passes  # without chance one pass says all


@pytest.mark.parametrize(("noise", "varies"), [("own", True), ("fixed", False), ("off", False)])
def test_noise_of_a_v1_block_can_be_fixed(noise: str, varies: bool) -> None:
    described = NetworkConfig.model_validate({"width": 2, "v1": {"stride": 8}})
    network = build_network(described, n_channels=1, n_classes=2, seed=0)
    images = np.random.default_rng(1).integers(0, 256, (4, 1, 32, 32)).astype(np.uint8)
    settings = {"noise": noise, "steps": 1, "radii": {"Linf": 0.01}, "strengths": (1,)}
    found = white_box_accuracy(network, images, np.array([0, 1, 0, 1]), config(**settings))
    assert found.varies == varies


def test_balls_are_as_published_at_224_pixels_and_grow_with_images() -> None:
    published = WhiteBoxConfig()
    assert published.radius("Linf", 1, 224, 224) == 1 / 1020
    assert published.radius("L2", 4, 224, 224) == pytest.approx(0.6)
    assert published.radius("L1", 1, 224, 224) == 40
    assert (published.steps, published.step_size) == (64, 1 / 32)
    # A change of .01 at every pixel fills the balls of all sizes to the same share.
    for size in (32, 64, 224):
        change = torch.full((size * size,), 0.01, dtype=torch.float64)
        for p, norm in ((math.inf, "Linf"), (2, "L2"), (1, "L1")):
            share = float(change.norm(p)) / scaled_radius(1.0, norm, size, size)  # type: ignore[arg-type]
            assert share == pytest.approx(0.01 * 224 ** (0 if p == math.inf else 2 / p), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radii": {"L2": 0}}, "L2: 0, expected a radius above 0"),
        ({"radii": {"L2": -1}}, "L2: -1, expected a radius above 0"),
        ({"radii": {}}, "at least 1 item"),
        ({"strengths": (0, 1)}, "expected rising factors above 0"),
        ({"strengths": (4, 1)}, "expected rising factors above 0"),
        ({"radii": {"Linf": 0.5}, "strengths": (1, 4)}, "a ball of 2, expected at most 1"),
    ],
)
def test_balls_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)
