"""Accuracy and calibration under corruptions."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject


class CorruptionAccuracy(
    Evaluation,
    name="corruptions",
    plan="CorruptionPlan",
    settings=Settings(
        model="regularized_training.robustness.corruptions.config:CorruptionConfig",
        entry="corruptions",
        columns={
            "n_kinds": ("int16", lambda s: len(s.kinds)),
            "max_severity": ("int8", lambda s: max(s.severities)),
            "corruption_seed": ("int32", lambda s: s.seed),
        },
    ),
):
    """Accuracy and calibration of one network under corruptions, the same for every network."""

    ranked_by = ("Severity", "accuracy")
    result = """
        n_images : int32
        clean_accuracy : float64   # of the same images as they are
    """

    class Severity(dj.Part):
        """One severity of a corruption."""

        definition = """
            -> master
            corruption  : varchar(32)
            severity    : int8       # 1 to 5
            ---
            accuracy    : float64
            confidence  : float64    # mean probability of what the network answers
            calibration_error : float64  # expected calibration error, 15 bins
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from dataclasses import asdict

        from regularized_training.robustness.corruptions.accuracy import accuracy_under_corruptions

        scores = accuracy_under_corruptions(
            subject.network, subject.images, subject.labels, settings, device=device
        )
        row = {"n_images": scores.n, "clean_accuracy": scores.clean_accuracy}
        return Found(row, {"Severity": [asdict(one) for one in scores.severities]})


CorruptionConfig, CorruptionPlan = CorruptionAccuracy.Config, CorruptionAccuracy.Plan
