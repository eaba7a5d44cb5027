"""Accuracy and response distribution on manipulated images."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject


class ManipulationAccuracy(
    Evaluation,
    name="manipulations",
    plan="ManipulationPlan",
    settings=Settings(
        model="regularized_training.robustness.manipulations.config:ManipulationConfig",
        entry="manipulations",
        columns={
            "n_manipulations": ("int16", lambda s: len(s.levels)),
            "manipulation_seed": ("int32", lambda s: s.seed),
        },
    ),
):
    """Answers of one network to images as Geirhos et al. 2018 showed them to people."""

    ranked_by = ("Level", "accuracy")
    result = """
        n_images       : int32
        n_classes      : int32
        clean_accuracy : float64   # of the same images as they are
        clean_entropy  : float64   # bits
    """

    class Level(dj.Part):
        """One level of a manipulation."""

        definition = """
            -> master
            manipulation : varchar(32)
            level_index  : int16
            ---
            level        : float64
            accuracy     : float64
            entropy      : float64    # bits, of the answers to all images
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from regularized_training.robustness.manipulations.accuracy import (
            accuracy_under_manipulations,
        )

        n_classes = len(subject.classes)
        scores = accuracy_under_manipulations(
            subject.network, subject.images, subject.labels, settings, n_classes, device
        )
        row = {
            "n_images": scores.n,
            "n_classes": n_classes,
            "clean_accuracy": scores.clean_accuracy,
            "clean_entropy": scores.clean_entropy,
        }
        levels = [
            {
                "manipulation": one.manipulation,
                "level_index": settings.levels[one.manipulation].index(one.level),
                "level": one.level,
                "accuracy": one.accuracy,
                "entropy": one.entropy,
            }
            for one in scores.levels
        ]
        return Found(row, {"Level": levels})


ManipulationConfig, ManipulationPlan = ManipulationAccuracy.Config, ManipulationAccuracy.Plan
