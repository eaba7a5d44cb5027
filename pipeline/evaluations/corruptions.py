"""Robustness to corruptions: Hendrycks and Dietterich 2019, Fig. 2 of Safarani et al. 2021."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import (
    from_zero,
    legend_below,
    new_figure,
    show_pictures,
    with_caveat,
)
from pipeline.results.conditions import NETWORK, numbered
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
from pipeline.results.tables import accuracy_by_condition
from regularized_training.robustness.corruptions.config import ALL, CATEGORY_OF, SEVERITIES
from schemas.evaluations.corruptions import CorruptionAccuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANK = {name: place for place, name in enumerate(ALL)}
VALUES = ["accuracy", "confidence", "calibration_error", "clean_accuracy"]
COLUMNS = 5  # panels beside each other


def corruptions_by_severity(selection: Selection) -> pd.DataFrame:
    """Accuracy, confidence and calibration error, a row per network, corruption and severity.

    Returns
    -------
    DataFrame
        ``category`` is noise, blur, weather or digital; ``clean_accuracy`` that of the same images
        without corruption; ``name`` tells apart what was measured of one corruption by several
        settings.
    """
    query = CorruptionAccuracy.Severity * CorruptionAccuracy.proj("n_images", "clean_accuracy")
    columns = ["corruption", "severity", *VALUES, "n_images", "corruptions_hash"]
    plan = CorruptionAccuracy.Plan
    frame = network_frame(query, plan, selection, columns, ["corruption"])
    frame = with_part(frame, CorruptionAccuracy)
    names = on_part(frame["corruption"].str.replace("_", " "), frame)
    frame = frame.assign(
        category=frame["corruption"].map(CATEGORY_OF).astype(object),
        name=numbered(names, frame[["corruptions_hash"]]),
    )
    return _sorted(frame, "seed", "severity")


def corruptions_by_seed(selection: Selection) -> pd.DataFrame:
    """The same, means over severities: a row per network and corruption."""
    frame = corruptions_by_severity(selection)
    key = [*NETWORK, "name"]
    means = frame.groupby(key, sort=False)[VALUES].mean().reset_index()
    about = frame.drop(columns=["severity", *VALUES]).drop_duplicates(key)
    return about.merge(means, on=key)


def corruptions(selection: Selection) -> pd.DataFrame:
    """Means over severities and seeds, and standard errors over seeds: a row per condition."""
    return _sorted(over_seeds(corruptions_by_seed(selection), VALUES))


def _sorted(frame: pd.DataFrame, *last: str) -> pd.DataFrame:
    """Corruptions in the order of the paper, networks in theirs."""
    frame = frame.assign(rank=frame["corruption"].map(RANK))
    return sort_frame(frame, ["image_set", "rank", "name", *ORDER, *last]).drop(columns="rank")


def corruptions_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each corruption, a column for each condition: mean ± SEM."""
    table = accuracy_by_condition(frame, ["category", "name"])
    return table.rename(columns={"name": "corruption"})


def corruptions_figure(selection: Selection) -> Figure:
    """Accuracy against severity, a panel for each corruption, and below it how images look."""
    CORRUPTIONS.frame(selection)  # or why there is nothing
    frame = _sorted(over_seeds(corruptions_by_severity(selection), VALUES), "severity")
    panels = [rows for _, rows in frame.groupby(["image_set", "name"], sort=False)]
    lines = -(-len(panels) // COLUMNS)
    figure = new_figure((2.6 * COLUMNS, 2.9 * lines + 0.9))
    heights = [4, 1] * lines
    axes = figure.subplots(2 * lines, COLUMNS, squeeze=False, height_ratios=heights)
    for place, rows in enumerate(panels):
        line, column = divmod(place, COLUMNS)
        _curves(axes[2 * line, column], rows)
        _pictures(axes[2 * line + 1, column], rows.iloc[0])
        if column == 0:
            axes[2 * line, column].set_ylabel("accuracy")
    for place in range(len(panels), lines * COLUMNS):
        line, column = divmod(place, COLUMNS)
        axes[2 * line, column].set_axis_off()
        axes[2 * line + 1, column].set_axis_off()
    legend_below(figure, *axes.flat)
    title = f"Accuracy under corruptions; {error_bars(frame)}; severity 0: as they are"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _curves(ax: Any, rows: pd.DataFrame) -> None:
    for label, line, of_condition in styled(rows):
        clean = of_condition["clean_accuracy"].iloc[0]
        error = of_condition["clean_accuracy_sem"].iloc[0]
        ax.errorbar(
            [0, *of_condition["severity"]],
            [clean, *of_condition["accuracy"]],
            yerr=pd.Series([error, *of_condition["accuracy_sem"]]).fillna(0),
            label=label,
            **line,
            marker="o",
            markersize=3,
            linewidth=1.2,
            capsize=2,
        )
    first = rows.iloc[0]
    ax.set_title(f"{first['name']} ({first['category']})", fontsize=9)
    ax.set_xticks([0, *SEVERITIES])
    ax.tick_params(labelsize=7)
    from_zero(ax)


def _pictures(ax: Any, row: pd.Series[Any]) -> None:
    """The first test image as it is, and at each severity."""
    show_pictures(ax, examples(str(row["image_set"]), str(row["corruption"])))


def examples(image_set: str, corruption: str) -> list[Any]:
    """The first test image as it is and at severities 1 to 5.

    Returns
    -------
    list of (height, width, 1 or 3) uint8 array
    """
    from regularized_training.robustness.corruptions.corrupt import corrupt
    from schemas.training import ImageSet

    images = ImageSet.images_of({"image_set": image_set}, "test")[0][:1]
    made = [corrupt(images, corruption, severity).numpy() for severity in SEVERITIES]  # type: ignore[arg-type]
    return [picture[0].transpose(1, 2, 0) for picture in (images, *made)]


def examples_figure(selection: Selection) -> Figure:
    """A sheet of examples: every corruption at every severity."""
    frame = CORRUPTIONS.frame(selection)
    kinds = frame[["image_set", "corruption"]].drop_duplicates()
    figure = new_figure((7.5, 0.7 + 1.1 * len(kinds)))
    axes = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for ax, (image_set, corruption) in zip(axes, kinds.to_numpy(), strict=True):
        show_pictures(ax, examples(image_set, corruption))
        ax.set_title(f"{image_set}: {corruption.replace('_', ' ')}", fontsize=8)
    figure.suptitle("The first test image as it is, and at severities 1 to 5", fontsize=9)
    return figure


def _foreseen(evaluation: str, settings: Any) -> list[Mapping[str, Any]]:
    return [
        row
        for kind in settings.kinds
        for row in each_level(
            "severity", settings.severities, corruption=kind, category=CATEGORY_OF[kind]
        )
    ]


CORRUPTIONS = register(
    Result(
        name="corruptions",
        place=42,
        title="Accuracy under corruptions, mean over severities",
        question="How robust are the networks to corruptions that people meet?",
        read=corruptions,
        by_seed=corruptions_by_seed,
        table=corruptions_table,
        evaluation="corruptions",
        compared=(Compared("accuracy", lambda frame: "accuracy, " + frame["name"]),),
        foreseen=Foreseen(
            _foreseen, "severity", over=("corruption", "category"), read=corruptions_by_severity
        ),
        figures={
            "corruptions": Drawing(corruptions_figure, "accuracy against severity of corruptions"),
            "corruption-examples": Drawing(examples_figure, "corruptions of an image, a sheet"),
        },
        further={"corruptions_by_severity": corruptions_by_severity},
    )
)
