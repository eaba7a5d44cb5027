"""What all figures share: style, and what must be said in each."""

from __future__ import annotations

from typing import Any

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


def with_caveat(title: str, experiment: str | None, scale: str | None) -> str:
    """A title and below it what must be said beside every number."""
    caveat = results.caveat(experiment, scale)
    return f"{title}\n{caveat}" if caveat else title
