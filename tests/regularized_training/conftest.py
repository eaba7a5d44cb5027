from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from regularized_training.tasks.image_files import digits
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.teacher import SimilarityTeacher
from tests.regularized_training.short_trainings import edge_similarity


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests that run side by side must not fight for cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def small_digits() -> ImageTask:
    """Scikit-learn's digits at 16 x 16 pixels, all of them."""
    return digits(size=16)


@pytest.fixture(scope="module")
def stimuli(small_digits: ImageTask) -> np.ndarray:
    """Images that are neither in the training nor in the test set of the short trainings."""
    rest = small_digits.train_images[small_digits.train_images.std((1, 2, 3)) > 0]
    return np.random.default_rng(0).permutation(rest)[:240]


@pytest.fixture(scope="module")
def teacher(stimuli: np.ndarray) -> SimilarityTeacher:
    return SimilarityTeacher("edges", stimuli[:180], edge_similarity(stimuli[:180]))
