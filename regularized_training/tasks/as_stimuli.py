"""Images of a task as stimuli, so that an encoder can say how a brain responds to them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.stimuli import fit_images
from regularized_training.tasks.image_task import ImageTask, TaskError

StimulusPart = Literal["train", "validation"]


def task_stimuli(
    task: ImageTask, shape: tuple[int, int], part: StimulusPart = "train"
) -> NDArray[np.uint8]:
    """Images of a task as grey stimuli, in their order.

    Row i is image i of that part of ``task.with_validation()``: what settings are chosen by, and
    what a network is tested with, never teaches.

    Parameters
    ----------
    task : ImageTask
        With all its training images.
    shape : (height, width)
        That the encoder takes; images are made to fit by
        :func:`~predictive_model.recordings.stimuli.fit_images`.
    part : {"train", "validation"}
        The training images without the validation part, or that part.

    Returns
    -------
    (n, 1, height, width) uint8

    Raises
    ------
    TaskError
        If an image has no contrast, for which no response can be predicted, or the task has too
        few images for a validation part.
    """
    divided = task.with_validation()
    images = divided.train_images if part == "train" else divided.validation_images
    assert images is not None
    try:
        return fit_images(images, shape)
    except ValueError as error:
        raise TaskError(f"{part} images of {task.name!r} as stimuli of {shape}: {error}") from error
