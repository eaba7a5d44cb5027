"""Figures of encoders and teachers, and what all figures share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.experiments.selection import Selection
from pipeline.results.registry import Drawing, figures, register_figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
}


def figure(
    name: str, selection: Selection, *, scan: str | None = None, hardened: Sequence[str] = ()
) -> Figure:
    """A figure, to be changed, shown or saved.

    Raises
    ------
    NothingToShowError
        If the results are not there yet.
    ValueError
        If there is no such figure, a scan is named for one that is not of encoders, or hardened
        networks for one that does not tell them apart.
    """
    _check(name, scan, hardened)
    import matplotlib

    with matplotlib.rc_context(STYLE):
        return figures()[name](selection, scan, hardened)


def draw(
    name: str,
    path: Path,
    selection: Selection,
    *,
    scan: str | None = None,
    hardened: Sequence[str] = (),
) -> None:
    """Draw a figure into a file; its ending says which format.

    Raises
    ------
    NothingToShowError
        If the results are not there yet.
    ValueError
        If there is no such figure, the file's ending is not a format of figures, a scan is named
        for a figure that is not of encoders, or hardened networks for one that does not tell them
        apart.
    """
    _check(name, scan, hardened)
    import matplotlib
    from matplotlib.figure import Figure

    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise ValueError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(formats)}")
    drawn = figure(name, selection, scan=scan, hardened=hardened)
    with matplotlib.rc_context(STYLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path)


def _check(name: str, scan: str | None, hardened: Sequence[str]) -> None:
    known = figures()
    if name not in known:
        raise ValueError(f"figure: {name!r}, expected one of {', '.join(sorted(known))}")
    of_encoders = sorted(n for n, drawing in known.items() if drawing.of_encoders)
    if scan is not None and name not in of_encoders:
        raise ValueError(
            f"scan: {scan!r}, but the figure {name!r} is of all scans; leave it out, or draw "
            f"one of {', '.join(of_encoders)}"
        )
    telling = sorted(n for n, drawing in known.items() if drawing.takes_hardened)
    if hardened and name not in telling:
        raise ValueError(
            f"hardened: {', '.join(hardened)}, but the figure {name!r} does not tell hardened "
            f"networks apart; leave it out, or draw one of {', '.join(telling)}"
        )


def _of_encoders(function: str, question: str) -> Drawing:
    return Drawing(f"pipeline.figures.encoder:{function}", question, of_encoders=True)


register_figures(
    {
        "similarity": Drawing(
            "pipeline.figures.similarity:similarity_figure",
            "recorded, oracle and model similarity of repeated images",
        ),
        "stability": Drawing(
            "pipeline.figures.stability:stability_figure",
            "spread of similarity over scans and repeats",
        ),
        "spectra": Drawing(
            "pipeline.figures.stability:spectra_figure", "eigenvalues of similarity matrices"
        ),
        "pairs": Drawing(
            "pipeline.figures.stability:pairs_figure", "the most and least similar images"
        ),
        "teachers": Drawing(
            "pipeline.figures.teachers:teachers_figure", "similarity matrices of teachers"
        ),
        "stimuli": Drawing("pipeline.figures.teachers:stimuli_figure", "images that teach"),
        "receptive-fields": _of_encoders("receptive_fields_figure", "what drives single neurons"),
        "filters": _of_encoders("filters_figure", "input filters of the core"),
        "gaze": _of_encoders("gaze_figure", "how the shifter follows the pupil"),
        "gain": _of_encoders("gain_figure", "how behaviour changes responses"),
        "most-exciting-images": _of_encoders(
            "most_exciting_images_figure", "images that drive single neurons most"
        ),
    }
)
