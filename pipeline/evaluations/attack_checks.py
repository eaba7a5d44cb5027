"""Whether attacks can be believed."""

from __future__ import annotations

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.results.conditions import CONDITION, conditions
from pipeline.results.frames import network_frame, with_part
from pipeline.results.registry import Result, register
from schemas.evaluations.attack_checks import AttackChecks


def attack_checks(selection: Selection) -> pd.DataFrame:
    """Whether attacks on the networks can be believed, a row per network and check."""
    found = AttackChecks.Check * AttackChecks.Config.proj("n_images")
    columns = ["check_name", "passed", "found", "expected", "n_images", "attack_check_hash"]
    return with_part(network_frame(found, AttackChecks.Plan, selection, columns), AttackChecks)


def attack_checks_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition and check: how many networks pass, and the worst of them."""
    frame = frame.assign(condition=conditions(frame[CONDITION]))
    groups = frame.groupby(["condition", "part", "check_name"], sort=False)
    return pd.DataFrame(
        {
            "passed": groups["passed"].sum().astype(int),
            "networks": groups["passed"].count(),
            "worst": groups["found"].min(),
            "expected": groups["expected"].first(),
        }
    ).reset_index()


ATTACK_CHECKS = register(
    Result(
        name="attack-checks",
        place=60,
        title="Can attacks be believed?",
        question="Do attacks do what attacks must, on each network?",
        read=attack_checks,
        table=attack_checks_table,
        evaluation="attack_checks",
        lacks=("asks for", "check of attacks; give it a table [attack_checks]"),
    )
)
