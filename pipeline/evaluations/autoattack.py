"""Robust accuracy in given balls, against an ensemble of attacks: Croce and Hein 2020."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, figure_of_attacks
from pipeline.figures.drawing import with_caveat
from pipeline.results.conditions import numbered
from pipeline.results.foreseen import Foreseen, each_level
from pipeline.results.frames import (
    ORDER,
    network_frame,
    on_part,
    over_seeds,
    sort_frame,
    with_part,
)
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import summary_table
from regularized_training.robustness.autoattack.config import ATTACKS
from schemas.evaluations.autoattack import AutoAttackAccuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ("robust_accuracy", "clean_accuracy")
COUNTS = tuple(f"n_{attack}" for attack in ATTACKS)


def autoattack_by_seed(selection: Selection) -> pd.DataFrame:
    """Robust accuracy, a row per network and ball.

    Returns
    -------
    DataFrame
        ``attack_name`` tells apart what was measured in one norm with several settings;
        ``n_apgd_ce`` and the like are how many of the images fooled in a ball this attack was the
        first to fool, missing where it was not run.
    """
    result = AutoAttackAccuracy.proj("n_images", "clean_accuracy")
    query = AutoAttackAccuracy.Ball * result * AutoAttackAccuracy.Config.proj("norm")
    columns = ["norm", "epsilon", *VALUES, *COUNTS, "n_images", "autoattack_hash"]
    frame = network_frame(query, AutoAttackAccuracy.Plan, selection, columns, ["norm"])
    frame = with_part(frame, AutoAttackAccuracy)
    names = numbered(on_part(frame["norm"], frame), frame[["autoattack_hash"]])
    return frame.assign(attack_name=names, **{n: frame[n].astype(float) for n in COUNTS})


def autoattack(selection: Selection) -> pd.DataFrame:
    """The same, mean and standard error over seeds: a row per condition and ball.

    Returns
    -------
    DataFrame
        ``n_apgd_ce`` and the like are means over seeds, missing where an attack was not run.
    """
    summary = over_seeds(autoattack_by_seed(selection), (*VALUES, *COUNTS))
    summary = summary.drop(columns=[f"{name}_sem" for name in COUNTS])
    return sort_frame(summary, ["image_set", "attack_name", *ORDER, "epsilon"])


def autoattack_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each norm, condition and ball."""
    table = summary_table(frame, {value: "{:.3f}" for value in VALUES})
    table.insert(0, "norm", frame["attack_name"])
    table.insert(1, "epsilon", frame["epsilon"].map("{:.4g}".format))
    counts = {name.removeprefix("n_"): _shown(frame[name]) for name in COUNTS}
    return table.assign(n_images=frame["n_images"], **counts)


def _shown(counts: pd.Series) -> pd.Series:
    return counts.map(lambda count: "" if pd.isna(count) else f"{count:.4g}")


def autoattack_figure(selection: Selection) -> Figure:
    """Robust accuracy against the ball's radius; at 0 that of the same images without an attack."""
    frame = AUTOATTACK.frame(selection)
    groups = frame.groupby(["image_set", "attack_name"], sort=False)
    title = f"Robust accuracy against an ensemble of attacks; {error_bars(frame)}"
    return figure_of_attacks(
        [(f"{image_set}, {name}", rows) for (image_set, name), rows in groups],
        "robust_accuracy",
        "epsilon",
        ("radius of the ball (pixels in 0 to 1)", "robust accuracy"),
        with_caveat(title, selection),
    )


AUTOATTACK = register(
    Result(
        name="autoattack",
        place=55,
        title="Robust accuracy (AutoAttack)",
        question="How many images withstand an ensemble of attacks?",
        read=autoattack,
        by_seed=autoattack_by_seed,
        table=autoattack_table,
        evaluation="autoattack",
        lacks=("asks for", "ensemble of attacks; give it a list [[autoattack]]"),
        compared=(
            Compared(
                "robust_accuracy",
                lambda frame: (
                    "robust accuracy, "
                    + frame["attack_name"]
                    + " within "
                    + frame["epsilon"].map("{:.4g}".format)
                ),
            ),
        ),
        foreseen=Foreseen(lambda _, s: each_level("epsilon", s.epsilons, norm=s.norm), "epsilon"),
        figures={
            "autoattack": Drawing(autoattack_figure, "robust accuracy against the ball's radius"),
        },
    )
)
