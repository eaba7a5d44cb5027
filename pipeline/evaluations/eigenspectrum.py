"""How fast variance falls over the principal components of layers: Stringer et al. 2019."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import colour_map, legend_below, log_scale, new_figure, with_caveat
from pipeline.results.conditions import conditions, numbered
from pipeline.results.frames import (
    ORDER,
    network_frame,
    on_part,
    over_seeds,
    sort_frame,
    with_part,
)
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.rows import read_arrays
from pipeline.results.tables import summary_table
from schemas.evaluations.eigenspectrum import LayerEigenspectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ("exponent", "r2")
PANEL = 2.3  # inches
COLUMNS = 4  # panels beside each other
MOST_LAYERS = 12  # that have a panel each


def eigenspectrum_by_seed(selection: Selection) -> pd.DataFrame:
    """Exponents of layers' eigenspectra, a row per network, layer and settings.

    Returns
    -------
    DataFrame
        ``exponent`` is that of variance ~ rank^-exponent from ``first_rank`` to ``last_rank``,
        ``r2`` says how well that fits; both are missing of a layer of fewer components. ``name`` is
        the layer, and tells several settings apart.
    """
    query = LayerEigenspectrum.Layer * LayerEigenspectrum.proj("n_images")
    query = query * LayerEigenspectrum.Config.proj("first_rank", "last_rank")
    columns = ["layer_index", "layer", *VALUES, "n_components", "n_features", "n_images"]
    columns += ["first_rank", "last_rank", "eigenspectrum_hash"]
    frame = network_frame(query, LayerEigenspectrum.Plan, selection, columns, ["layer"])
    frame = with_part(frame, LayerEigenspectrum)
    frame = frame.astype(dict.fromkeys(VALUES, float))
    names = on_part(frame["layer"].astype(object), frame)
    frame = frame.assign(name=numbered(names, frame[["eigenspectrum_hash"]]))
    return sort_frame(frame, ["image_set", "eigenspectrum_hash", *ORDER, "seed", "layer_index"])


def eigenspectrum(selection: Selection) -> pd.DataFrame:
    """The same, mean and standard error over seeds: a row per condition, layer and settings.

    Of ``n_seeds`` networks ``n_fitted`` have as many components as are fitted.
    """
    by_seed = eigenspectrum_by_seed(selection)
    by_seed = by_seed.assign(n_fitted=by_seed["exponent"].notna().astype(int))
    summary = over_seeds(by_seed, VALUES, totals=["n_fitted"], leave_out=["n_components"])
    return sort_frame(summary, ["image_set", "eigenspectrum_hash", *ORDER, "layer_index"])


def eigenspectrum_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each layer and condition."""
    table = summary_table(frame, dict.fromkeys(VALUES, "{:.3f}"))
    table.insert(0, "layer", frame["name"].to_numpy())
    table["exponent"] = [
        f"{shown}, {fitted} of {n} seeds" if 0 < fitted < n else shown
        for shown, fitted, n in zip(
            table["exponent"], frame["n_fitted"], frame["n_seeds"], strict=True
        )
    ]
    ranks = frame["first_rank"].astype(str) + " to " + frame["last_rank"].astype(str)
    return table.assign(ranks=ranks, n_images=frame["n_images"], n_features=frame["n_features"])


