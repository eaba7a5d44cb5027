"""Errors on the test images, and how many of them stay within the right superclass."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Subject
from schemas.training import Superclasses, TrainedNetwork, TrainingPlan


class SuperclassErrors(Evaluation, name="superclass_errors"):
    """Errors of one network on all test images, and how many stay within the right superclass.

    Of image sets that have superclasses.
    """

    beside = ("Superclasses",)
    result = """
        n_images  : int32
        n_errors  : int32
        within_superclass = null : float64  # share of the errors; none without errors
        confusion : <npy@main>              # (class, class) int64, class by answer
    """

    @property
    def key_source(self) -> Any:
        """Every network, as far as its images have superclasses."""
        return TrainedNetwork.proj() * Superclasses.proj()

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Networks of experiments on images with superclasses."""
        return TrainingPlan & experiments & Superclasses.proj()

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from sklearn.metrics import confusion_matrix  # a second to import

        from regularized_training.analysis import errors

        answers = errors.answers_of(subject.network, subject.images, device)
        _, group = np.unique(subject.superclasses, return_inverse=True)
        share, n = errors.superclass_share(answers, subject.labels, group)
        classes = np.arange(len(subject.classes))
        return Found(
            {
                "n_images": len(answers),
                "n_errors": n,
                "within_superclass": share if n else None,
                "confusion": confusion_matrix(subject.labels, answers, labels=classes),
            }
        )
