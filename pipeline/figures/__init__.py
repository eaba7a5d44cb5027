"""Figures, drawn from what the database holds; one file per subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import matplotlib
from matplotlib.figure import Figure

from pipeline.figures.accuracy import (
    accuracy_distribution_figure,
    accuracy_figure,
    label_corruption_figure,
    superclass_errors_figure,
)
from pipeline.figures.activations import activations_figure
from pipeline.figures.adversarial import adversarial_figure
from pipeline.figures.drawing import STYLE, NothingToShowError
from pipeline.figures.encoder import (
    filters_figure,
    gain_figure,
    gaze_figure,
    most_exciting_images_figure,
    receptive_fields_figure,
)
from pipeline.figures.layers import layer_weights_figure, layers_figure
from pipeline.figures.noise import alpha_figure, calibration_figure, noise_figure
from pipeline.figures.similarity import similarity_figure
from pipeline.figures.stability import pairs_figure, spectra_figure, stability_figure
from pipeline.figures.teachers import stimuli_figure, teachers_figure

__all__ = ["ENCODER_FIGURES", "FIGURES", "NothingToShowError", "draw"]

FigureName = Literal[
    "similarity",
    "stability",
    "spectra",
    "pairs",
    "teachers",
    "stimuli",
    "accuracy",
    "accuracy-distribution",
    "superclass-errors",
    "label-corruption",
    "activations",
    "noise",
    "calibration",
    "alpha",
    "adversarial",
    "layers",
    "layer-weights",
]

# Each draws what an experiment, at a scale, has come to.
FIGURES: dict[FigureName, Callable[[str | None, str | None], Figure]] = {
    "similarity": similarity_figure,
    "stability": stability_figure,
    "spectra": spectra_figure,
    "pairs": pairs_figure,
    "teachers": teachers_figure,
    "stimuli": stimuli_figure,
    "accuracy": accuracy_figure,
    "accuracy-distribution": accuracy_distribution_figure,
    "superclass-errors": superclass_errors_figure,
    "label-corruption": label_corruption_figure,
    "activations": activations_figure,
    "noise": noise_figure,
    "calibration": calibration_figure,
    "alpha": alpha_figure,
    "adversarial": adversarial_figure,
    "layers": layers_figure,
    "layer-weights": layer_weights_figure,
}

EncoderFigureName = Literal["receptive-fields", "filters", "gaze", "gain", "most-exciting-images"]

# Each looks into encoders, of an experiment, at a scale, of a scan.
ENCODER_FIGURES: dict[EncoderFigureName, Callable[[str | None, str | None, str | None], Figure]] = {
    "receptive-fields": receptive_fields_figure,
    "filters": filters_figure,
    "gaze": gaze_figure,
    "gain": gain_figure,
    "most-exciting-images": most_exciting_images_figure,
}


def draw(
    name: FigureName | EncoderFigureName,
    path: Path,
    *,
    experiment: str | None = None,
    scale: str | None = None,
    scan: str | None = None,
) -> None:
    """Draw a figure into a file; its ending says which format.

    Raises
    ------
    NothingToShowError
        If the results are not there yet.
    ValueError
        If the file's ending is not a format of figures, or a scan is named for a figure that is
        not of encoders.
    """
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(f"{path}: ending {path.suffix!r}, expected one of {', '.join(known)}")
    with matplotlib.rc_context(STYLE):
        if name in ENCODER_FIGURES:
            figure = ENCODER_FIGURES[name](experiment, scale, scan)
        elif scan is None:
            figure = FIGURES[cast(FigureName, name)](experiment, scale)
        else:
            raise ValueError(
                f"scan: {scan!r}, but the figure {name!r} is of all scans; leave it out, or draw "
                f"one of {', '.join(ENCODER_FIGURES)}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
