"""Networks on manipulated images, and people beside them: Fig. 3 of Geirhos et al. 2018."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import (
    from_zero,
    legend_below,
    log_scale,
    new_figure,
    show_pictures,
    with_caveat,
)
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
from pipeline.results.people import people_by_level
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import accuracy_by_condition
from regularized_training.robustness.manipulations.config import PUBLISHED_LEVELS
from schemas.configurations import read_config
from schemas.evaluations.manipulations import ManipulationAccuracy
from schemas.training import ImageSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANK = {name: place for place, name in enumerate(PUBLISHED_LEVELS)}
VALUES = ["accuracy", "entropy", "clean_accuracy", "clean_entropy"]
COLUMNS = 5  # panels beside each other
LOGARITHMIC = ("contrast", "low_pass", "high_pass", "eidolon_1", "eidolon_2", "eidolon_3")


def manipulations_by_seed(selection: Selection) -> pd.DataFrame:
    """Accuracy and entropy of the answers, a row per network, manipulation and level.

    Returns
    -------
    DataFrame
        ``entropy`` is in bits, at most log2 of ``n_classes``; ``clean_accuracy`` and
        ``clean_entropy`` are those of the same images as they are; ``name`` tells apart what was
        measured of one manipulation by several settings.
    """
    result = ManipulationAccuracy.proj("n_images", "n_classes", "clean_accuracy", "clean_entropy")
    query = ManipulationAccuracy.Level * result
    columns = ["manipulation", "level", *VALUES, "n_classes", "n_images", "manipulations_hash"]
    plan = ManipulationAccuracy.Plan
    frame = network_frame(query, plan, selection, columns, ["manipulation"])
    frame = with_part(frame, ManipulationAccuracy)
    names = on_part(frame["manipulation"].str.replace("_", " "), frame)
    frame = frame.assign(name=numbered(names, frame[["manipulations_hash"]]))
    return _sorted(frame, "seed")


def manipulations(selection: Selection) -> pd.DataFrame:
    """The same, mean and standard error over seeds: a row per condition and level."""
    return _sorted(over_seeds(manipulations_by_seed(selection), VALUES))


def _sorted(frame: pd.DataFrame, *then: str) -> pd.DataFrame:
    frame = frame.assign(rank=frame["manipulation"].map(RANK))
    order = ["image_set", "rank", "name", *ORDER, *then, "level"]
    return sort_frame(frame, order).drop(columns="rank")


def manipulations_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each manipulation and level, a column for each condition: accuracy ± SEM."""
    table = accuracy_by_condition(frame, ["name", "level"])
    return table.rename(columns={"name": "manipulation"})


def manipulations_figure(selection: Selection) -> Figure:
    """Accuracy, and below it entropy, against the level; people in grey where they are imported.

    People answered other images, and one of 16 categories.
    """
    frame = MANIPULATIONS.frame(selection)
    people = people_by_level()
    panels = [rows for _, rows in frame.groupby(["image_set", "name"], sort=False)]
    lines = -(-len(panels) // COLUMNS)
    figure = new_figure((2.6 * COLUMNS, 4.4 * lines + 0.9))
    axes = figure.subplots(2 * lines, COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for place, rows in enumerate(panels):
        line, column = divmod(place, COLUMNS)
        above, below = axes[2 * line, column], axes[2 * line + 1, column]
        first = rows.iloc[0]
        of_people = people[people["manipulation"] == first["manipulation"]]
        for ax, value in ((above, "accuracy"), (below, "entropy")):
            ax.set_axis_on()
            _curves(ax, rows, value, of_people)
        below.set_ylim(0, 1.03 * math.log2(max(first["n_classes"], 16 if len(of_people) else 2)))
        from_zero(above)
        above.set_title(str(first["name"]), fontsize=9)
        if column == 0:
            above.set_ylabel("accuracy")
            below.set_ylabel("entropy (bits)")
    legend_below(figure, *axes.flat)
    title = f"Manipulated images; {error_bars(frame)}"
    if len(people):
        title += "; people, on other images in 16 categories: mean and full range"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _curves(ax: Any, rows: pd.DataFrame, value: str, people: pd.DataFrame) -> None:
    for label, line, of_condition in styled(rows):
        ax.errorbar(
            of_condition["level"],
            of_condition[value],
            yerr=of_condition[f"{value}_sem"].fillna(0),
            label=label,
            **line,
            marker="o",
            markersize=3,
            linewidth=1.2,
            capsize=2,
        )
    if len(people):
        mean = people[value]
        reach = [mean - people[f"{value}_low"], people[f"{value}_high"] - mean]
        ax.errorbar(people["level"], mean, yerr=reach, color="#888888", marker="s", markersize=3,
                    linestyle="-.", capsize=2, label="people")  # fmt: skip
    if rows["manipulation"].iloc[0] in LOGARITHMIC:
        log_scale(ax, "x", (1, 2, 5) if rows["manipulation"].iloc[0] == "high_pass" else (1,))
    if rows["manipulation"].iloc[0] in ("contrast", "high_pass"):  # least manipulated first
        ax.invert_xaxis()
    ax.tick_params(labelsize=7)


def examples_figure(selection: Selection) -> Figure:
    """A sheet of examples: every manipulation at every level."""
    from regularized_training.robustness.manipulations.accuracy import example_pictures
    from regularized_training.robustness.manipulations.config import ManipulationConfig

    frame = MANIPULATIONS.frame(selection)
    sheets = []
    for (image_set, settings), _ in frame.groupby(["image_set", "manipulations_hash"], sort=False):
        row = (ManipulationAccuracy.Config & {"manipulations_hash": settings}).fetch1()
        config = read_config(ManipulationConfig, row["config"], row["needs"])
        images, labels = ImageSet.images_of({"image_set": image_set}, config.part)
        made = example_pictures(images, labels, config)
        sheets += [
            (f"{image_set}: {name.replace('_', ' ')}", made[name]) for name in RANK if name in made
        ]
    figure = new_figure((7.5, 0.7 + 1.15 * len(sheets)))
    axes = figure.subplots(len(sheets), 1, squeeze=False)[:, 0]
    for ax, (title, at) in zip(axes, sheets, strict=True):
        show_pictures(ax, list(at.values()), [f"{level:g}" for level in at])
        ax.set_title(title, fontsize=8)
    figure.suptitle("The first image that networks were tested on, at every level", fontsize=9)
    return figure


MANIPULATIONS = register(
    Result(
        name="manipulations",
        place=43,
        title="Accuracy on manipulated images (Geirhos et al. 2018)",
        question="How well do networks see manipulated images, beside people?",
        read=manipulations,
        by_seed=manipulations_by_seed,
        table=manipulations_table,
        evaluation="manipulations",
        compared=(Compared("accuracy", lambda frame: "accuracy, " + frame["name"]),),
        foreseen=Foreseen(
            lambda _, s: [
                row
                for name, levels in s.levels.items()
                for row in each_level("level", levels, manipulation=name)
            ],
            "level",
        ),
        figures={
            "manipulations": Drawing(
                manipulations_figure, "accuracy and entropy on manipulated images, beside people"
            ),
            "manipulation-examples": Drawing(examples_figure, "manipulations of an image, a sheet"),
        },
    )
)
