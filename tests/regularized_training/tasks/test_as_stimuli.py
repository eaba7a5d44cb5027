"""Images of a task as stimuli: in order, grey, and without those that choose settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictive_model.recordings.stimuli import fit_images
from regularized_training.tasks.as_stimuli import task_stimuli
from regularized_training.tasks.image_files import luma
from regularized_training.tasks.image_task import ImageTask, TaskError

RNG = np.random.default_rng(0)
TASK = ImageTask(
    "colours",
    RNG.integers(0, 256, (40, 3, 12, 12), np.uint8),
    np.arange(40) % 2,
    RNG.integers(0, 256, (6, 3, 12, 12), np.uint8),
    np.arange(6) % 2,
    ("a", "b"),
)


def test_row_i_is_training_image_i_and_validation_pictures_are_left_out() -> None:
    divided = TASK.with_validation()
    assert divided.validation_images is not None
    found = task_stimuli(TASK, (12, 12))
    assert found.shape == (len(divided.train_images), 1, 12, 12) == (36, 1, 12, 12)
    # To half a grey level: Pillow's weights are whole 65536ths.
    difference = found.astype(int) - luma(divided.train_images)
    assert np.abs(difference).max() <= 1
    withheld = task_stimuli(TASK, (12, 12), "validation")
    np.testing.assert_array_equal(withheld, fit_images(divided.validation_images, (12, 12)))
    shown = {image.tobytes() for image in found}
    assert not shown & {image.tobytes() for image in withheld}


def test_images_are_made_to_fit_the_encoder() -> None:
    assert task_stimuli(TASK, (9, 16)).shape == (36, 1, 9, 16)


def test_a_blank_image_is_refused_by_its_number() -> None:
    train = TASK.train_images.copy()
    train[[0, 1]] = 7  # one of them in each class, so that neither is held out
    with pytest.raises(TaskError, match="train images of 'colours' .* 2 are constant, the first"):
        task_stimuli(replace(TASK, train_images=train), (12, 12))
