"""What people answer to the test images of an image set."""

from __future__ import annotations

import math

import datajoint as dj
import numpy as np

from regularized_training.behaviour.soft_labels import SoftLabels as Answers
from regularized_training.tasks.labelled_task import TaskError, labels_digest
from schemas.base import schema
from schemas.images import ImageSet


@schema
class SoftLabels(dj.Manual):
    """How often people answered each class to the test images of an image set, as in CIFAR-10H."""

    extends = "ImageSet"  # goes wherever its image set goes

    definition = """
        -> ImageSet
        ---
        n_answers    : int64
        accuracy     : float64       # mean over images of the fraction of answers that are right
        entropy      : float64       # of the answers to an image, in nats, mean over images
        source       : varchar(255)
        licence = "" : varchar(255)  # what whoever imported it noted of its terms
        digest       : char(64)      # of the counts
        counts       : <npy@main>    # (n_test, class) int64, in the order of the test images
    """

    @classmethod
    def add(cls, image_set: str, answers: Answers, *, source: str, licence: str = "") -> bool:
        """Insert people's answers; False if the very same are there already.

        Raises
        ------
        LookupError
            If there is no such image set.
        TaskError
            If they are not of its test images, or it has others.
        """
        labels, classes = ImageSet.named(image_set).fetch1("test_labels", "classes")
        expected = (len(labels), len(classes))
        if answers.counts.shape != expected or not np.array_equal(answers.labels, labels):
            raise TaskError(
                f"counts: {answers.counts.shape} of images and classes, expected {expected} with "
                f"the labels of the test images of {image_set!r}, in their order"
            )
        digest = labels_digest(answers.counts)
        key = {"image_set": image_set}
        present = (cls & key).to_arrays("digest")
        if len(present):
            if present[0] == digest:
                return False
            raise TaskError(
                f"counts: {image_set!r} has other answers of people; `neuroteach delete "
                f"soft-labels {image_set}` deletes them with what was measured by them"
            )
        cls.insert1(
            {
                **key,
                "n_answers": int(answers.counts.sum()),
                "accuracy": answers.accuracy,
                "entropy": float(answers.entropy.mean() * math.log(2)),
                "source": source[:255],
                "licence": licence[:255],
                "digest": digest,
                "counts": answers.counts,
            }
        )
        return True

    @classmethod
    def load(cls, key: dict[str, str]) -> Answers:
        """The answers, in the order of the test images."""
        image_set = {"image_set": key["image_set"]}
        counts = (cls & image_set).fetch1("counts")
        labels = ImageSet.labels_of(image_set, "test")
        return Answers(np.asarray(counts), labels)