def eigenspectrum_figure(selection: Selection) -> Figure:
    """Exponents from layer to layer, and below them the spectra that they are fitted to.

    One part for each image set and settings. Its spectra have a panel for each layer; where
    networks of different layers make that too many, one for each condition. Grey: the ranks that
    are fitted.
    """
    summary = EIGENSPECTRUM.frame(selection)
    spectra = eigenspectrum_by_seed(selection)
    stored = selection.of(LayerEigenspectrum.Layer, LayerEigenspectrum.Plan)
    variances = pd.Series(read_arrays(stored, "variances", spectra), spectra.index)
    spectra = spectra.assign(variances=variances, condition=conditions(spectra))
    groups = list(summary.groupby(["image_set", "eigenspectrum_hash"], sort=False))
    by = ["layer" if rows["layer"].nunique() <= MOST_LAYERS else "condition" for _, rows in groups]
    counts = [
        rows["layer"].nunique() if one == "layer" else conditions(rows).nunique()
        for (_, rows), one in zip(groups, by, strict=True)
    ]
    lines = [-(-n // COLUMNS) for n in counts]
    heights = [2.6 + PANEL * n for n in lines]
    figure = new_figure((10.4, 1.2 + sum(heights)))
    parts: Any = figure.subfigures(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    shown = []
    for part, ((images, asked), group), panel, n_lines in zip(
        parts, groups, by, lines, strict=True
    ):
        of_group = spectra[
            (spectra["image_set"] == images) & (spectra["eigenspectrum_hash"] == asked)
        ]
        above, below = part.subfigures(2, 1, height_ratios=[2.6, PANEL * n_lines])
        ax = above.subplots()
        _exponents(ax, group, named=panel == "layer")
        first = group.iloc[0]
        said = "" if first["part"] == "test" else f", {first['part']} images"
        ax.set_title(f"{images}{said}, {first['n_images']} images", fontsize=9)
        axes = below.subplots(n_lines, COLUMNS, squeeze=False, sharex=True, sharey=True)
        _panels(axes, of_group.sort_values("layer_index", kind="stable"), panel)
        shown += [ax, *axes.flat]
    legend_below(figure, *shown)
    title = f"Variance of principal components; {error_bars(summary)}\n"
    title += "below: every network; grey: ranks that are fitted"
    if "condition" in by:
        title += "; from dark to light: layers from the image on"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _exponents(ax: Any, group: pd.DataFrame, *, named: bool) -> None:
    """Against the layer's name, or its number where networks have layers of their own."""
    for label, line, rows in styled(group.sort_values("layer_index", kind="stable")):
        ax.errorbar(
            rows["layer"] if named else rows["layer_index"] + 1,
            rows["exponent"],
            yerr=rows["exponent_sem"].fillna(0),
            label=label,
            **line,
            marker="o",
            markersize=3,
            capsize=2,
        )
    ax.axhline(1, color="black", linewidth=0.5)
    ax.set_ylabel("exponent")
    if not named:
        ax.set_xlabel("layer, from the image on")


def _panels(axes: Any, spectra: pd.DataFrame, by: str) -> None:
    """Spectra, lines in colours of conditions in panels of layers, or the other way round."""
    groups = list(spectra.groupby(by, sort=False))
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    for ax, (name, rows) in zip(axes.flat, groups, strict=False):
        if by == "layer":
            for _, line, of_condition in styled(rows):
                for variances in of_condition["variances"]:
                    _spectrum(ax, variances, **line)
        else:
            last = max(int(rows["layer_index"].max()), 1)
            for index, variances in zip(rows["layer_index"], rows["variances"], strict=True):
                _spectrum(ax, variances, color=colour_map("viridis")(0.9 * index / last))
        first = rows.iloc[0]
        ax.axvspan(first["first_rank"], first["last_rank"], color="#DDDDDD", zorder=0)
        for which in ("x", "y"):
            log_scale(ax, which, (1,))
        ax.tick_params(labelsize=7, labelbottom=True)
        ax.set_xlabel("rank", fontsize=8)
        ax.set_title(name, fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of variance", fontsize=8)


def _spectrum(ax: Any, variances: Any, **line: Any) -> None:
    ax.plot(np.arange(1, len(variances) + 1), variances, **line, linewidth=0.7)


EIGENSPECTRUM = register(
    Result(
        name="eigenspectrum",
        place=72,
        title="Exponents of layers' eigenspectra (Stringer et al. 2019)",
        question="How fast does variance fall over the components of a layer?",
        read=eigenspectrum,
        by_seed=eigenspectrum_by_seed,
        table=eigenspectrum_table,
        evaluation="eigenspectrum",
        compared=(Compared("exponent", lambda frame: "exponent of " + frame["name"]),),
        figures={
            "eigenspectrum": Drawing(eigenspectrum_figure, "exponents of layers and their spectra"),
        },
    )
)
