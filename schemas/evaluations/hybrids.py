"""Which of two images a network sees in their hybrid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.training import ImageSet


class HybridAnswers(
    Evaluation,
    name="hybrids",
    plan="HybridPlan",
    settings=Settings(
        model="regularized_training.robustness.hybrids_config:HybridConfig",
        entry="hybrids",
        columns={
            "frequency_filter": ("varchar(16)  # gaussian, ideal", lambda s: s.filter),
            "hybrid_seed": ("int32", lambda s: s.seed),
        },
        several=True,
    ),
):
    """Answers of one network to low frequencies of one image with high ones of another."""

    result = """
        n_images        : int32      # pairs
        clean_accuracy  : float64    # of the images whose low frequencies are shown, as they are
        low             : float64    # share answered as the low image, mean over cuts
        high            : float64    # as the high image
        clipped         : float64    # share of pixels outside 0 to 1, mean over cuts
        equal_at = null : float64    # cut at which either is answered as often; may be none
        n_crossings     : int32      # of the two shares; equal_at is their geometric mean
    """

    class Cut(dj.Part):
        """Hybrids of one cut between low and high frequencies."""

        definition = """
            -> master
            cut_index : int16
            ---
            cut       : float64    # cycles per image height
            low       : float64    # share answered as the low image
            high      : float64    # as the high image
            clipped   : float64    # share of pixels outside 0 to 1
        """

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks; a ValueError if a cut is beyond the highest frequency of the images."""
        for image_set in {training["image_set"] for training in asked.trainings}:
            height = (ImageSet & {"image_set": image_set}).fetch1("height")
            for one in settings:
                one.cuts_of(height)
        return super().rows_asked(settings, asked)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Ask one network."""
        from regularized_training.robustness.hybrids import answers_to_hybrids

        found = answers_to_hybrids(
            subject.network, subject.images, subject.labels, settings, device
        )
        row = {
            "n_images": found.n,
            "clean_accuracy": found.clean_accuracy,
            "low": float(found.low.mean()),
            "high": float(found.high.mean()),
            "clipped": float(found.clipped.mean()),
            "equal_at": found.equal_at,
            "n_crossings": len(found.crossings),
        }
        columns = ("cut", "low", "high", "clipped")
        values = zip(found.cuts, found.low, found.high, found.clipped, strict=True)
        cuts = [
            {"cut_index": i, **dict(zip(columns, map(float, one), strict=True))}
            for i, one in enumerate(values)
        ]
        return Found(row, {"Cut": cuts})


HybridConfig, HybridPlan = HybridAnswers.Config, HybridAnswers.Plan
