"""To which frequency and orientation filters of networks' first convolutions are tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import styled
from pipeline.figures.drawing import legend_below, new_figure, show_pictures, with_caveat
from pipeline.results.conditions import NETWORK, conditions, numbered
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.rows import read_arrays
from pipeline.results.tables import summary_table
from schemas.evaluations.filter_tuning import FilterTuning

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

VALUES = ("mean_frequency", "low_pass", "mean_bandwidth", "mean_selectivity")
ASKED = ["image_set", "filter_tuning_hash"]
ABOUT = ("n_filters", "n_silent", "kernel_height", "kernel_width")
SHOWN = 32  # filters in a row of pictures


def filter_tuning_by_seed(selection: Selection) -> pd.DataFrame:
    """Tuning of filters, a row per network and settings.

    Returns
    -------
    DataFrame
        ``mean_frequency`` is the mean of preferred frequencies in cycles per pixel, ``low_pass``
        the share of filters without a lower cut-off, ``mean_bandwidth`` in octaves that of filters
        with both cut-offs, ``mean_selectivity`` that for orientation, 0 to 1. Of ``n_filters``,
        ``n_silent`` say nothing and do not count. ``name`` is the convolution.
    """
    query = FilterTuning.proj(*VALUES, *ABOUT)
    return _named(query, selection, [*VALUES, *ABOUT])


def filter_tuning_by_filter(selection: Selection) -> pd.DataFrame:
    """The same, a row per filter: ``frequency``, ``orientation`` (degrees), ``bandwidth``..."""
    columns = ["filter_index", "frequency", "orientation", "bandwidth", "has_low_pass"]
    return _named(FilterTuning.Filter, selection, [*columns, "selectivity"])


def _named(query: Any, selection: Selection, columns: list[str]) -> pd.DataFrame:
    query = query * FilterTuning.Config.proj("convolution")
    columns = [*columns, "convolution", "filter_tuning_hash"]
    frame = network_frame(query, FilterTuning.Plan, selection, columns)
    numbers = [c for c in (*VALUES, "orientation", "bandwidth", "selectivity") if c in frame]
    frame = frame.astype(dict.fromkeys(numbers, float))
    names = "convolution " + frame["convolution"].map("{:g}".format).astype(object)
    frame = frame.assign(name=numbered(names, frame[["filter_tuning_hash"]]))
    then = ["filter_index"] if "filter_index" in frame else []
    return sort_frame(frame, [*ASKED, *ORDER, "seed", *then])


def filter_tuning(selection: Selection) -> pd.DataFrame:
    """Mean and standard error over seeds: a row per condition and settings."""
    summary = over_seeds(filter_tuning_by_seed(selection), VALUES, leave_out=["n_silent"])
    return sort_frame(summary, [*ASKED, *ORDER])


def filter_tuning_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition and settings."""
    table = summary_table(frame, dict.fromkeys(VALUES, "{:.3f}"))
    table.insert(0, "filters", frame["name"].to_numpy())
    size = frame["kernel_height"].astype(str) + " x " + frame["kernel_width"].astype(str)
    about = frame["n_filters"].astype(str) + " of " + size
    return table.assign(size=about.where(frame["n_filters"] > 0, "no filters").to_numpy())


