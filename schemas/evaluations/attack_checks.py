"""Whether attacks do what attacks must."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject


class AttackChecks(
    Evaluation,
    name="attack_checks",
    plan="AttackCheckPlan",
    settings=Settings(
        model="regularized_training.robustness.attack_config:AttackCheckConfig",
        entry="attack_checks",
        table="AttackCheckConfig",
        key="attack_check_hash",
        columns={"n_images": ("int32", lambda s: s.n_images)},
    ),
):
    """Can attacks on one network be believed?"""

    takes_long = True
    result = """
        n_passed : int16
        n_checks : int16
    """

    class Check(dj.Part):
        """One question to the attack."""

        definition = """
            -> master
            check_name : varchar(32)   # more_steps, larger_ball, white_box, unbounded ...
            ---
            passed   : bool
            found    : float64         # a fraction of images
            expected : varchar(32)
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Check attacks on one network."""
        from regularized_training.robustness import attack_checks

        found = attack_checks.check_attacks(
            subject.network, subject.images, subject.labels, settings, device
        )
        checks = [
            {
                "check_name": check.check,
                "passed": check.passed,
                "found": check.value,
                "expected": check.expected,
            }
            for check in found
        ]
        counts = {"n_passed": sum(check.passed for check in found), "n_checks": len(found)}
        return Found(counts, {"Check": checks})


AttackCheckConfig, AttackCheckPlan = AttackChecks.Config, AttackChecks.Plan
