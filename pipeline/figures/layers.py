"""What teaching changed inside: layer weights over training, similarity before and after."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.experiments.planned import why_nothing
from pipeline.figures.conditions import error_bars, styled
from pipeline.figures.drawing import NothingToShowError, legend_below, with_caveat
from pipeline.results import frames as results


def layer_weights_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """The learned gamma of Eq. 10 after each epoch, one panel for each condition."""
    frame = results.layer_weights(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("layer_weights", experiment, scale))
    panels = styled(frame)
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(5, 0.6 + 2.6 * columns), 1.2 + 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (label, _, condition) in zip(axes.flat, panels, strict=False):
        layers = list(dict.fromkeys(condition["layer"]))
        for number, layer in enumerate(layers):
            of_layer = condition[condition["layer"] == layer]
            by_epoch = of_layer.groupby("epoch")["weight"]
            mean, sem = by_epoch.mean(), by_epoch.sem().fillna(0)
            ax.errorbar(
                mean.index + 1,
                mean,
                yerr=sem,
                label=layer,
                color=f"C{number}",
                marker="o",
                markersize=3,
                capsize=2,
            )
        seeds = condition["seed"].nunique()
        ax.set_title(f"{label} (n = {seeds})", fontsize=8)
        ax.set_ylim(0, 1)
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for ax in axes[:, 0]:
        ax.set_ylabel("weight γ")
    legend_below(figure, *axes.flat, columns=5)
    figure.suptitle(
        with_caveat("Learned weights of layers (Eq. 10), mean and SEM", experiment, scale),
        fontsize=9,
    )
    return figure


def layers_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Similarity of each layer to the brain on stimuli that did not teach, before and after.

    Correlation of the cosines of Eq. 9 with the teacher's similarity above, centred kernel
    alignment below; one column for each brain that judges.
    """
    frame = results.layers(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("layers", experiment, scale))
    judges = list(frame.groupby("judge", sort=False))
    figure = Figure(figsize=(max(7.2, 0.6 + 3.6 * len(judges)), 6.6), layout="constrained")
    axes = figure.subplots(2, len(judges), squeeze=False, sharex=True, sharey="row")
    values = {"correlation": "correlation with teacher", "alignment": "CKA with teacher"}
    for column, (judge, group) in enumerate(judges):
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
        axes[0, column].set_title(f"judged by {judge}, {n} held-out stimuli", fontsize=9)
    for ax, name in zip(axes[:, 0], values.values(), strict=True):
        ax.set_ylabel(name)
    legend_below(figure, axes[0, 0])
    figure.suptitle(
        with_caveat(f"Layers beside the brain; {error_bars(frame)}", experiment, scale),
        fontsize=9,
    )
    return figure
