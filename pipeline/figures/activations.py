"""Activations of a layer: in a plane by t-SNE, and their variance (figure 3 of Federer et al.)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from pipeline.experiments.planned import why_nothing
from pipeline.figures.conditions import STARS, dots, height
from pipeline.figures.drawing import NothingToShowError, with_caveat
from pipeline.results import arrays as result_arrays
from pipeline.results import frames as results
from pipeline.results.conditions import conditions, settings

COLUMNS = 4


def activations_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Test images as a layer sees them, one seed of each condition, and the activations' variance.

    Colours are superclasses, or classes where there are none.
    """
    by_seed = results.activations_by_seed(experiment, scale)
    if by_seed.empty:
        raise NothingToShowError(why_nothing("activations", experiment, scale))
    frame = result_arrays.embeddings(experiment, scale)
    frame = frame.assign(condition=conditions(frame))
    shown = frame[frame["embedding"].notna()]
    n_rows = -(-len(shown) // COLUMNS)
    panels = list(by_seed.groupby([settings(by_seed), by_seed["layer"]], sort=False))
    heights = [height(rows, 1.8) for _, rows in panels]
    figure = Figure(figsize=(9.6, 0.6 + 2.4 * n_rows + sum(heights)), layout="constrained")
    lower: Any = figure
    if len(shown):
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.4 * n_rows, sum(heights)))
        upper, lower = parts[:, 0]
        axes = upper.subplots(n_rows, COLUMNS, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, (_, row) in zip(axes.flat, shown.iterrows(), strict=False):
            colours = colormaps["nipy_spectral"](
                np.asarray(row["labels"]) / max(int(row["n_groups"]) - 1, 1)
            )
            ax.scatter(*np.asarray(row["embedding"]).T, c=colours, s=4, linewidths=0)
            ax.set_aspect("equal")
            title = f"{row['condition']}\n{row['layer']}, seed {row['seed']}"
            ax.set_title(title, fontsize=8)
    for ax, ((setting, layer), group) in zip(
        lower.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0],
        panels,
        strict=True,
    ):
        dots(ax, group, "variance")
        ax.set_title(str(setting), fontsize=9)
        ax.set_xlabel(f"variance of {layer} over test images, mean over units")
        ax.set_xscale("log")
    figure.suptitle(with_caveat(f"Activations; {STARS}", experiment, scale), fontsize=9)
    return figure
