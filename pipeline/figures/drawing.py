"""What all figures share: style, and what must be said in each."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from pipeline.results import frames as results

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
}


class NothingToShowError(LookupError):
    """The database has no results for the figure."""


def legend_below(figure: Figure, *axes: Any, columns: int | None = None) -> None:
    """One legend for a whole figure: what any of its panels shows, each label once.

    In as many columns as fit the figure's width, unless their number is given.
    """
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if columns is None:
        inches = 0.45 + 0.062 * max(map(len, found), default=1)
        columns = min(max(int(figure.get_figwidth() / inches), 1), 4)
    figure.legend(
        handles=list(found.values()),
        labels=list(found),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
    )


def log_scales(ax: Any) -> None:
    """Both axes logarithmic, with numbers that can be read where they span little."""
    for axis, set_scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def from_zero(ax: Any) -> None:
    """The vertical axis from zero to a little above what is drawn, which may span very little."""
    ax.set_ylim(0, 1.05 * ax.get_ylim()[1])


def with_caveat(title: str, experiment: str | None, scale: str | None) -> str:
    """A title and below it what must be said beside every number."""
    caveat = results.caveat(experiment, scale)
    return f"{title}\n{caveat}" if caveat else title
