"""Networks that see some frequencies alone answer the image that has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.robustness.hybrids import (
    HybridAnswers,
    answers_to_hybrids,
    crossings,
    gain,
    hybrid,
    pairs,
)
from regularized_training.robustness.hybrids_config import HybridConfig

SIDE, CLASSES = 32, 4
RNG = np.random.default_rng(0)


def patterns() -> Tensor:
    """What each class looks like: waves of 2 cycles per image, and others of 10, at each angle."""
    place = torch.arange(SIDE) / SIDE
    made = []
    for n in range(CLASSES):
        waves = [
            torch.cos(2 * torch.pi * f * place + n * torch.pi / 2)[None].expand(SIDE, SIDE)
            for f in (2, 10)
        ]
        made.append(torch.stack(waves))
    return torch.stack(made)  # (class, low or high, height, width)


PATTERNS = patterns()
LABELS = RNG.permutation(np.arange(200) % CLASSES)
IMAGES = (0.5 + 0.15 * PATTERNS.sum(1)[LABELS][:, None]).mul(255).round().to(torch.uint8).numpy()


class Sees(nn.Module):
    """Says which class's pattern an image has most of: of its low, its high or both frequencies."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.templates = low * PATTERNS[:, 0] + high * PATTERNS[:, 1]

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nhw,khw->nk", images[:, 0], self.templates)


class Guesses(nn.Module):
    """Answers by a hash of the image."""

    def forward(self, images: Tensor) -> Tensor:
        weights = torch.sin(torch.arange(SIDE * SIDE) * 12.9898) * 43758.5
        mixed = (images.flatten(1) @ weights)[:, None] * torch.arange(1, CLASSES + 1)
        return torch.sin(mixed)


def config(**settings: object) -> HybridConfig:
    return HybridConfig.model_validate({"n_images": None, "filter": "ideal"} | settings)


