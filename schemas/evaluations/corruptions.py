"""Accuracy and calibration under corruptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluation_set import EvaluationSet
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject


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

    class Images(dj.Part):
        """A set of corrupted images that were used in place of the task's."""

        definition = """
            -> master
            -> EvaluationSet
        """

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of settings and plan.

        Raises
        ------
        LookupError
            If a set of corrupted images is not there.
        """
        known = set(EvaluationSet.to_arrays("evaluation_set"))
        for one in settings:
            missing = [name for name in _names(one).values() if name not in known]
            if missing:
                raise LookupError(
                    f"corruptions.set: {missing[0]} is not in the database, one of {len(missing)} "
                    "that are missing; add them with `neuroteach import corrupted-images FOLDER "
                    f"--name {one.set}`, or leave out their kinds and severities"
                )
        return super().rows_asked(settings, asked)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from dataclasses import asdict

        from regularized_training.robustness.corruptions.accuracy import (
            accuracy_on_corrupted_sets,
            accuracy_under_corruptions,
        )

        names = _names(settings)
        subjects = (subject.network, subject.images, subject.labels)
        if names:
            scores = accuracy_on_corrupted_sets(
                *subjects,
                subject.classes,
                lambda *what: EvaluationSet.load({"evaluation_set": names[what]}),
                settings,
                device,
            )
        else:
            scores = accuracy_under_corruptions(*subjects, settings, device)
        row = {"n_images": scores.n, "clean_accuracy": scores.clean_accuracy}
        parts = {"Severity": [asdict(one) for one in scores.severities]}
        used = [{"evaluation_set": name} for name in names.values()]
        return Found(row, parts | ({"Images": used} if used else {}))


def _names(settings: Any) -> dict[tuple[str, int], str]:
    """Of the sets that settings ask for, by corruption and severity; none without."""
    from regularized_training.robustness.corruptions.config import set_name

    if not settings.set:
        return {}
    what = [(kind, severity) for kind in settings.kinds for severity in settings.severities]
    return {(kind, severity): set_name(settings.set, kind, severity) for kind, severity in what}


CorruptionConfig, CorruptionPlan = CorruptionAccuracy.Config, CorruptionAccuracy.Plan
