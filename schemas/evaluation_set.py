"""Labelled images for networks that learned others."""

from __future__ import annotations

import datajoint as dj
import numpy as np

from regularized_training.tasks.evaluation_set import EvaluationSet as ImagesToEvaluate
from regularized_training.tasks.labelled_task import TaskError
from schemas.base import schema


@schema
class EvaluationSet(dj.Manual):
    """Labelled images that networks are tested on, but not trained."""

    definition = """
        evaluation_set : varchar(64)
        ---
        n_images     : int32
        channels     : int16
        height       : int16
        width        : int16
        label_names  : json
        outputs      : json          # classes that mean each label; its own name if empty
        source       : varchar(255)
        digest       : char(64)      # of all of it
        images       : <npy@main>    # (n, channels, height, width) uint8
        labels       : <npy@main>    # (n,)
    """

    @classmethod
    def add(cls, images: ImagesToEvaluate, *, source: str) -> bool:
        """Insert a set; False if the very same is there already.

        Raises
        ------
        TaskError
            If another set has this name.
        """
        present = (cls & {"evaluation_set": images.name}).to_arrays("digest")
        if len(present):
            if present[0] == images.digest:
                return False
            raise TaskError(
                f"name: the database has another evaluation set named {images.name!r}; choose "
                f"another name, or `neuroteach delete evaluation-set {images.name}`"
            )
        n, channels, height, width = images.images.shape
        cls.insert1(
            dict(
                evaluation_set=images.name,
                n_images=n,
                channels=channels,
                height=height,
                width=width,
                label_names=list(images.label_names),
                outputs={label: list(classes) for label, classes in images.outputs.items()},
                source=source[:255],
                digest=images.digest,
                images=images.images,
                labels=images.labels,
            )
        )
        return True

    @classmethod
    def load(cls, key: dict[str, str]) -> ImagesToEvaluate:
        """The set, in memory."""
        row = (cls & {"evaluation_set": key["evaluation_set"]}).fetch1()
        return ImagesToEvaluate(
            name=row["evaluation_set"],
            images=np.asarray(row["images"]),
            labels=np.asarray(row["labels"]),
            label_names=tuple(row["label_names"]),
            outputs=row["outputs"],
        )
