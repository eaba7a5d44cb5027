"""Settings of the lesson by centred kernel alignment; imports no torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from regularized_training.lessons.config import BatchNormChoice, LessonConfig


class CkaConfig(LessonConfig):
    """How features are pulled toward a teacher's similarity by centred kernel alignment.

    Attributes
    ----------
    method : "cka"
    alpha : float
        Weight of the loss, 1 - CKA.
    n_stimuli : int
        In a batch. The unbiased estimate needs at least 4.
    stimulus_size : (int, int), optional
        Height and width to resize the stimuli to; as they were shown by default.
    layers : tuple of str, optional
        Layers that are compared, each for itself, with learned weights; all of the architecture's
        by default.
    batchnorm : {"task", "both", "running"}
        See :class:`~regularized_training.lessons.config.RegularizerConfig`.
    """

    made_by: ClassVar[str] = "regularized_training.lessons.cka:CkaLesson"

    method: Literal["cka"]
    alpha: float = Field(default=1.0, ge=0)
    n_stimuli: int = Field(default=16, ge=4)
    stimulus_size: tuple[int, int] | None = None
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    batchnorm: BatchNormChoice = "task"
