"""Stimuli that are the images of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import datajoint as dj

from regularized_training.tasks.image_task import ImageTask, TaskError
from schemas.base import schema, transaction
from schemas.images import ImageSet
from schemas.recording import StimulusName, StimulusSet

if TYPE_CHECKING:
    from regularized_training.tasks.as_stimuli import StimulusPart


@schema
class TaskStimuli(dj.Manual):
    """Stimuli that are images of an image set: row i is image i of the part, in its order."""

    extends = "StimulusSet"  # goes wherever its stimuli go

    definition = """
        -> StimulusSet
        -> ImageSet
        part : varchar(16)   # train: without the validation part; or validation
    """

    @classmethod
    def task_of(cls, stimulus_set: str) -> str:
        """The image set that stimuli are the training images of.

        Raises
        ------
        LookupError
            If they are not those of one image set.
        """
        found = set((cls & {"stimulus_set": stimulus_set, "part": "train"}).to_arrays("image_set"))
        if len(found) != 1:
            said = ", ".join(sorted(found)) or "none"
            raise LookupError(
                f"stimuli {stimulus_set}: training images of {said}, expected those of one image "
                "set; make them with `neuroteach import stimuli --from-images SET --name NAME`"
            )
        return str(found.pop())

    @classmethod
    def add(
        cls,
        image_set: str,
        shape: tuple[int, int],
        part: StimulusPart = "train",
        *,
        name: str | None = None,
    ) -> str:
        """Make stimuli of the images of a set, and return their key.

        Parameters
        ----------
        image_set : str
        shape : (height, width)
            That the encoders take.
        part : {"train", "validation"}
            See :func:`~regularized_training.tasks.as_stimuli.task_stimuli`.
        name : str, optional
            By which experiment files may refer to them.

        Raises
        ------
        LookupError
            If there is no such image set.
        TaskError
            If an image cannot be a stimulus.
        ValueError
            If other stimuli have the name.
        """
        from regularized_training.tasks.as_stimuli import task_stimuli

        task = ImageSet.load(ImageSet.named(image_set).fetch1("KEY"))
        if not isinstance(task, ImageTask):
            raise TaskError(
                f"image set: {image_set}, whose pictures stay in files; import those that are to "
                "be stimuli from their folder: `neuroteach import stimuli FOLDER`"
            )
        stimuli = task_stimuli(task, shape, part)
        with transaction(cls.connection):
            key = StimulusSet.add(stimuli)
            row = {"stimulus_set": key, "image_set": image_set, "part": part}
            cls.insert1(row, skip_duplicates=True)
            if name is not None:
                StimulusName.add(name, key)
        return key
