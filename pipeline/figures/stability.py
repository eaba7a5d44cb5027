"""How stable similarity is (Fig. 1 of Li et al. 2019), its spectra, and extreme pairs (Fig. 2)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.experiments.selection import Selection
from pipeline.figures.drawing import with_caveat
from pipeline.results import arrays as result_arrays
from pipeline.results.encoders import similarities, stimuli
from pipeline.results.registry import NothingToShowError
from regularized_training.teachers.structure import extreme_pairs, pairs_of

Row = dict[str, Any]

MOST_SHOWN = 4  # populations with their matrices
LINE_HEIGHT = 2.2  # inches, of a line of matrices
N_PAIRS = 4
CHARACTERS_PER_INCH = 12  # of headings
LARGEST_SCATTER = 5000  # points of each colour

# Colours that people with colour-blindness can tell apart (Okabe and Ito).
COLOURS = {"recorded": "#0072B2", "oracle": "#000000", "model": "#D55E00"}
LABELS = {"recorded": "recorded", "oracle": "oracle (mean over trials)", "model": "model"}

WHAT_WAS_COMPARED = {
    "scans": "scans of the same images",
    "parts of one scan": "{n} random parts of the units of one scan, which saw the same trials",
    "no common images": "no repeated images in common, so that Eq. 4 does not apply",
    "no repeats": "no repeated images: recorded and model similarity only",
    "too few units": "too few units to be divided",
}
NOT_YET = (
    "nothing to show of similarity yet; add an experiment with a scan and run `neuroteach populate`"
)


def stability_figure(selection: Selection) -> Figure:
    """Fig. 1 of Li et al. 2019: A oracle, B model, C spread over scans and repeats, D scatter."""
    rows = [
        (row, structures, _shown(row, structures))
        for row in result_arrays.stability_matrices(selection)
        if (
            structures := result_arrays.similarity_structures(
                Selection(row["experiment"], row["scale"])
            )
        )
    ]
    if not rows:
        raise NothingToShowError(NOT_YET)
    heights = [_n_lines(shown) * LINE_HEIGHT + 3.2 for _, _, shown in rows]
    figure = Figure(figsize=(8.6, sum(heights) + 0.4), layout="constrained")
    for block, content in zip(_stacked(figure, heights), rows, strict=True):
        _draw_stability(block, *content)
    title = "Similarity of responses to held-out images, over scans and over repeats"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _stacked(figure: Figure | SubFigure, heights: Sequence[float]) -> list[SubFigure]:
    blocks = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=list(heights))
    return list(np.asarray(blocks).ravel())


def _shown(row: Row, structures: Sequence[Row]) -> list[Row]:
    """What has its matrices in A and B; without repeats the recorded ones instead of the oracle."""
    recorded = [{**s, "part": 0, "oracle_matrix": s["recorded_matrix"]} for s in structures]
    return (row["populations"] or recorded)[:MOST_SHOWN]


def _n_lines(shown: Sequence[Row]) -> int:
    """Lines of matrices: two of them if A and B do not fit beside each other."""
    return 1 if len(shown) <= 2 else 2


def _draw_stability(
    block: SubFigure, row: Row, structures: Sequence[Row], shown: Sequence[Row]
) -> None:
    block.suptitle(_heading(row, structures), fontsize=9)
    lines = _n_lines(shown)
    top, bottom = _stacked(block, [lines * LINE_HEIGHT, 3.0])
    _draw_matrices(top, shown, lines, "oracle" if row["populations"] else "recorded")
    left, right = bottom.subplots(1, 2)
    _draw_fluctuations(left, row)
    _draw_scatter(right, structures, _correlations(row))


def _heading(row: Row, structures: Sequence[Row]) -> str:
    compared = WHAT_WAS_COMPARED[row["status"]].format(n=row["n_populations"])
    brain = "simulated " if row["simulated"] else ""
    scans = f"{brain}{row['scans']}; " if row["scans"] else ""
    heading = f"{row['experiment']} ({row['scale']}): {scans}{compared}"
    left_out = sorted({s["scan"] for s in structures if s["oracle_matrix"] is None})
    if left_out and row["populations"]:
        heading += f"\nnot in here, as no image was repeated: {', '.join(left_out)}"
    return heading


def _draw_matrices(block: SubFigure, populations: Sequence[Row], lines: int, measured: str) -> None:
    """A and B: the same order of images and the same colours in all matrices."""
    n = len(populations)
    axes = np.reshape(block.subplots(lines, 2 * n // lines, squeeze=False), (2, n))
    kinds = ("oracle_matrix", "model_matrix")
    limit = max(_limit(p[kind]) for p in populations for kind in kinds)
    orders = _orders([p["oracle_matrix"] for p in populations])
    for letter, line, kind in zip("AB", axes, kinds, strict=True):
        what = "model" if kind == "model_matrix" else measured
        for k, (ax, population, order) in enumerate(zip(line, populations, orders, strict=True)):
            matrix = population[kind][np.ix_(order, order)]
            ax.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
            part = f", part {population['part']}" if population["part"] else ""
            ax.set_title(f"{what}, {population['scan']}{part}", fontsize=8)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
            if k == 0:
                _letter(ax, letter)
    block.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.8, aspect=30, label="similarity")


def _orders(matrices: Sequence[NDArray]) -> list[NDArray]:
    """Images so that similar ones stand together: one order where all show the same images."""
    if len({len(m) for m in matrices}) == 1:
        return [_similar_together(np.mean(matrices, axis=0))] * len(matrices)
    return [_similar_together(m) for m in matrices]


def _similar_together(matrix: NDArray) -> NDArray:
    return leaves_list(linkage(np.nan_to_num(matrix), "average", optimal_ordering=True))


def _limit(matrix: NDArray) -> float:
    return max(float(np.abs(np.percentile(pairs_of(matrix), [1, 99])).max()), 1e-3)


def _draw_fluctuations(ax: Axes, row: Row) -> None:
    """C: how similarity fluctuates over scans and over repeats."""
    _letter(ax, "C")
    over = "over parts" if row["status"] == "parts of one scan" else "over scans"
    # The curve over repeats is Eq. 5 as it stands; its sd is the limit of infinitely many.
    curves = (
        (f"{over} (Eq. 4), sd", row["scan_density"], row["scan_sd"], "#D55E00"),
        ("over repeats (Eq. 5), corrected sd", row["repeat_density"], row["repeat_sd"], "#0072B2"),
    )
    drawn = [c for c in curves if c[1] is not None]
    for label, density, sd, colour in drawn:
        n_pairs = row["n_populations"] * row["n_images"] * (row["n_images"] - 1) // 2
        density, edges = _coarser(density, row["edges"], sd, n_pairs)
        ax.stairs(density, edges, fill=True, alpha=0.35, color=colour)
        ax.stairs(density, edges, color=colour, label=f"{label} {sd:.3f}")
    if not drawn:
        ax.set_axis_off()
        ax.text(0, 0.5, "no spread over scans or repeats:\n" + row["status"], fontsize=9)
        return
    ax.set_xlabel("ΔS")
    ax.set_ylabel("density")
    if row["neuron_sd"] is not None:
        parts = f"trials {row['trial_sd']:.3f}, neurons {row['neuron_sd']:.3f}"
        ax.set_title(f"sd {over} that is made by {parts}", fontsize=8)
    ax.set_ylim(top=1.3 * ax.get_ylim()[1])
    ax.legend(frameon=False, fontsize=8, loc="upper left")


def _coarser(density: NDArray, edges: NDArray, sd: float, n_pairs: int) -> tuple[NDArray, NDArray]:
    """A density of so few pairs in bins wide enough for it (Scott 1979), of equal numbers of bins.

    The area stays 1. Bins that are wide enough stay as they are.
    """
    wanted = 3.49 * sd * max(n_pairs, 1) ** (-1 / 3) / (edges[1] - edges[0])
    n = len(density)
    together = max(k for k in range(1, n + 1) if n % k == 0 and (k == 1 or k <= wanted))
    return density.reshape(-1, together).mean(axis=1), edges[::together]


def _correlations(row: Row) -> dict[str, float]:
    """Correlations with the oracle, single trials being kept out of it; means over scans."""
    frame = similarities(Selection(row["experiment"], row["scale"]))
    frame = frame[frame["status"] == "ok"]
    means = frame[["model_correlation", "data_correlation"]].astype(float).mean()
    if frame.empty:
        return {}
    return {"model": means["model_correlation"], "recorded": means["data_correlation"]}


def _draw_scatter(ax: Axes, structures: Sequence[Row], correlations: dict[str, float]) -> None:
    """D: similarity of recorded and of predicted responses against the oracle, pairs i < j."""
    _letter(ax, "D")
    with_oracle = [s for s in structures if s["oracle_matrix"] is not None]
    if with_oracle:
        across, chosen, kinds = "oracle", with_oracle, ["recorded", "model"]
        ax.set_xlabel("similarity, oracle (mean over trials)")
        ax.set_ylabel("similarity")
    else:
        across, chosen, kinds = "recorded", list(structures), ["model"]
        ax.set_xlabel("similarity, recorded")
        ax.set_ylabel("similarity, model")
        correlations = {"model": float(np.mean([s["model_correlation"] for s in chosen]))}
    x = np.concatenate([pairs_of(s[f"{across}_matrix"]) for s in chosen])
    some = slice(None, None, max(1, len(x) // LARGEST_SCATTER))
    for kind in kinds:
        y = np.concatenate([pairs_of(s[f"{kind}_matrix"]) for s in chosen])
        r = f", r = {correlations[kind]:.2f}" if kind in correlations else ""
        label = ("single trials" if kind == "recorded" else "model") + r
        ax.scatter(
            x[some], y[some], s=3, alpha=0.35, linewidths=0, color=COLOURS[kind], label=label
        )
    ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0, label="equal")
    ax.set_ylim(-1, 1.35)
    legend = ax.legend(frameon=False, fontsize=8, loc="upper left", markerscale=3)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def _letter(ax: Axes, letter: str) -> None:
    ax.set_title(letter, loc="left", fontsize=11, fontweight="bold")


def spectra_figure(selection: Selection) -> Figure:
    """Eigenvalues of recorded, oracle and model similarity, a panel for each encoder."""
    rows = result_arrays.similarity_structures(selection)
    if not rows:
        raise NothingToShowError(NOT_YET)
    columns = min(len(rows), 3)
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(0.8 + 3.4 * columns, 0.6 + 3.2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(rows) :]:
        ax.set_axis_off()
    for ax, row in zip(axes, rows, strict=False):
        for kind, colour in COLOURS.items():
            values = row[f"{kind}_eigenvalues"]
            if values is None:
                continue
            shown = values[values > 1e-5]
            label = f"{LABELS[kind]}, PR = {row[f'{kind}_dimension']:.1f}"
            ax.plot(np.arange(1, len(shown) + 1), shown, color=colour, label=label, linewidth=1.3)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("rank")
        ax.set_title(_about(row), fontsize=8)
        ax.legend(frameon=False, fontsize=7, loc="lower left")
    for ax in axes[::columns]:
        ax.set_ylabel("eigenvalue, positive ones sum to 1")
    title = "Spectra of similarity; PR: participation ratio, the effective dimension"
    figure.suptitle(_wrapped(with_caveat(title, selection), figure), fontsize=9)
    return figure


def _wrapped(text: str, figure: Figure) -> str:
    """Lines that a figure is wide enough for at nine points."""
    width = int(CHARACTERS_PER_INCH * figure.get_figwidth())
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())


def _about(row: Row) -> str:
    brain = "simulated scan" if row["simulated"] else "scan"
    unweighted = "" if row["weighted"] else "\nno repeats: neurons not weighted by reliability"
    return f"{brain} {row['scan']}, {row['n_images']} images, {row['tier']} tier{unweighted}"


def pairs_figure(selection: Selection) -> Figure:
    """Fig. 2 of Li et al. 2019: pairs of images of lowest and highest model similarity."""
    rows = result_arrays.similarity_structures(selection)
    if not rows:
        raise NothingToShowError(NOT_YET)
    images = [stimuli(row["stimulus_set"])[row["images"]] for row in rows]
    # Images are about an inch wide; above each pair stand four lines of text.
    heights = [0.95 + 2.1 * n.shape[2] / n.shape[3] for n in images]
    figure = Figure(figsize=(8.6, 0.4 + sum(heights)), layout="constrained")
    for block, row, shown in zip(_stacked(figure, heights), rows, images, strict=True):
        block.suptitle(_about(row), fontsize=8)
        _draw_pairs(block, row, shown)
    beside = "in brackets: oracle, or recorded without repeats"
    title = f"Least and most similar images to the model, no image twice among either; {beside}"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _draw_pairs(block: SubFigure, row: Row, images: NDArray) -> None:
    found = extreme_pairs(row["model_matrix"], min(N_PAIRS, len(images) // 2))
    oracle = row["oracle_matrix"]
    measured = row["recorded_matrix"] if oracle is None else oracle
    halves = np.asarray(block.subfigures(1, 2, wspace=0.05))
    for half, pairs, values, title in (
        (halves[0], found.least, found.least_similarity, "least similar"),
        (halves[1], found.most, found.most_similarity, "most similar"),
    ):
        half.suptitle(title, fontsize=9)
        axes = half.subplots(2, len(pairs), squeeze=False)
        for column, (i, j), value in zip(axes.T, pairs, values, strict=True):
            for ax, image in zip(column, (images[i], images[j]), strict=True):
                ax.imshow(_displayed(image), cmap="gray", vmin=images.min(), vmax=images.max())
                ax.set_axis_off()
            column[0].set_title(f"{value:.2f} ({measured[i, j]:.2f})", fontsize=8)


def _displayed(image: NDArray) -> NDArray:
    """(height, width) of a grey image, (height, width, 3) in 0 to 1 of a coloured one."""
    if len(image) == 1:
        return image[0]
    colours = image.transpose(1, 2, 0).astype(np.float64)
    return (colours - colours.min()) / (colours.max() - colours.min())
