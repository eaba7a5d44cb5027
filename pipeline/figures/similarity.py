"""Similarity matrices: recorded, oracle and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.experiments.selection import Selection
from pipeline.figures.drawing import with_caveat
from pipeline.results import arrays as result_arrays
from pipeline.results.registry import NothingToShowError


def similarity_figure(selection: Selection) -> Figure:
    """Similarity of held-out images: one trial each, average over trials, model.

    Images are put in an order that brings similar ones together, the same in all three.
    """
    rows = result_arrays.similarity_matrices(selection)
    if not rows:
        raise NothingToShowError(
            "no similarity matrices yet; add an experiment with a scan that has repeated images "
            "and run `neuroteach populate`"
        )
    title = with_caveat("Similarity of responses; r: with the oracle", selection)
    return matrices_figure(rows, title)


def matrices_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """A line of three matrices for each row of :func:`.result_arrays.similarity_matrices`."""
    figure = Figure(figsize=(8.6, 0.5 + 2.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        order = leaves_list(linkage(row["oracle_matrix"], "average", optimal_ordering=True))
        panels = (
            ("recorded, single trials", row["data_matrix"], row["data_correlation"]),
            ("oracle, mean over trials", row["oracle_matrix"], None),
            ("model", row["model_matrix"], row["model_correlation"]),
        )
        for ax, (panel, matrix, r) in zip(line, panels, strict=True):
            off = matrix[~np.eye(len(matrix), dtype=bool)]
            limit = max(float(np.abs(np.percentile(off, [1, 99])).max()), 1e-3)
            shown = ax.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-limit, vmax=limit)
            beside = f"ceiling {row['oracle_ceiling']:.2f}" if r is None else f"r = {r:.2f}"
            ax.set_title(f"{panel}\n{beside}", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
            figure.colorbar(shown, ax=ax, shrink=0.8)
        brain = "simulated scan" if row["simulated"] else "scan"
        line[0].set_ylabel(f"{brain} {row['scan']}\n{row['n_images']} held-out images")
    figure.suptitle(title, fontsize=9)
    return figure
