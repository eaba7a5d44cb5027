"""How many images withstand an ensemble of attacks in given balls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datajoint as dj

from regularized_training.robustness.autoattack.config import ATTACKS
from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject

if TYPE_CHECKING:
    from regularized_training.robustness.autoattack.ensemble import RobustAccuracy


class AutoAttackAccuracy(
    Evaluation,
    name="autoattack",
    plan="AutoAttackPlan",
    settings=Settings(
        model="regularized_training.robustness.autoattack.config:AutoAttackConfig",
        entry="autoattack",
        columns={
            "norm": ("varchar(8)   # Linf, L2, L1", lambda s: s.norm),
            "max_epsilon": ("float64", lambda s: max(s.epsilons)),
            "autoattack_seed": ("int32", lambda s: s.seed),
        },
        several=True,
    ),
):
    """Robust accuracy of one network against the ensemble of Croce and Hein 2020."""

    takes_long = True
    ranked_by = ("Ball", "robust_accuracy")
    result = """
        n_images       : int32
        n_targets      : int16     # classes that targeted attacks aimed at
        clean_accuracy : float64   # of the same images without an attack
    """

    class Ball(dj.Part):
        """One ball, and how many of the images fooled in it each attack was the first to fool."""

        definition = """
            -> master
            ball_index      : int16
            ---
            epsilon         : float64      # radius, pixels in 0 to 1
            robust_accuracy : float64
            n_apgd_ce = null : int32       # null: was not run
            n_apgd_t = null  : int32
            n_fab_t = null   : int32
            n_square = null  : int32
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Attack one network."""
        from regularized_training.robustness.autoattack import ensemble

        found = ensemble.robust_accuracy(
            subject.network, subject.images, subject.labels, settings, device=device
        )
        row = {
            "n_images": len(found.index),
            "n_targets": found.n_targets,
            "clean_accuracy": found.clean_accuracy,
        }
        return Found(row, {"Ball": _balls(found)})


def _balls(found: RobustAccuracy) -> list[dict[str, Any]]:
    balls = []
    for place, epsilon in enumerate(found.epsilons):
        counts = {
            f"n_{attack}": found.first_fooled(place, attack) if attack in found.attacks else None
            for attack in ATTACKS
        }
        ball = {"ball_index": place, "epsilon": epsilon, "robust_accuracy": found.accuracy(place)}
        balls.append({**ball, **counts})
    return balls


AutoAttackConfig, AutoAttackPlan = AutoAttackAccuracy.Config, AutoAttackAccuracy.Plan
