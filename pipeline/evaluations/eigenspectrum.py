"""How fast variance falls over the principal components of layers: Stringer et al. 2019."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import legend_below, log_scale, new_figure, with_caveat
from pipeline.results.conditions import numbered
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
PANEL = 2.9  # inches


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

    One column for each image set and settings; grey: the ranks that are fitted.
    """
    summary = EIGENSPECTRUM.frame(selection)
    spectra = eigenspectrum_by_seed(selection)
    stored = selection.of(LayerEigenspectrum.Layer, LayerEigenspectrum.Plan)
    variances = pd.Series(read_arrays(stored, "variances", spectra), spectra.index)
    spectra = spectra.assign(variances=variances)
    settings = ["image_set", "eigenspectrum_hash"]
    groups = list(summary.groupby(settings, sort=False))
    n_layers = [rows["layer"].nunique() for _, rows in groups]
    figure = new_figure((max(6.4, 0.6 + PANEL * max(n_layers)), 1.0 + 5.6 * len(groups)))
    parts: Any = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    shown = []
    for part, ((images, asked), group) in zip(parts, groups, strict=True):
        of_group = spectra[
            (spectra["image_set"] == images) & (spectra["eigenspectrum_hash"] == asked)
        ]
        layers = list(group.sort_values("layer_index")["layer"].drop_duplicates())
        grid = part.add_gridspec(2, len(layers))
        above = part.add_subplot(grid[0, :])
        _exponents(above, group)
        first = group.iloc[0]
        said = "" if first["part"] == "test" else f", {first['part']} images"
        above.set_title(f"{images}{said}, {first['n_images']} images", fontsize=9)
        shown.append(above)
        below = None
        for place, layer in enumerate(layers):
            ax = part.add_subplot(grid[1, place], sharey=below)
            below = below or ax
            _spectra(ax, of_group[of_group["layer"] == layer])
            ax.set_title(layer, fontsize=8)
            if place == 0:
                ax.set_ylabel("share of variance")
            else:
                ax.tick_params(labelleft=False)
            shown.append(ax)
    legend_below(figure, *shown)
    title = f"Variance of principal components; {error_bars(summary)}\n"
    title += "below: every network; grey: ranks that are fitted"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _exponents(ax: Any, group: pd.DataFrame) -> None:
    for label, line, rows in styled(group):
        ax.errorbar(
            rows["layer"],
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


def _spectra(ax: Any, rows: pd.DataFrame) -> None:
    for _, line, of_condition in styled(rows):
        for variances in of_condition["variances"]:
            ax.plot(np.arange(1, len(variances) + 1), variances, **line, linewidth=0.7)
    first = rows.iloc[0]
    ax.axvspan(first["first_rank"], first["last_rank"], color="#DDDDDD", zorder=0)
    for which in ("x", "y"):
        log_scale(ax, which, (1,))
    ax.set_xlabel("rank")
    ax.tick_params(labelsize=7)


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
