"""Cross-entropy to people, whose own entropy is the least that it can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regularized_training.analysis.soft_labels import SoftLabelsConfig, score_beside_people
from regularized_training.behaviour.soft_labels import SoftLabels
from regularized_training.tasks.labelled_task import TaskError

COUNTS = np.array([[8, 0], [4, 4], [1, 7], [8, 0], [2, 6]])
PEOPLE = SoftLabels(COUNTS, np.array([0, 0, 1, 1, 1]))
IMAGES = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)


class Says(nn.Module):
    """Answers to image i what stands in line i."""

    def __init__(self, probabilities: np.ndarray) -> None:
        super().__init__()
        self.logits = torch.tensor(probabilities).log()

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[(images.flatten() * 255).round().long()]


def test_a_network_that_answers_as_people_do_has_their_entropy() -> None:
    scores = score_beside_people(Says(PEOPLE.probabilities), IMAGES, PEOPLE, SoftLabelsConfig())
    entropy = PEOPLE.entropy.mean() * math.log(2)
    assert scores.cross_entropy == pytest.approx(entropy) == scores.people_entropy
    assert scores.accuracy == 0.8  # to the fourth image all answer wrongly
    assert scores.label_loss == math.inf


def test_one_that_knows_nothing_is_above_it_by_what_it_does_not_know() -> None:
    scores = score_beside_people(Says(np.full((5, 2), 0.5)), IMAGES, PEOPLE, SoftLabelsConfig())
    assert scores.cross_entropy == pytest.approx(math.log(2)) == scores.label_loss
    assert sum(one.n_in_bin for one in scores.bins) == 5
    agreed = scores.bins[0]
    assert (agreed.entropy_low, agreed.entropy_high, agreed.n_in_bin) == (0, 0, 2)
    assert (agreed.accuracy, agreed.people_accuracy) == (0.5, 0.5)


def test_answers_of_other_images_or_classes_are_refused() -> None:
    with pytest.raises(TaskError, match="answers to 5 images, expected 4"):
        score_beside_people(Says(np.ones((5, 2))), IMAGES[:4], PEOPLE, SoftLabelsConfig())
    with pytest.raises(TaskError, match="answers of 2 classes, expected 3"):
        score_beside_people(Says(np.ones((5, 3))), IMAGES, PEOPLE, SoftLabelsConfig())
