"""Networks under corruptions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.robustness.corruptions.accuracy import accuracy_under_corruptions
from regularized_training.robustness.corruptions.config import CorruptionConfig
from regularized_training.robustness.corruptions.corrupt import corrupt


class Brightness(nn.Module):
    """Says 1 to images brighter than one half, 0 to others."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return 20 * torch.stack([0.5 - mean, mean - 0.5], 1)


RNG = np.random.default_rng(0)
LEVELS = RNG.integers(20, 235, (90, 1, 1, 1))
IMAGES = np.clip(LEVELS + RNG.integers(-20, 20, (90, 1, 32, 32)), 0, 255).astype(np.uint8)
LABELS = (IMAGES.mean((1, 2, 3)) > 127.5).astype(np.int64)


def test_scores_are_those_of_pictures_one_by_one() -> None:
    config = CorruptionConfig(kinds=("brightness", "shot_noise"), severities=(1, 5), batch_size=7)
    scores = accuracy_under_corruptions(Brightness(), IMAGES, LABELS, config)
    assert (scores.n, scores.clean_accuracy) == (90, 1.0)
    asked = [(one.corruption, one.severity) for one in scores.severities]
    assert asked == [(k, s) for k in config.kinds for s in config.severities]
    for one in scores.severities:
        right, sure = [], []
        for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
            picture = corrupt(image[None], one.corruption, one.severity, np.array([number]))
            chances = Brightness()(picture.float() / 255).softmax(1)[0]
            right.append(int(chances.argmax()) == label)
            sure.append(chances.max().item())
        assert one.accuracy == pytest.approx(np.mean(right))
        assert one.confidence == pytest.approx(np.mean(sure), abs=1e-6)
    # What is made brighter is called bright, whatever it is.
    of_brightness = {one.severity: one.accuracy for one in scores.severities[:2]}
    lighter = IMAGES.mean((1, 2, 3)) / 255 + 0.3 > 0.5
    assert of_brightness[5] == pytest.approx((lighter == LABELS).mean(), abs=0.03)
    assert of_brightness[1] > of_brightness[5]


def test_batches_decide_nothing_and_networks_stay_as_they_were() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1024), nn.Linear(1024, 2)).train()
    found = [
        accuracy_under_corruptions(
            network,
            IMAGES,
            LABELS,
            CorruptionConfig(kinds=("snow",), severities=(3,), n_images=40, batch_size=size),
        )
        for size in (3, 40)
    ]
    few, many = (one.severities[0] for one in found)
    assert few.accuracy == many.accuracy and found[0].n == found[1].n == 40
    assert few.confidence == pytest.approx(many.confidence, abs=1e-5)
    assert network.training and network[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ["fog", "rain"]}, "kinds.1"),
        ({"kinds": ["fog", "fog"]}, "fog, fog: expected each once"),
        ({"kinds": []}, "at least 1 item"),
        ({"severities": [0]}, "severities.0"),
        ({"severities": [1, 1]}, "1, 1: expected each once"),
        ({"n_images": 0}, "n_images"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorruptionConfig.model_validate(settings)
