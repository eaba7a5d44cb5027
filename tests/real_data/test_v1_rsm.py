"""Similarity of macaque V1 (Coen-Cagli et al. 2015), as Federer et al. 2020 released it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from regularized_training.lessons.config import RsmConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_files import digits, read_image_folder
from regularized_training.teachers.rsm import gaussian_teacher, teacher_from_pairs
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.training import train
from regularized_training.training_config import TrainingConfig


@pytest.fixture(scope="module")
def v1(data_folder: Path) -> SimilarityTeacher:
    with np.load(data_folder / "macaque_v1_rsm" / "v1_rsm.npz") as released:
        # Every seventh pixel, since only the sizes of files matter here.
        images = np.ascontiguousarray(released["images227"][:, None, ::7, ::7])
        return teacher_from_pairs(images, released["v1_pairs"], released["v1_dissim"], name="V1")


def test_what_is_known_of_v1(v1: SimilarityTeacher) -> None:
    i, j = v1.known_pairs
    said = v1.similarity[i, j]
    assert (len(v1.stimuli), len(said)) == (956, 19_581)
    assert said.mean() == pytest.approx(0.7645, abs=2e-4)
    assert said.std() == pytest.approx(0.062, abs=1e-3)
    # A Gaussian of V1's mean and deviation is far less alike from stimulus to stimulus.
    assert gaussian_teacher(v1.stimuli).similarity[i, j].mean() == pytest.approx(0.42, abs=0.01)


def test_the_second_set_of_distances_is_of_v1_too(v1: SimilarityTeacher, data_folder: Path) -> None:
    with np.load(data_folder / "macaque_v1_rsm" / "v1_rsm.npz") as released:
        pairs, distances = released["v1_avg_pairs"], released["v1_avg_dissim"]
    differ = pairs[:, 0] != pairs[:, 1]
    second = teacher_from_pairs(v1.stimuli, pairs[differ], distances[differ].clip(min=0))
    both = np.isfinite(np.triu(v1.similarity, 1)) & np.isfinite(second.similarity)
    both &= np.triu(np.ones_like(both), 1)
    assert both.sum() == 770
    assert np.corrcoef(v1.similarity[both], second.similarity[both])[0, 1] == pytest.approx(
        0.92, abs=0.005
    )


def test_the_hundred_classes_have_twenty_superclasses(data_folder: Path) -> None:
    task = read_image_folder(data_folder / "cifar100" / "cifar100_subset.tar", grey=True)
    assert (len(task.train_images), len(task.test_images)) == (10_000, 5_000)
    sizes = Counter(task.superclasses)
    assert (len(sizes), set(sizes.values())) == (20, {5})
    assert task.superclasses[task.classes.index("maple_tree")] == "trees"
    coarse = task.of_superclasses()
    assert np.bincount(coarse.test_labels).tolist() == [250] * 20


def test_the_v1_of_cornet_comes_to_resemble_that_of_the_macaque(v1: SimilarityTeacher) -> None:
    config = TrainingConfig(
        epochs=4,
        schedule="constant",
        learning_rate=0.01,
        momentum=0,
        augment=AugmentConfig(padding=0, flip=False),
        n_train=640,
        n_test=100,
        regularizer=RsmConfig(method="rsm", ratio=1, taught_epochs=3),
    )
    network = NetworkConfig(architecture="cornet_z", width=8)
    history = train(digits(32), network, config, 0, teacher=v1).history
    costs = [record.similarity_loss for record in history]
    assert costs[3] is None
    assert costs[2] < 0.8 * costs[0]  # type: ignore[operator]
