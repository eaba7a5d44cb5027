"""Figures, drawn from what the database holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline import results

FigureName = Literal["similarity", "noise"]

# Colours that people with colour-blindness can tell apart (Okabe and Ito).
COLOURS = {
    "none": "#000000",
    "neural_model": "#D55E00",
    "neural_data": "#0072B2",
    "shuffle": "#009E73",
}
LABELS = {
    "none": "none",
    "neural_model": "neural (model)",
    "neural_data": "neural (data)",
    "shuffle": "shuffle",
}
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
}


class NothingToShowError(LookupError):
    """The database has no results for the figure."""


def draw(
    name: FigureName, path: Path, *, experiment: str | None = None, scale: str | None = None
) -> None:
    """Draw a figure into a file; its ending says which format.

    Raises
    ------
    NothingToShowError
        If the results are not there yet.
    ValueError
        If the file's ending is not a format of figures.
    """
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(known)}")
    with matplotlib.rc_context(_STYLE):
        figure = {"similarity": similarity_figure, "noise": noise_figure}[name](experiment, scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def similarity_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Similarity of held-out images: one trial each, average over trials, model.

    Images are put in an order that brings similar ones together, the same in all three.
    """
    rows = results.similarity_matrices(experiment, scale)
    if not rows:
        raise NothingToShowError(
            "no similarity matrices yet; add an experiment with a scan that has repeated images "
            "and run `neuroteach populate`"
        )
    figure = Figure(figsize=(8.6, 0.5 + 2.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        order = leaves_list(linkage(row["oracle_matrix"], "average", optimal_ordering=True))
        panels = (
            ("recorded, single trials", row["data_matrix"], row["data_correlation"]),
            ("oracle, mean over trials", row["oracle_matrix"], None),
            ("model", row["model_matrix"], row["model_correlation"]),
        )
        for ax, (title, matrix, r) in zip(line, panels, strict=True):
            off = matrix[~np.eye(len(matrix), dtype=bool)]
            limit = max(float(np.abs(np.percentile(off, [1, 99])).max()), 1e-3)
            shown = ax.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-limit, vmax=limit)
            beside = f"ceiling {row['oracle_ceiling']:.2f}" if r is None else f"r = {r:.2f}"
            ax.set_title(f"{title}\n{beside}", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
            figure.colorbar(shown, ax=ax, shrink=0.8)
        brain = "simulated scan" if row["simulated"] else "scan"
        line[0].set_ylabel(f"{brain} {row['scan']}\n{row['n_images']} held-out images")
    figure.suptitle(
        _with_caveat("Similarity of responses; r: with the oracle", experiment, scale), fontsize=9
    )
    return figure


def noise_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Accuracy against the level of Gaussian noise, mean and standard error over seeds."""
    frame = results.noise(experiment, scale)
    if frame.empty:
        raise NothingToShowError(
            "no accuracies under noise yet; add an experiment and run `neuroteach populate`"
        )
    sets = list(frame.groupby(["image_set", "architecture", "network_width"], sort=False))
    figure = Figure(figsize=(1.2 + 4.4 * len(sets), 3.6), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False)[0]
    for ax, ((image_set, architecture, width), group) in zip(axes, sets, strict=True):
        curves = [c for c in group.columns if c not in ("level", "accuracy", "sem")]
        for _, curve in group.groupby(curves, sort=False):
            teacher, alpha = str(curve["teacher"].iloc[0]), float(curve["alpha"].iloc[0])
            n = int(curve["n_seeds"].min())
            strength = f", α = {alpha:g}" if alpha else ""
            ax.errorbar(
                curve["level"],
                curve["accuracy"],
                yerr=curve["sem"].fillna(0),
                label=f"{LABELS.get(teacher, teacher)}{strength} (n = {n})",
                color=COLOURS.get(teacher),
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
            )
        ax.set_xlabel("standard deviation of the noise (pixels in 0 to 1)")
        ax.set_ylabel("accuracy")
        ax.set_ylim(0, 1)
        ax.set_title(f"{image_set}, {architecture} of width {width}", fontsize=9)
        ax.legend(frameon=False, fontsize=8)
    seeds = "error bars: SEM over n seeds" if frame["n_seeds"].max() > 1 else "one seed each"
    figure.suptitle(_with_caveat(f"Accuracy under noise; {seeds}", experiment, scale), fontsize=9)
    return figure


def _with_caveat(title: str, experiment: str | None, scale: str | None) -> str:
    caveat = results.caveat(experiment, scale)
    return f"{title}\n{caveat}" if caveat else title
