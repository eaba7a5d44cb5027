"""People's answers as soft labels: what a network costs against them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regularized_training.behaviour.soft_labels import (
    SoftLabels,
    accuracy_by_entropy,
    cross_entropy,
    noisy_labels,
    read_soft_labels,
)


def test_no_network_costs_less_than_the_entropy_of_people() -> None:
    rng = np.random.default_rng(0)
    people = SoftLabels(rng.integers(0, 9, (50, 4)) + np.eye(4, dtype=int)[0], np.zeros(50, int))
    p = people.probabilities
    least = people.entropy.mean() * np.log(2)  # in nats
    with np.errstate(divide="ignore"):
        assert cross_entropy(np.log(p), p) == pytest.approx(least)
    other = rng.dirichlet(np.ones(4), 50)
    divergence = np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / other), 0), 1).mean()
    assert cross_entropy(np.log(other), p) == pytest.approx(least + divergence)


def test_images_of_one_entropy_share_a_bin() -> None:
    entropy = np.array([0.0] * 6 + [0.3, 0.6, 0.9, 1.2])
    right = np.array([1] * 6 + [1, 1, 0, 0])
    found = accuracy_by_entropy(right, entropy, 5)
    assert found["n_images"].tolist() == [6, 2, 2]  # quantiles 0, 0, 0, .7
    assert found["accuracy"].tolist() == [1, 1, 0]
    assert found["entropy_high"].tolist() == [0, 0.6, 1.2]


@pytest.mark.parametrize(
    ("counts", "labels", "message"),
    [
        ([[1, 0]], [0, 1], r"counts \(1, 2\) and labels \(2,\)"),
        ([[1, 0], [0, 0]], [0, 1], "an image has none"),
        ([[1, 0]], [2], "labels: 2 to 2, of 2 classes"),
    ],
)
def test_counts_that_are_no_answers_are_refused(
    counts: list[list[int]], labels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SoftLabels(np.array(counts), np.array(labels))


def test_probabilities_in_place_of_their_logarithms_are_refused() -> None:
    with pytest.raises(ValueError, match="take a log-softmax"):
        cross_entropy([[0.4, 0.6]], [[1, 0]])
    with pytest.raises(ValueError, match="expected one for each image"):
        accuracy_by_entropy([1], [0.0, 1.0])
    with pytest.raises(ValueError, match="n_bins: 3, expected 1 to 2"):
        accuracy_by_entropy([1, 0], [0.0, 1.0], 3)


def test_files_without_such_labels_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.npz"
    np.savez(file, clean_label=np.zeros(3, int))
    with pytest.raises(ValueError, match="lacks worse_label; it has clean_label"):
        noisy_labels(file, "worst")
    with pytest.raises(ValueError, match="kind: 'worse', expected one of aggregate"):
        noisy_labels(file, "worse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lacks counts, labels"):
        read_soft_labels(file)
