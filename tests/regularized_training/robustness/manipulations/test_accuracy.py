"""Networks on manipulated images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor, nn

from regularized_training.robustness.manipulations.accuracy import accuracy_under_manipulations
from regularized_training.robustness.manipulations.apply import manipulate
from regularized_training.robustness.manipulations.config import (
    PUBLISHED_LEVELS,
    ManipulationConfig,
)


class Thirds(nn.Module):
    """Says how bright an image is, of three."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([(1 - mean) - 1 / 3, 0.5 - 2 * (mean - 0.5).abs(), mean - 1 / 3], 1)


RNG = np.random.default_rng(0)
LEVELS = RNG.integers(20, 235, (60, 1, 1, 1))
IMAGES = np.clip(LEVELS + RNG.integers(-20, 20, (60, 1, 32, 32)), 0, 255).astype(np.uint8)
LABELS = Thirds()(torch.from_numpy(IMAGES).float() / 255).argmax(1).numpy()


def test_scores_are_those_of_pictures_one_by_one_at_scaled_levels() -> None:
    levels = {"contrast": (0.3, 0.05), "low_pass": (7.0,), "phase_noise": (90.0,)}
    config = ManipulationConfig(levels=levels, batch_size=7)  # type: ignore[arg-type]
    scores = accuracy_under_manipulations(Thirds(), IMAGES, LABELS, config, 3)
    assert (scores.n, scores.clean_accuracy) == (60, 1.0)
    assert [(s.manipulation, s.level) for s in scores.levels] == [
        ("contrast", 0.3), ("contrast", 0.05), ("low_pass", 7.0), ("phase_noise", 90.0)
    ]  # fmt: skip
    for one in scores.levels:
        # Of 32 pixels a seventh of the 224 that people saw.
        level = one.level / 7 if one.manipulation == "low_pass" else one.level
        pictures = [
            manipulate(image[None], one.manipulation, level, index=np.array([i]), seed=0)
            for i, image in enumerate(IMAGES)
        ]
        answers = Thirds()(torch.cat(pictures).float() / 255).argmax(1).numpy()
        np.testing.assert_array_equal(one.answers, answers)
        assert one.accuracy == pytest.approx((answers == LABELS).mean())
        assert one.entropy == pytest.approx(stats.entropy(np.bincount(answers), base=2))
    # With hardly any contrast all images are of a middle brightness.
    assert scores.levels[1].entropy == 0 and (scores.levels[1].answers == 1).all()


def test_what_cannot_be_done_to_images_is_left_out() -> None:
    config = ManipulationConfig(n_images=20)
    of_grey = accuracy_under_manipulations(Thirds(), IMAGES[:, :, :20], LABELS, config, 3)
    done = {one.manipulation for one in of_grey.levels}
    assert set(PUBLISHED_LEVELS) - done == {"grey", "false_colour", "rotation"}
    square = accuracy_under_manipulations(Thirds(), np.repeat(IMAGES, 3, 1), LABELS, config, 3)
    assert {one.manipulation for one in square.levels} == set(PUBLISHED_LEVELS)


def test_levels_are_the_published_ones_that_change_something() -> None:
    levels = ManipulationConfig().levels
    assert levels["high_pass"] == (3.0, 1.5, 1.0, 0.7, 0.55, 0.45, 0.4)
    assert levels["contrast"][0] == 0.5 and levels["eidolon_1"][0] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": {"contrast": [2]}}, "levels.contrast: levels: .* expected 0 to 1"),
        ({"levels": {"blur": [2]}}, "levels.blur"),
        ({"levels": {}}, "at least 1 item"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ManipulationConfig.model_validate(settings)
