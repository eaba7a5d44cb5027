"""Lines and colours of the conditions, the same in all figures of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.figures.drawing import colour_map, from_zero, legend_below, new_figure
from pipeline.results.conditions import CONDITION, conditions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that people with colour-blindness can tell apart (Okabe and Ito).
COLOURS = {
    "none": "#000000",
    "neural_model": "#D55E00",
    "neural_data": "#0072B2",
    "oracle": "#56B4E9",
    "shuffle": "#009E73",
    "shuffle_entries": "#66C2A5",
    "gabor": "#CC79A7",
    "low_rank": "#E69F00",
    "matched_spectrum": "#F0E442",
    "pixels": "#999999",
    "low_pass_pixels": "#666666",
    "vgg": "#8C6D31",
    "vgg_untrained": "#BD9E39",
    "rsm": "#D55E00",
    "recorded_rsm": "#D55E00",
    "shuffle_neurons": "#009E73",
    "gaussian": "#A6761D",
    "responses": "#D55E00",
    "responses_shuffle": "#009E73",
    "responses_shuffle_neurons": "#66C2A5",
    "responses_untrained": "#BD9E39",
    "responses_data": "#0072B2",
    "responses_gabor": "#CC79A7",
    "responses_oracle": "#56B4E9",
}
STYLES = ("-", "--", ":", "-.")


def styled(frame: pd.DataFrame) -> list[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Each condition of a frame: its name with the number of seeds, its line, its rows.

    The colour says who teaches; the dashes, which brain; where one teacher teaches with several
    strengths, the colour rises with alpha. Where that does not tell two apart, the second has a
    colour of its own.
    """
    frame = frame.assign(condition=conditions(frame[CONDITION]))
    taught = frame.loc[frame["teacher"] != "none"]
    brains = list(dict.fromkeys(taught["brain"]))
    strengths = sorted(set(taught["alpha"])) if taught["teacher"].nunique() == 1 else []
    lines: list[tuple[str, dict[str, Any], pd.DataFrame]] = []
    for name, rows in frame.groupby("condition", sort=False):
        first = rows.iloc[0]
        colour: Any = COLOURS.get(first["teacher"], "#444444")
        if len(strengths) > 1 and first["teacher"] != "none":
            colour = colour_map("plasma")(0.85 * strengths.index(first["alpha"]) / len(strengths))
        dashes = STYLES[brains.index(first["brain"]) % len(STYLES)] if first["brain"] else "-"
        if any(line == {"color": colour, "linestyle": dashes} for _, line, _ in lines):
            colour = f"C{len(lines) % 10}"
        seeds = f" (n = {int(rows['n_seeds'].min())})" if "n_seeds" in rows else ""
        lines.append((f"{name}{seeds}", {"color": colour, "linestyle": dashes}, rows))
    return lines


def dots(ax: Any, frame: pd.DataFrame, value: str) -> None:
    """A line for each condition: every seed, their mean and standard error, and stars.

    One star where a one-tailed paired t-test against no teacher says p < .05, two where it says
    p < .001, corrected for the number of such tests in the frame (Holm 1979).

    Parameters
    ----------
    ax : matplotlib Axes
    frame : DataFrame
        By seed, of networks that are trained alike.
    value : str
        Name of the column.
    """
    from pipeline.results.comparisons import above_none  # SciPy's tests take a second to import

    p = above_none(frame, value)
    names, colours = [], []
    for place, (label, line, rows) in enumerate(styled(frame)):
        seeds = rows[value].astype(float)
        ax.plot(seeds, [place] * len(rows), ".", color=line["color"], alpha=0.35, markersize=5)
        sem = 0 if len(rows) < 2 else seeds.sem()
        ax.errorbar(seeds.mean(), place, xerr=sem, color=line["color"], marker="o", capsize=3)
        stars = "" if not p.get(label, 1) < 0.05 else "**" if p[label] < 0.001 else "*"
        ax.annotate(stars, (seeds.max(), place), (4, -3), textcoords="offset points", fontsize=9)
        names.append(f"{label} (n = {len(rows)})")
        colours.append(line["color"])
    ax.set_yticks(range(len(names)), names, fontsize=8)
    for text, colour in zip(ax.get_yticklabels(), colours, strict=True):
        text.set_color(colour)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.margins(x=0.12)


def height(frame: pd.DataFrame, least: float) -> float:
    """Size in inches of a panel of :func:`dots`, at least the given one."""
    return max(least, 0.6 + 0.24 * conditions(frame).nunique())


def figure_of_dots(
    panels: Sequence[tuple[str, pd.DataFrame]], value: str, label: str, title: str
) -> Figure:
    """A panel of :func:`dots` below the other, as high as it has conditions.

    Parameters
    ----------
    panels : sequence of (str, DataFrame)
        Title of each panel, and its rows by seed.
    value : str
        Name of the column.
    label : str
        Of the horizontal axis.
    title : str
        Of the whole.
    """
    heights = [height(rows, 2.2) for _, rows in panels]
    figure = new_figure((8.8, 1.0 + sum(heights)))  # as wide as what the title says of stars
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, rows) in zip(axes, panels, strict=True):
        dots(ax, rows, value)
        ax.set_title(name, fontsize=9)
    axes[-1].set_xlabel(label)
    figure.suptitle(title, fontsize=9)
    return figure


def figure_of_attacks(
    panels: Sequence[tuple[str, pd.DataFrame]],
    value: str,
    at: str,
    labels: tuple[str, str],
    title: str,
) -> Figure:
    """Accuracy against how strong attacks are, panels beside each other; at 0 without an attack.

    Parameters
    ----------
    panels : sequence of (str, DataFrame)
        Title of each panel, and its rows over seeds, with ``clean_accuracy`` beside the value and
        with standard errors of both.
    value, at : str
        Columns of the two axes.
    labels : (str, str)
        Of the horizontal and of the vertical axis.
    title : str
        Of the whole.
    """
    figure = new_figure((max(6.6, 0.6 + 3.5 * len(panels)), 4.4))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, (name, group) in zip(axes, panels, strict=True):
        for label, line, rows in styled(group):
            clean = rows.iloc[[0]]
            sem = pd.concat([clean["clean_accuracy_sem"], rows[f"{value}_sem"]])
            ax.errorbar(
                [0.0, *rows[at]],
                [*clean["clean_accuracy"], *rows[value]],
                yerr=sem.fillna(0),
                label=label,
                **line,
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
            )
        ax.set_xlabel(labels[0])
        from_zero(ax)
        ax.set_title(name, fontsize=9)
    axes[0].set_ylabel(labels[1])
    legend_below(figure, *axes)
    figure.suptitle(title, fontsize=9)
    return figure


STARS = "dots: seeds; bars, bands: SEM; stars: above none, p < .05 (*), .001 (**), one-tailed, Holm"


def error_bars(frame: pd.DataFrame) -> str:
    """What the error bars are."""
    return "error bars: SEM over n seeds" if frame["n_seeds"].max() > 1 else "one seed each"
