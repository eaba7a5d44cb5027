"""Errors of networks under waves of each frequency: the heat maps of Yin et al. 2019."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import legend_below, new_figure, with_caveat
from pipeline.results.conditions import CONDITION, conditions, numbered
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
from regularized_training.robustness.fourier_heat_map_config import BANDS
from schemas.evaluations.fourier_heat_map import FourierSensitivity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ("clean_error", *BANDS, "mean_error")
ASKED = ["image_set", "fourier_heat_map_hash"]
COLUMNS = 4  # maps beside each other


def fourier_heat_map_by_seed(selection: Selection) -> pd.DataFrame:
    """Error rates under waves, a row per network and settings.

    Returns
    -------
    DataFrame
        ``low``, ``middle`` and ``high`` are mean error rates over waves of up to 1/6, up to 1/3 and
        more cycles per pixel, ``mean_error`` over all that were tried, ``clean_error`` that of the
        same images as they are. ``wave_norm`` is the L2 norm of the wave in each channel; ``name``
        says it, and tells several settings apart.
    """
    return _by_seed(selection, [])


def _by_seed(selection: Selection, further: list[str]) -> pd.DataFrame:
    columns = [*VALUES, *further, "wave_norm", "n_images", "fourier_heat_map_hash"]
    query = FourierSensitivity.proj(*(c for c in columns if c in FourierSensitivity.heading.names))
    query = query * FourierSensitivity.Config.proj("wave_norm")
    frame = network_frame(query, FourierSensitivity.Plan, selection, columns)
    frame = with_part(frame, FourierSensitivity)
    frame = frame.astype(dict.fromkeys(VALUES, float))
    names = on_part("norm " + frame["wave_norm"].map("{:g}".format).astype(object), frame)
    frame = frame.assign(name=numbered(names, frame[["fourier_heat_map_hash"]]))
    return sort_frame(frame, [*ASKED, *ORDER, "seed"])


def fourier_heat_map_by_frequency(selection: Selection) -> pd.DataFrame:
    """The same, a row per network, settings and frequency of the map.

    Returns
    -------
    DataFrame
        ``down`` and ``across`` are the frequency in cycles per image, both signs; ``error`` is the
        error rate, the same at a frequency and at its opposite.
    """
    frame = _by_seed(selection, ["down", "across"])
    stored = selection.of(FourierSensitivity, FourierSensitivity.Plan)
    maps = read_arrays(stored, "error", frame)
    cells = [
        pd.DataFrame(
            {
                "place": place,
                "down": np.repeat(down, len(across)),
                "across": np.tile(across, len(down)),
                "error": errors.ravel(),
            }
        )
        for place, (down, across, errors) in enumerate(
            zip(frame["down"], frame["across"], maps, strict=True)
        )
    ]
    none = pd.DataFrame(columns=["place", "down", "across", "error"], dtype=float)
    said = frame.drop(columns=["down", "across"])
    long = (pd.concat(cells) if cells else none).set_index("place")
    return said.join(long, how="right" if cells else "inner").reset_index(drop=True)


def fourier_heat_map(selection: Selection) -> pd.DataFrame:
    """Mean and standard error over seeds: a row per condition and settings."""
    summary = over_seeds(fourier_heat_map_by_seed(selection), VALUES)
    return sort_frame(summary, [*ASKED, *ORDER])


def fourier_heat_map_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition and settings."""
    table = summary_table(frame, dict.fromkeys(VALUES, "{:.3f}"))
    table.insert(0, "waves", frame["name"].to_numpy())
    return table.assign(n_images=frame["n_images"].to_numpy())


