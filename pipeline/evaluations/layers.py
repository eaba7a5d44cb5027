"""Layers beside the brain: their similarity to a neural teacher, before and after training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import legend_below, new_figure, with_caveat
from pipeline.results.conditions import numbered, settings
from pipeline.results.frames import (
    ORDER,
    brains_of_groups,
    network_frame,
    over_seeds,
    shown_size,
    sort_frame,
)
from pipeline.results.registry import Drawing, Result, register
from pipeline.results.rows import read_rows
from pipeline.results.tables import mean_sem, with_seeds
from schemas.evaluations.layers import LayerSimilarity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ["correlation", "alignment"]
OF_STIMULI = [f"{value}_stimuli" for value in VALUES]


def layers_by_seed(selection: Selection) -> pd.DataFrame:
    """Similarity of each layer to a neural teacher on held-out stimuli, a row per network.

    Returns
    -------
    DataFrame
        ``judge`` is the brain that is compared with, and if need be the size at which the network
        sees its stimuli, ``trained`` says whether after training or before, ``statistics`` by
        whose batch normalisation went: ``task``, as the network is tested, or ``stimuli``, of
        which a network without batch normalisation has no row. ``correlation`` is that of the
        cosines of Eq. 9 with the teacher's similarity, ``alignment`` their centred kernel
        alignment.
    """
    query = LayerSimilarity.Layer * LayerSimilarity.proj("n_compared")
    measured = ["layer_index", "layer", "trained", "statistics", *VALUES, "n_compared"]
    keys = ["judge_hash", "judge_group", "representation_hash"]
    columns = ["judge", *measured, *keys, *OF_STIMULI]
    frame = _by_statistics(network_frame(query, LayerSimilarity.Plan, selection, columns))
    brains = frame["judge_group"].map(brains_of_groups())
    configs = read_rows(LayerSimilarity.Config, ["config"]).set_index("representation_hash")
    sizes = frame["representation_hash"].map(configs["config"].map(shown_size)).astype(str)
    several = sizes.groupby(brains).transform("nunique") > 1
    shown_at = ", shown at " + sizes.where(sizes != "", "its own size")
    judges = brains.where(~several, brains + shown_at)
    return frame.assign(judge=numbered(judges, frame[keys]))


def _by_statistics(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each statistics where there is one for both."""
    by_task = frame.drop(columns=OF_STIMULI).assign(statistics="task")
    known = frame[frame[OF_STIMULI[0]].notna()].assign(statistics="stimuli")
    if known.empty:
        return by_task
    by_stimuli = known.drop(columns=VALUES).rename(
        columns=dict(zip(OF_STIMULI, VALUES, strict=True))
    )
    both = pd.concat([by_task, by_stimuli[by_task.columns]])
    return both.sort_index(kind="stable").reset_index(drop=True)


def layers(selection: Selection) -> pd.DataFrame:
    """Similarity of each layer to a neural teacher: mean and standard error over seeds."""
    by_seed = layers_by_seed(selection)
    summary = over_seeds(by_seed, VALUES)
    return sort_frame(summary, ["image_set", "judge", *ORDER, "trained", "layer_index"])


def layers_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each judge and condition, a column for each layer: correlation +- SEM (CKA).

    Where some have batch normalisation, a row for each statistics that it went by.
    """
    trained = frame["trained"].astype(bool)
    # Before they were taught, networks of the same seeds are the same.
    setting = settings(frame)
    setting = setting.where(setting == "", ", " + setting)
    untaught = "as initialised" + setting + " (n = " + frame["n_seeds"].astype(str) + ")"
    frame = frame.assign(
        condition=with_seeds(frame).where(trained, untaught),
        cell=[
            f"{mean_sem(c, s, '{:.2f}')} ({a:.2f})"
            for c, s, a in frame[["correlation", "correlation_sem", "alignment"]].to_numpy()
        ],
    )
    layers = frame.sort_values("layer_index")["layer"].drop_duplicates()
    frame = frame.sort_values("trained", kind="stable")
    rows = ["judge", "condition"]
    if frame["statistics"].nunique() > 1:
        rows.append("statistics")
    once = frame[frame["trained"].astype(bool) | ~frame.duplicated([*rows, "layer"])]
    table = once.pivot(index=rows, columns="layer", values="cell")
    order = once[rows].drop_duplicates().sort_values("judge", kind="stable")
    table = table.reindex(pd.MultiIndex.from_frame(order))
    return table[list(layers)].reset_index().fillna("")


def layers_figure(selection: Selection) -> Figure:
    """Similarity of each layer to the brain on stimuli that did not teach, before and after.

    Correlation of the cosines of Eq. 9 with the teacher's similarity above, centred kernel
    alignment below; one column for each brain that judges, and for each statistics that batch
    normalisation went by.
    """
    frame = LAYERS.frame(selection)
    judges = list(frame.groupby(["judge", "statistics"], sort=False))
    figure = new_figure((max(7.2, 0.6 + 3.6 * len(judges)), 6.6))
    axes = figure.subplots(2, len(judges), squeeze=False, sharex=True, sharey="row")
    values = {"correlation": "correlation with teacher", "alignment": "CKA with teacher"}
    several = frame["statistics"].nunique() > 1
    for column, ((judge, statistics), group) in enumerate(judges):
        before = group[~group["trained"].astype(bool)].drop_duplicates("layer")
        for ax, value in zip(axes[:, column], values, strict=True):
            for label, line, rows in styled(group[group["trained"].astype(bool)]):
                ax.errorbar(
                    rows["layer"],
                    rows[value],
                    yerr=rows[f"{value}_sem"].fillna(0),
                    label=label,
                    **line,
                    marker="o",
                    markersize=3,
                    capsize=2,
                )
            ax.plot(
                before["layer"], before[value], color="#BBBBBB", label="as initialised", zorder=0
            )
            ax.axhline(0, color="black", linewidth=0.5)
        n = int(group["n_compared"].max())
        by = f"\nbatch norm by {statistics}" if several else ""
        axes[0, column].set_title(f"judged by {judge}, {n} held-out stimuli{by}", fontsize=9)
    for ax, name in zip(axes[:, 0], values.values(), strict=True):
        ax.set_ylabel(name)
    legend_below(figure, axes[0, 0])
    figure.suptitle(
        with_caveat(f"Layers beside the brain; {error_bars(frame)}", selection),
        fontsize=9,
    )
    return figure


LAYERS = register(
    Result(
        name="layers",
        place=70,
        title="Similarity of layers to the brain, on stimuli that did not teach",
        question="Which layers became like the brain?",
        read=layers,
        by_seed=layers_by_seed,
        table=layers_table,
        evaluation="layers",
        lacks=("asks for", "comparison of layers; give it a table [representation]"),
        figures={"layers": Drawing(layers_figure, "similarity of layers to the brain")},
    )
)