def test_networks_answer_the_image_whose_frequencies_they_see() -> None:
    settings = config(cuts=(1, 3, 5, 9, 11, 16), batch_size=64)
    low = answers_to_hybrids(Sees(1, 0), IMAGES, LABELS, settings)
    # From the cut on that passes their frequency, the low image has what they see.
    np.testing.assert_array_equal(low.low, [0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(low.high, [1, 0, 0, 0, 0, 0])
    high = answers_to_hybrids(Sees(0, 1), IMAGES, LABELS, settings)
    np.testing.assert_array_equal(high.low, [0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(high.high, [1, 1, 1, 1, 0, 0])
    assert low.equal_at == pytest.approx(3**0.5) and high.equal_at == pytest.approx(99**0.5)
    assert low.clean_accuracy == high.clean_accuracy == 1 and low.n == 200


def test_one_who_guesses_answers_either_by_chance() -> None:
    found = answers_to_hybrids(Guesses(), IMAGES, LABELS, config(filter="gaussian"))
    # Over 9 cuts of 200 pairs, with images of a class alike.
    np.testing.assert_allclose([found.low.mean(), found.high.mean()], 1 / CLASSES, atol=0.12)
    np.testing.assert_allclose(found.low + found.high + found.neither, 1)


def test_filters_pass_half_or_all_at_the_cut_in_any_direction() -> None:
    for kind, at, above in (("gaussian", 0.5, 2**-4), ("ideal", 1.0, 0.0)):
        passed = gain(4, 16, 32, kind)  # type: ignore[arg-type]
        assert passed.shape == (16, 17) and passed[0, 0] == 1
        # 4 cycles per image height are 8 per width of an image twice as wide.
        assert passed[4, 0] == passed[-4, 0] == passed[0, 8] == pytest.approx(at)
        assert passed[8, 0] == passed[0, 16] == pytest.approx(above)


@pytest.mark.parametrize("kind", ["gaussian", "ideal"])
def test_a_hybrid_is_made_of_both_and_has_the_luminance_of_the_low_one(kind: str) -> None:
    low, high = torch.rand(2, 3, 3, 15, 20)
    made = hybrid(low, high, 3.0, kind)  # type: ignore[arg-type]
    torch.testing.assert_close(made.mean((2, 3)), low.mean((2, 3)))
    torch.testing.assert_close(made + hybrid(high, low, 3.0, kind), low + high)  # type: ignore[arg-type]
    torch.testing.assert_close(hybrid(low, low, 3.0, kind), low)  # type: ignore[arg-type]
    passed = gain(3.0, 15, 20, kind)  # type: ignore[arg-type]
    expected = torch.fft.rfft2(low) * passed + torch.fft.rfft2(high) * (1 - passed)
    torch.testing.assert_close(torch.fft.rfft2(made), expected, rtol=1e-3, atol=1e-4)


def test_what_lies_beyond_black_and_white_is_clipped_and_counted() -> None:
    seen: list[Tensor] = []

    class Looks(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images.mean((2, 3)) @ torch.tensor([[1.0, -1.0]])

    images = np.zeros((2, 1, 8, 8), np.uint8)
    images[0] = 255
    images[1, :, :, ::2] = 255
    found = answers_to_hybrids(Looks(), images, np.array([0, 1]), config(cuts=(2,)))
    # White with black and white stripes on it, half of it beyond white; and grey without stripes.
    assert found.clipped.tolist() == [0.25]
    white, grey = seen[1][:, 0]
    assert white[:, ::2].eq(1).all() and white.max() <= 1
    torch.testing.assert_close(white[0, :4], torch.tensor([1.0, 0.5, 1.0, 0.5]))
    torch.testing.assert_close(grey, torch.full((8, 8), 0.5))


def test_pairs_are_of_two_classes_all_as_likely_and_the_same_of_a_seed() -> None:
    labels = np.repeat([5, 1, 3], [2000, 3000, 1000])
    partner = pairs(labels, 0)
    assert (labels[partner] != labels).all()
    of_ones = np.bincount(labels[partner[labels == 1]], minlength=6)
    assert of_ones[5] / of_ones.sum() == pytest.approx(2 / 3, abs=0.03)
    np.testing.assert_array_equal(partner, pairs(labels, 0))
    assert (partner != pairs(labels, 1)).mean() > 0.9


def test_answers_cross_on_the_logarithm_of_the_cut_or_never() -> None:
    cuts = np.array([1.0, 2.0, 4.0, 8.0])

    def of(low: list[float], high: list[float]) -> HybridAnswers:
        return HybridAnswers(cuts, np.array(low), np.array(high), np.zeros(4), 1.0, 9)

    assert of([0, 0.1, 0.5, 1], [1, 0.7, 0.3, 0]).equal_at == pytest.approx(2 * 2**0.75)
    assert of([0, 0.4, 0.4, 1], [1, 0.4, 0.4, 0]).equal_at == pytest.approx(8**0.5)
    assert of([0.6] * 4, [0.1] * 4).equal_at is None
    assert of([0.2] * 4, [0.2] * 4).equal_at is None
    noisy = of([0, 0.5, 0, 1], [1, 0, 0.5, 0])
    assert len(noisy.crossings) == 3 and 1 < noisy.equal_at < 8  # type: ignore[operator]
    assert crossings(cuts, np.array([-1.0, 0, 1, 1])).tolist() == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cuts": (0, 2)}, "rising frequencies above 0"),
        ({"cuts": (4, 2)}, "rising frequencies above 0"),
        ({"cuts": ()}, "at least 1 item"),
        ({"filter": "butterworth"}, "gaussian"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)


def test_cuts_beyond_the_highest_frequency_and_a_single_class_are_refused() -> None:
    with pytest.raises(ValueError, match="hybrids.cuts: 17 cycles .* at most 16"):
        answers_to_hybrids(Sees(1, 1), IMAGES, LABELS, config(cuts=(4, 17)))
    with pytest.raises(ValueError, match="all are of one class"):
        answers_to_hybrids(Sees(1, 1), IMAGES, np.zeros(200, np.int64), config())
