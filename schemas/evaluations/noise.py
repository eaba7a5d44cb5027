"""Accuracy and calibration under noise."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject


class NoiseAccuracy(
    Evaluation,
    name="noise",
    plan="NoisePlan",
    settings=Settings(
        model="regularized_training.robustness.noise:NoiseConfig",
        entry="noise",
        table="NoiseConfig",
        key="noise_hash",
        columns={
            "noise": ("varchar(16)  # gaussian, uniform, salt_and_pepper", lambda s: s.kind),
            "max_level": ("float64", lambda s: max(s.levels)),
            "clamped": ("bool", lambda s: s.clamp),
            "noise_seed": ("int32", lambda s: s.seed),
        },
        several=True,
        default=True,
    ),
):
    """Accuracy and calibration of one network under noise, the same noise for every network."""

    ranked_by = ("Level", "accuracy")
    result = """
        n_images : int32
    """

    class Level(dj.Part):
        """One level of noise."""

        definition = """
            -> master
            level_index : int16
            ---
            level       : float64    # pixels in [0, 1]: s.d., half-width, or fraction of pixels
            accuracy    : float64
            confidence  : float64    # mean probability of what the network answers
            calibration_error : float64  # expected calibration error, 15 bins
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from regularized_training.robustness import noise

        scores = noise.accuracy_under_noise(
            subject.network, subject.images, subject.labels, settings, device=device
        )
        columns = {
            "level": scores.levels,
            "accuracy": scores.accuracy,
            "confidence": scores.confidence,
            "calibration_error": scores.calibration_error,
        }
        levels = [
            {"level_index": i, **dict(zip(columns, values, strict=True))}
            for i, values in enumerate(zip(*columns.values(), strict=True))
        ]
        return Found({"n_images": scores.n}, {"Level": levels})


NoiseConfig, NoisePlan = NoiseAccuracy.Config, NoiseAccuracy.Plan