def fourier_heat_map_figure(selection: Selection) -> Figure:
    """Error over how high a frequency is, and below a map for each condition, zero in the middle.

    One part for each image set and settings; its maps, means over seeds, share their colours.
    """
    summary = FOURIER_HEAT_MAP.frame(selection)
    cells = fourier_heat_map_by_frequency(selection)
    groups = list(summary.groupby(ASKED, sort=False))
    lines = [-(-len(rows) // COLUMNS) for _, rows in groups]
    heights = [2.9 + 2.7 * n for n in lines]
    figure = new_figure((10.4, 1.0 + sum(heights)))
    parts: Any = figure.subfigures(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    shown = []
    for part, ((images, asked), group), n_lines in zip(parts, groups, lines, strict=True):
        of_group = cells[(cells["image_set"] == images) & (cells["fourier_heat_map_hash"] == asked)]
        above, below = part.subfigures(2, 1, height_ratios=[2.9, 2.7 * n_lines])
        ax = above.subplots()
        _curves(ax, of_group, group)
        ax.set_title(f"{images}, waves of {group['name'].iloc[0]}", fontsize=9)
        shown.append(ax)
        axes = below.subplots(n_lines, COLUMNS, squeeze=False)
        _maps(below, axes, of_group)
    legend_below(figure, *shown)
    title = f"Errors under waves of each frequency; {error_bars(summary)}; dotted: without waves\n"
    title += "below: means over seeds, frequency zero in the middle"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _curves(ax: Any, cells: pd.DataFrame, summary: pd.DataFrame) -> None:
    """Error against how far a frequency is from zero, mean over directions."""
    step = np.diff(np.unique(cells["down"])).min()
    ring = np.round(np.hypot(cells["down"], cells["across"]) / step) * step
    kept = [*CONDITION, "seed", "ring"]
    rings = cells.assign(ring=ring).groupby(kept, sort=False, dropna=False)["error"].mean()
    by_ring = over_seeds(rings.reset_index(), ["error"])
    for label, line, rows in styled(sort_frame(by_ring, [*ORDER, "ring"])):
        about = {**line, "linewidth": 1.2, "marker": "o", "markersize": 2.5, "capsize": 2}
        ax.errorbar(
            rows["ring"], rows["error"], yerr=rows["error_sem"].fillna(0), label=label, **about
        )
    for _, line, rows in styled(summary):
        for error in rows["clean_error"]:
            ax.axhline(error, color=line["color"], linestyle=":", linewidth=0.8)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("frequency (cycles per image)")
    ax.set_ylabel("error rate")


def _maps(figure: Any, axes: Any, cells: pd.DataFrame) -> None:
    cells = cells.assign(condition=conditions(cells))
    values = ["condition", "down", "across"]
    means = cells.groupby(values, sort=False)["error"].mean().reset_index()
    low, high = means["error"].min(), means["error"].max()
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, rows) in zip(axes.flat, means.groupby("condition", sort=False), strict=False):
        shown = rows.pivot(index="down", columns="across", values="error")
        down, across = shown.index.to_numpy(), shown.columns.to_numpy()
        half = (down[1] - down[0]) / 2
        picture = ax.imshow(
            shown.to_numpy(),
            cmap="viridis",
            vmin=low,
            vmax=high,
            interpolation="nearest",
            extent=(across[0] - half, across[-1] + half, down[-1] + half, down[0] - half),
        )
        ax.set_axis_on()
        ax.set_title(name, fontsize=8)
        ax.tick_params(labelsize=7)
    figure.supxlabel("cycles per image, across", fontsize=8)
    figure.supylabel("cycles per image, down", fontsize=8)
    figure.colorbar(picture, ax=axes, label="error rate", shrink=0.8)


FOURIER_HEAT_MAP = register(
    Result(
        name="fourier-heat-map",
        place=44,
        title="Error rates under waves of each frequency (Yin et al. 2019)",
        question="Which frequencies disturb networks?",
        read=fourier_heat_map,
        by_seed=fourier_heat_map_by_seed,
        table=fourier_heat_map_table,
        evaluation="fourier_heat_map",
        compared=(
            Compared("low", lambda frame: "error under waves, low frequencies, " + frame["name"]),
            Compared(
                "middle", lambda frame: "error under waves, middle frequencies, " + frame["name"]
            ),
            Compared("high", lambda frame: "error under waves, high frequencies, " + frame["name"]),
        ),
        figures={
            "fourier-heat-map": Drawing(
                fourier_heat_map_figure, "error rates under waves of each frequency"
            ),
        },
        further={"fourier_heat_map_by_frequency": fourier_heat_map_by_frequency},
    )
)
