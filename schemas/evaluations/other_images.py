"""Accuracy on images that a network was not trained for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluation_set import EvaluationSet
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.training import ImageSet


class OtherImagesAccuracy(
    Evaluation,
    name="other_images",
    plan="OtherImagesPlan",
    settings=Settings(
        model="regularized_training.analysis.other_images:OtherImagesConfig",
        entry="other_images",
        several=True,
    ),
):
    """Accuracy of one network on an evaluation set, by what its outputs mean there."""

    beside = ("EvaluationSet",)
    asked_beside = ("EvaluationSet",)
    result = """
        n_images : int32
        accuracy : float64
        answers  : <npy@main>   # (n,) int64, the label that is answered for each image
    """

    class Label(dj.Part):
        """Images with one label."""

        definition = """
            -> master
            label_index : int16
            ---
            label       : varchar(255)
            n_labelled  : int32
            accuracy = null : float64   # none without images
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return super().key_source & EvaluationSet.proj()

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks on each set.

        Raises
        ------
        LookupError
            If there is no such set.
        """
        known = set(EvaluationSet.to_arrays("evaluation_set"))
        if missing := [one.set for one in settings if one.set not in known]:
            raise LookupError(
                f"other_images.set: {missing[0]} is not in the database, which has "
                f"{', '.join(sorted(known)) or 'none'}; add it with `neuroteach import "
                "evaluation-set`"
            )
        return super().rows_asked(settings, asked)

    @classmethod
    def key_beside(cls, settings: Any) -> Mapping[str, Any]:
        """The set."""
        return {"evaluation_set": settings.set}

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from regularized_training.analysis.other_images import score_on_other_images

        images = EvaluationSet.load({"evaluation_set": settings.set})
        shape = (ImageSet & subject.key).fetch1("channels", "height", "width")
        found = score_on_other_images(subject.network, subject.classes, images, shape, device)
        labels = [
            {
                "label_index": i,
                "label": name[:255],
                "n_labelled": int(n),
                "accuracy": None if math.isnan(accuracy) else float(accuracy),
            }
            for i, (name, n, accuracy) in enumerate(
                zip(images.label_names, found.n_of_label, found.of_label, strict=True)
            )
        ]
        row = {
            "n_images": len(found.answers),
            "accuracy": found.accuracy,
            "answers": found.answers,
        }
        return Found(row, {"Label": labels})


OtherImagesConfig, OtherImagesPlan = OtherImagesAccuracy.Config, OtherImagesAccuracy.Plan
