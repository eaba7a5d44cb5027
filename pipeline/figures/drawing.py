"""What all figures share: style, and what must be said in each."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from pipeline import results

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
}


class NothingToShowError(LookupError):
    """The database has no results for the figure."""


def legend_below(figure: Figure, *axes: Any, columns: int = 3) -> None:
    """One legend for a whole figure: what any of its panels shows, each label once."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        handles=list(found.values()),
        labels=list(found),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
    )


def with_caveat(title: str, experiment: str | None, scale: str | None) -> str:
    """A title and below it what must be said beside every number."""
    caveat = results.caveat(experiment, scale)
    return f"{title}\n{caveat}" if caveat else title
