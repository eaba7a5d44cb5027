"""Labelled images for networks that learned others."""

from __future__ import annotations

from collections.abc import Sequence

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from regularized_training.behaviour.network_trials import condition_shown
from regularized_training.behaviour.trials import TrialsError
from regularized_training.tasks.evaluation_set import EvaluationSet as ImagesToEvaluate
from regularized_training.tasks.labelled_task import TaskError
from schemas.base import schema, transaction
from schemas.psychophysics import Psychophysics


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
        """Insert a set with the names of its images; False if the very same is there already.

        Of a set that is there without names, the names are added.

        Raises
        ------
        TaskError
            If another set has this name, or its images have other names.
        """
        present = (cls & {"evaluation_set": images.name}).to_arrays("digest")
        if len(present):
            if present[0] == images.digest:
                return ImageNames.add(images)
            raise TaskError(
                f"name: the database has another evaluation set named {images.name!r}; choose "
                f"another name, or `neuroteach delete evaluation-set {images.name}`"
            )
        n, channels, height, width = images.images.shape
        with transaction(cls.connection):
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
            ImageNames.add(images)
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
            image_names=ImageNames.of(row["evaluation_set"]),
        )

    @classmethod
    def labelled(cls, evaluation_set: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The label of each image, and the names of the labels, for which no image is read."""
        row = cls & {"evaluation_set": evaluation_set}
        labels, names = row.fetch1("labels", "label_names")
        return np.asarray(labels), tuple(names)


@schema
class ImageNames(dj.Manual):
    """What the images of an evaluation set are called, of sets of which it is known."""

    extends = "EvaluationSet"  # goes wherever its set goes

    definition = """
        -> EvaluationSet
        ---
        image_names : json    # of each image, in the order of the images
    """

    @classmethod
    def add(cls, images: ImagesToEvaluate) -> bool:
        """Insert those of a set; False if it has none, or the very same are there already.

        Raises
        ------
        TaskError
            If the set's images have other names.
        """
        if not images.image_names:
            return False
        present = cls.of(images.name)
        if present and present != images.image_names:
            raise TaskError(
                f"image_names: the images of {images.name!r} have other names in the database; "
                "import the set under another name, or `neuroteach delete evaluation-set "
                f"{images.name}`"
            )
        if not present:
            cls.insert1({"evaluation_set": images.name, "image_names": list(images.image_names)})
        return not present

    @classmethod
    def of(cls, evaluation_set: str) -> tuple[str, ...]:
        """Name of each image; empty where nobody knows."""
        found = (cls & {"evaluation_set": evaluation_set}).to_dicts()
        return tuple(found[0]["image_names"]) if found else ()


@schema
class ShownImages(dj.Manual):
    """An evaluation set whose images people saw: which trials have their answers."""

    extends = "EvaluationSet"  # goes wherever its set goes, with the trials

    definition = """
        -> EvaluationSet
        -> Psychophysics
        ---
        image_condition : varchar(64)   # in which its images were shown
    """

    @staticmethod
    def condition_of(
        names: Sequence[str], categories: Sequence[str], trials: str, condition: str | None = None
    ) -> str:
        """In which condition of trials images were shown, by their names and what they show.

        Raises
        ------
        LookupError, TrialsError
            As of :meth:`add`.
        """
        known = sorted(Psychophysics.to_arrays("psychophysics"))
        if trials not in known:
            raise LookupError(
                f"trials: {trials} is not in the database, which has {', '.join(known) or 'none'}; "
                "add it with `neuroteach import trials`"
            )
        loaded = Psychophysics.load({"psychophysics": trials})
        return condition_shown(loaded, names, categories, condition)

    @classmethod
    def add(cls, evaluation_set: str, trials: str, condition: str | None = None) -> bool:
        """Say that the images of a set are those of a condition of trials; False if it is known.

        Parameters
        ----------
        evaluation_set, trials : str
            Names of both.
        condition : str, optional
            The only one of the trials, if they have one.

        Raises
        ------
        LookupError
            If there are no such trials.
        TrialsError
            If images have no names, were shown to nobody or are labelled otherwise, or were said to
            be shown in another condition.
        """
        labels, label_names = EvaluationSet.labelled(evaluation_set)
        shown = [label_names[i] for i in labels]
        condition = cls.condition_of(ImageNames.of(evaluation_set), shown, trials, condition)
        key = {"evaluation_set": evaluation_set, "psychophysics": trials}
        present = (cls & key).to_dicts()
        if not present:
            cls.insert1({**key, "image_condition": condition})
        elif present[0]["image_condition"] != condition:
            raise TrialsError(
                f"condition: {condition!r}, but the images of {evaluation_set!r} were said to be "
                f"shown in {present[0]['image_condition']!r} of {trials!r}; import the set under "
                f"another name, or `neuroteach delete evaluation-set {evaluation_set}`"
            )
        return not present
