"""People on manipulated images: Fig. 3 of Geirhos et al. 2018, for whatever was imported."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.experiments.selection import Selection
from pipeline.figures.drawing import legend_below
from pipeline.results.people import PEOPLE, people_by_observer
from pipeline.results.registry import NothingToShowError
from regularized_training.behaviour.categories import CATEGORIES
from regularized_training.behaviour.summary import over_people

COLUMNS = 4  # panels beside each other
SMALLEST_LABEL = 8  # conditions whose names are written level
# Reach, coherence and grain of an eidolon; a panel for each coherence and grain.
EIDOLON = re.compile(r"(\d+)-(\d+)-(\d+)")
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito


def people_figure(selection: Selection) -> Figure:
    """Accuracy, and below it entropy of answers, against what was done to the images.

    Black: mean over people, and their full range; in colour: networks of the same trials.

    Raises
    ------
    NothingToShowError
        If no trials were imported.
    """
    frame = people_by_observer(selection)
    if frame.empty:
        raise NothingToShowError(PEOPLE.why_nothing(selection))
    panels = list(_panels(frame))
    n_columns = min(COLUMNS, len(panels))
    n_lines = math.ceil(len(panels) / n_columns)
    figure = Figure(figsize=(0.6 + 2.6 * n_columns, 0.9 + 3.6 * n_lines), layout="constrained")
    axes = figure.subplots(2 * n_lines, n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    networks = sorted(set(frame.loc[~frame["person"].astype(bool), "observer"]))
    for place, (name, label, rows) in enumerate(panels):
        line, column = divmod(place, n_columns)
        above, below = axes[2 * line, column], axes[2 * line + 1, column]
        _draw(above, rows, "accuracy", networks)
        _draw(below, rows, "entropy", networks)
        above.set_title(name, fontsize=9)
        above.set_xticklabels([])
        below.set_xlabel(label, fontsize=8)
        above.axhline(1 / len(CATEGORIES), color="#999999", linestyle=":", linewidth=1)
        above.set_ylim(0, 1)
        below.set_ylim(0, 1.03 * math.log2(len(CATEGORIES)))
        if column == 0:
            above.set_ylabel("accuracy")
            below.set_ylabel("entropy (bits)")
    legend_below(figure, *axes.flat)
    title = "People on manipulated images: mean and full range; dotted: chance"
    figure.suptitle(title, fontsize=9)
    return figure


def _panels(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Title, label of the levels, and rows of each panel, their conditions as they are shown."""
    for name, rows in frame.groupby("trials", sort=False):
        parts = [EIDOLON.fullmatch(condition) for condition in rows["condition"]]
        if not all(parts):
            yield str(name), "condition", rows
            continue
        reach, coherence, grain = zip(*(part.groups() for part in parts if part), strict=True)
        split = rows.assign(condition=reach, coherence=coherence, grain=grain)
        for (c, g), some in split.groupby(["coherence", "grain"], sort=False):
            yield f"{name}, coherence {c}, grain {g}", "reach", some


def _draw(ax: Any, rows: pd.DataFrame, value: str, networks: list[str]) -> None:
    ax.set_axis_on()
    conditions = list(dict.fromkeys(rows["condition"]))
    summary = over_people(rows[["condition", "person", value]], [value]).set_index("condition")
    if len(summary):
        mean, low, high = (
            summary[f"{value}{end}"].reindex(conditions) for end in ("", "_low", "_high")
        )
        ax.errorbar(
            range(len(conditions)),
            mean,
            yerr=np.array([mean - low, high - mean]),
            color="black",
            marker="o",
            markersize=3,
            capsize=2,
            label="people",
        )
    for number, network in enumerate(networks):
        of_it = rows[rows["observer"] == network].set_index("condition")[value]
        if len(of_it):
            ax.plot(
                range(len(conditions)),
                of_it.reindex(conditions),
                color=COLOURS[number % len(COLOURS)],
                marker=".",
                label=network,
            )
    turned = 90 if len(conditions) > SMALLEST_LABEL else 45 if len(conditions) > 4 else 0
    ax.set_xticks(range(len(conditions)), conditions, fontsize=7, rotation=turned)
    ax.set_xlim(-0.5, len(conditions) - 0.5)