def filter_tuning_figure(selection: Selection) -> Figure:
    """How frequency, bandwidth, selectivity and orientation of filters are distributed.

    A line of panels for each image set and settings; filters of all seeds together.
    """
    FILTER_TUNING.frame(selection)
    by_filter = filter_tuning_by_filter(selection)
    groups = list(by_filter.groupby(ASKED, sort=False))
    figure = new_figure((12.0, 1.2 + 2.9 * max(len(groups), 1)))
    axes = figure.subplots(max(len(groups), 1), 4, squeeze=False)
    for line, ((images, _), group) in zip(axes, groups, strict=True):
        for label, style, rows in styled(group):
            of = f"{label} ({len(rows)} filters)"
            for ax, column in zip(line, ("frequency", "bandwidth", "selectivity"), strict=False):
                _share_up_to(ax, rows[column], {**style, "label": of})
            known = rows["orientation"].dropna()
            # Bins of 30 degrees about 0, 30, ...; 180 is 0 again.
            counts = np.histogram((known + 15) % 180, np.arange(0, 181, 30))[0]
            if len(known):
                share = np.append(counts, counts[0]) / len(known)
                line[3].plot(np.arange(0, 181, 30), share, **style, marker="o", markersize=3)
        line[0].set_ylabel("share of filters up to")
        line[0].set_title(f"{images}, {group['name'].iloc[0]}", fontsize=9)
        line[3].set_ylabel("share of filters")
        line[3].set_xticks(range(0, 181, 45))
        line[3].set_ylim(bottom=0)
        labels = (
            "preferred frequency (cycles per pixel)",
            "bandwidth (octaves)",
            "orientation selectivity",
            "across the stripes (degrees)",
        )
        for ax, label in zip(line, labels, strict=True):
            ax.set_xlabel(label, fontsize=8)
            ax.tick_params(labelsize=7)
    legend_below(figure, *axes.flat)
    title = "Tuning of filters; filters of all seeds together; bandwidth: of those that have one"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _share_up_to(ax: Any, values: pd.Series[float], style: dict[str, Any]) -> None:
    """Cumulative distribution."""
    known = np.sort(values.dropna())
    if len(known):
        share = np.arange(len(known) + 1) / len(known)
        ax.plot(np.append(known[0], known), share, drawstyle="steps-post", **style, linewidth=1.2)
        ax.set_ylim(-0.03, 1.03)


def filters_figure(selection: Selection) -> Figure:
    """Filters of each condition's first seed, by rising preferred frequency."""
    by_seed = FILTER_TUNING.frame_by_seed(selection)
    by_filter = filter_tuning_by_filter(selection)
    first = by_seed.assign(condition=conditions(by_seed)).drop_duplicates([*ASKED, "condition"])
    weights = read_arrays(selection.of(FilterTuning, FilterTuning.Plan), "weights", first)
    figure = new_figure((10.0, 0.8 + 0.65 * len(first)))
    axes = figure.subplots(len(first), 1, squeeze=False)[:, 0]
    key = ["filter_tuning_hash", *NETWORK]
    of_network = dict(list(by_filter.groupby(key, sort=False)))
    at_most = min(SHOWN, int(by_filter.groupby(key).size().max()) if len(by_filter) else 1)
    several = first[ASKED].drop_duplicates().shape[0] > 1
    for ax, (_, row), filters in zip(axes, first.iterrows(), weights, strict=True):
        of = of_network.get(tuple(row[key]))
        name = f"{row['image_set']}, {row['name']}, " if several else ""
        ax.set_title(f"{name}{row['condition']}, seed {row['seed']}", fontsize=8, loc="left")
        if of is None:
            ax.set_axis_off()
            continue
        order = of.sort_values("frequency")["filter_index"].to_numpy()
        spread = np.unique(np.linspace(0, len(order) - 1, at_most).round().astype(int))
        pictures = [_picture(filters[i]) for i in order[spread]]
        blank = [np.full_like(pictures[0], 255)] * (at_most - len(pictures))
        show_pictures(ax, [*pictures, *blank])
    title = f"Filters by rising preferred frequency, {SHOWN} of them where there are more"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _picture(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One filter (channel, height, width), grey where it is 0; of many channels their mean."""
    if len(weights) not in (1, 3):
        weights = weights.mean(0, keepdims=True)
    scaled = 0.5 + 0.5 * weights / max(float(np.abs(weights).max()), 1e-30)
    picture: NDArray[np.uint8] = (255 * scaled).round().astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(np.repeat(picture, 8, 0), 8, 1) if len(picture) < 8 else picture


FILTER_TUNING = register(
    Result(
        name="filter-tuning",
        place=71,
        title="Tuning of filters",
        question="To which frequencies are filters of the first convolution tuned?",
        read=filter_tuning,
        by_seed=filter_tuning_by_seed,
        table=filter_tuning_table,
        evaluation="filter_tuning",
        compared=(
            Compared("mean_frequency", lambda frame: "preferred frequency, " + frame["name"]),
            Compared("low_pass", lambda frame: "share of low-pass filters, " + frame["name"]),
        ),
        figures={
            "filter-tuning": Drawing(
                filter_tuning_figure, "frequencies and orientations filters prefer"
            ),
            "first-filters": Drawing(filters_figure, "filters of networks' first convolutions"),
        },
        further={"filter_tuning_by_filter": filter_tuning_by_filter},
    )
)
