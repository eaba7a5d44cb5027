from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from regularized_training.tasks.image_files import digits
from regularized_training.tasks.image_task import ImageTask


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests that run side by side must not fight for cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def first_images(task: ImageTask, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first training images of a task and their labels, as a step takes them."""
    return torch.tensor(task.train_images[:n]), torch.tensor(task.train_labels[:n])


@pytest.fixture(scope="session")
def small_digits() -> ImageTask:
    """Scikit-learn's digits at 16 x 16 pixels, all of them."""
    return digits(size=16)
