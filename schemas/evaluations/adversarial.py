"""Smallest perturbations that fool networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datajoint as dj
import numpy as np

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject

if TYPE_CHECKING:
    from regularized_training.robustness.attacks import AdversarialDistances


class AdversarialDistance(
    Evaluation,
    name="adversarial",
    plan="AttackPlan",
    settings=Settings(
        model="regularized_training.robustness.attack_config:AttackConfig",
        entry="attacks",
        table="AttackConfig",
        key="attack_hash",
        columns={
            "method": ("varchar(32)  # brendel_bethge, pgd", lambda s: s.method),
            "norm": ("varchar(8)   # L2, Linf, L1, L0", lambda s: s.norm),
            "attack_seed": ("int32", lambda s: s.seed),
        },
        several=True,
    ),
):
    """Smallest perturbations that fool one network. Medians count misclassified images as 0."""

    takes_long = True
    result = """
        n_images        : int32
        n_misclassified : int32            # without any attack
        n_failed        : int32            # no adversarial image was found
        median = null         : float64    # null: infinite, over half of the attacks failed
        median_low = null     : float64    # 95 percent interval, from resampled images
        median_high = null    : float64
        median_correct = null : float64    # of images that are classified correctly
        median_correct_low = null  : float64
        median_correct_high = null : float64
        curve_queries : <npy@main>         # (q,) queries to the network for an image
        curve         : <npy@main>         # (q, image) distance reached after so many
    """

    class Image(dj.Part):
        """One image."""

        definition = """
            -> master
            image_index : int32            # among those of its part
            ---
            outcome     : varchar(16)      # misclassified, adversarial, failed
            distance = null : float64      # null where the attack failed
            queries     : int64
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Attack one network."""
        from regularized_training.robustness import attacks

        found = attacks.adversarial_distances(
            subject.network, subject.images, subject.labels, settings, device=device
        )
        row = {
            "n_images": len(found.index),
            "n_misclassified": int(found.misclassified.sum()),
            "n_failed": int(found.failed.sum()),
            **_medians(found),
            "curve_queries": found.curve_queries,
            "curve": found.curve.astype(np.float32),
        }
        return Found(row, {"Image": _images(found)})


def _medians(found: AdversarialDistances) -> dict[str, float | None]:
    medians: dict[str, float] = {}
    for name, correct_only in (("median", False), ("median_correct", True)):
        low, high = found.median_interval(correct_only=correct_only)
        medians |= {
            name: found.median(correct_only=correct_only),
            f"{name}_low": low,
            f"{name}_high": high,
        }
    return {name: _finite(value) for name, value in medians.items()}


def _images(found: AdversarialDistances) -> list[dict[str, Any]]:
    outcomes = np.select(
        [found.misclassified, found.failed], ["misclassified", "failed"], "adversarial"
    )
    rows = zip(found.index, outcomes, found.distance, found.queries, strict=True)
    return [
        {
            "image_index": int(index),
            "outcome": str(outcome),
            "distance": _finite(distance),
            "queries": int(queries),
        }
        for index, outcome, distance, queries in rows
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


AttackConfig, AttackPlan = AdversarialDistance.Config, AdversarialDistance.Plan
