"""Figures, drawn from what the database holds; one file per subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.figure import Figure

from pipeline.figures.drawing import STYLE, NothingToShowError
from pipeline.figures.noise import noise_figure
from pipeline.figures.similarity import similarity_figure

__all__ = ["FIGURES", "NothingToShowError", "draw"]

FigureName = Literal["similarity", "noise"]

# Each draws what an experiment, at a scale, has come to.
FIGURES: dict[FigureName, Callable[[str | None, str | None], Figure]] = {
    "similarity": similarity_figure,
    "noise": noise_figure,
}


def draw(
    name: FigureName, path: Path, *, experiment: str | None = None, scale: str | None = None
) -> None:
    """Draw a figure into a file; its ending says which format.

    Raises
    ------
    NothingToShowError
        If the results are not there yet.
    ValueError
        If the file's ending is not a format of figures.
    """
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(known)}")
    with matplotlib.rc_context(STYLE):
        figure = FIGURES[name](experiment, scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
