"""Accuracy under weak attacks in three norms: Dapello et al. 2020."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
from schemas.evaluations.white_box import WhiteBoxAccuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ("accuracy", "clean_accuracy")
MEAN = "mean of norms"
NORMS = ("Linf", "L2", "L1", MEAN)


def white_box_by_seed(selection: Selection) -> pd.DataFrame:
    """Accuracy under attack, a row per network, strength and norm, and for the mean over norms.

    Returns
    -------
    DataFrame
        ``norm`` is Linf, L2, L1 or ``mean of norms``, which is the white-box accuracy of Dapello et
        al. 2020; ``attack_strength`` what published radii were multiplied with, and ``epsilon`` the
        radius for images of this size, missing of the mean. ``attack`` tells apart what was
        measured with several settings. ``varies`` says whether the network had noise of its own
        then, over which ``eot`` passes were averaged.
    """
    about = WhiteBoxAccuracy.proj("n_images", "clean_accuracy", "varies")
    about = about * WhiteBoxAccuracy.Config.proj("eot", "block_noise")
    columns = ["norm", "attack_strength", "epsilon", *VALUES, "n_images", "varies"]
    columns += ["eot", "block_noise", "white_box_hash"]
    text = ("norm", "block_noise")
    means = WhiteBoxAccuracy.Strength.proj("attack_strength", accuracy="mean_accuracy")
    of_norms, of_means = (
        network_frame(query * about, WhiteBoxAccuracy.Plan, selection, columns, text)
        for query in (WhiteBoxAccuracy.Ball, means)
    )
    if of_norms.empty:
        found = of_norms
    else:
        found = pd.concat([of_norms, of_means.assign(norm=MEAN)], ignore_index=True)
    frame = with_part(found, WhiteBoxAccuracy)
    named = numbered(on_part(_settings(frame), frame), frame[["white_box_hash"]])
    number = frame["norm"].map({norm: i for i, norm in enumerate(NORMS)})
    frame = frame.assign(
        attack=named.astype(object), number=number, epsilon=frame["epsilon"].astype(float)
    )
    order = ["image_set", "attack", "number", *ORDER, "seed", "attack_strength"]
    return sort_frame(frame, order).drop(columns="number")


def _settings(frame: pd.DataFrame) -> pd.Series[str]:
    """What a person would say of the settings, but for norms and strengths."""
    said = pd.Series("PGD", index=frame.index, dtype=object)
    own = frame["block_noise"] == "own"
    said = said.where(own, said + ", noise " + frame["block_noise"].astype(object))
    return said.where(frame["eot"] == 1, said + ", mean of " + frame["eot"].astype(str) + " passes")


def white_box(selection: Selection) -> pd.DataFrame:
    """The same, mean and standard error over seeds: a row per condition, strength and norm."""
    by_seed = white_box_by_seed(selection)
    summary = over_seeds(by_seed, VALUES)
    number = summary["norm"].map({norm: i for i, norm in enumerate(NORMS)})
    order = ["image_set", "attack", "number", *ORDER, "attack_strength"]
    return sort_frame(summary.assign(number=number), order).drop(columns="number")


def white_box_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each norm, condition and strength."""
    table = summary_table(frame, {value: "{:.3f}" for value in VALUES})
    table.insert(0, "attack", frame["attack"])
    table.insert(1, "norm", frame["norm"])
    table.insert(2, "strength", frame["attack_strength"].map("{:g} x".format))
    radius = frame["epsilon"].map(lambda e: "" if pd.isna(e) else f"{e:.4g}")
    table.insert(3, "epsilon", radius)
    noise = frame["varies"].map({True: "noise of its own", False: ""})
    table = table.assign(n_images=frame["n_images"], network=noise)
    return table if noise.any() else table.drop(columns="network")


def white_box_figure(selection: Selection) -> Figure:
    """Accuracy against the strength of attacks; at 0 that of the same images without one."""
    frame = WHITE_BOX.frame(selection)
    groups = frame.groupby(["image_set", "attack", "norm"], sort=False)
    panels = [(f"{images}, {attack}\n{norm}", rows) for (images, attack, norm), rows in groups]
    title = f"Accuracy under weak white-box attacks; {error_bars(frame)}"
    return figure_of_attacks(
        panels,
        "accuracy",
        "attack_strength",
        ("strength (published radius: 1)", "accuracy under attack"),
        with_caveat(title, selection),
    )


def _foreseen(evaluation: str, settings: Any) -> list[Mapping[str, Any]]:
    norms = [norm for norm in NORMS[:-1] if norm in settings.radii]
    return [
        row
        for norm in [*norms, MEAN]
        for row in each_level("attack_strength", settings.strengths, norm=norm)
    ]


WHITE_BOX = register(
    Result(
        name="white-box",
        place=56,
        title="Accuracy under weak attacks (Dapello et al. 2020)",
        question="How many images withstand weak attacks in three norms?",
        read=white_box,
        by_seed=white_box_by_seed,
        table=white_box_table,
        evaluation="white_box",
        lacks=("asks for", "weak attacks; give it a table [white_box]"),
        compared=(
            Compared(
                "accuracy",
                lambda frame: (
                    "accuracy under attack, "
                    + frame["attack"]
                    + ", "
                    + frame["norm"]
                    + " x "
                    + frame["attack_strength"].map("{:g}".format)
                ),
            ),
        ),
        foreseen=Foreseen(_foreseen, "attack_strength", over=("epsilon",)),
        figures={
            "white-box": Drawing(white_box_figure, "accuracy against the strength of weak attacks"),
        },
    )
)
