"""Which images an evaluation chooses, and what it leaves of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regularized_training.tasks.chosen_images import chosen_images, evaluating

IMAGES = np.zeros((30, 1, 4, 4), np.uint8)
LABELS = np.repeat([0, 1, 2], [20, 8, 2])


def test_all_images_are_chosen_where_no_number_is_given() -> None:
    for n in (None, 30):
        np.testing.assert_array_equal(chosen_images(IMAGES, LABELS, n, seed=0), np.arange(30))


@pytest.mark.parametrize(("n", "counts"), [(3, [1, 1, 1]), (6, [2, 2, 2]), (12, [5, 5, 2])])
def test_images_are_chosen_evenly_over_the_classes_as_far_as_they_go(
    n: int, counts: list[int]
) -> None:
    chosen = chosen_images(IMAGES, LABELS, n, seed=0)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(np.bincount(LABELS[chosen], minlength=3), counts)


def test_the_seed_chooses() -> None:
    first, again, other = (chosen_images(IMAGES, LABELS, 6, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("n", [0, -1, 31])
def test_more_images_than_there_are_and_none_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n_images: {n}, expected 1 to 30"):
        chosen_images(IMAGES, LABELS, n, seed=0)


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        (IMAGES, LABELS[:29], "with 29 labels"),
        (IMAGES[:, 0], LABELS, r"shape \(30, 4, 4\)"),
        (IMAGES / np.float32(255), LABELS, "type float32"),
    ],
)
def test_images_that_do_not_fit_their_labels_are_refused(
    images: np.ndarray, labels: np.ndarray, found: str
) -> None:
    with pytest.raises(ValueError, match=found):
        chosen_images(images, labels, None, seed=0)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_evaluated_and_each_part_is_left_in_its_mode(
    training: bool, frozen: bool
) -> None:
    """Also if it is interrupted, and also where a part is frozen in the other mode."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train(training)
    if frozen:
        network[1].train(not training)
    before = [module.training for module in network.modules()]
    with evaluating(network, "cpu"):
        assert not any(module.training for module in network.modules())
        images = torch.rand(4, 1, 5, 5)
        assert torch.equal(network(images), network(images))  # nothing is dropped at random
    assert [module.training for module in network.modules()] == before
    with pytest.raises(Interrupted), evaluating(network, "cpu"):
        raise Interrupted
    assert [module.training for module in network.modules()] == before
