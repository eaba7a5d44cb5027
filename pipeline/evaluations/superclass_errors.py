"""Errors that stay within the right superclass: figure 5 and table 1 of Federer et al. 2020."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, figure_of_dots
from pipeline.figures.drawing import with_caveat
from pipeline.results.conditions import settings
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import summary_table
from schemas import training
from schemas.evaluations.superclass_errors import SuperclassErrors

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def superclass_errors_by_seed(selection: Selection) -> pd.DataFrame:
    """Errors on the test images that stay within the right superclass, a row per network."""
    columns = ["within_superclass", "n_errors", "n_images"]
    query = SuperclassErrors.proj(*columns)
    frame = network_frame(query, training.TrainingPlan, selection, columns)
    return frame.astype({"within_superclass": float})


def superclass_errors(selection: Selection) -> pd.DataFrame:
    """Share of the errors that stay within the right superclass: mean and SEM over seeds.

    Returns
    -------
    DataFrame
        ``n_errors`` is a total over seeds.
    """
    by_seed = superclass_errors_by_seed(selection)
    summary = over_seeds(by_seed, ("within_superclass",), ("n_errors",))
    return sort_frame(summary, ["image_set", *ORDER, "setting"])


def superclass_errors_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition."""
    return summary_table(frame, {"within_superclass": "{:.4f}"}).assign(errors=frame["n_errors"])


def superclass_errors_figure(selection: Selection) -> Figure:
    """Share of the errors that stay within the right superclass: figure 5 and table 1."""
    frame = SUPERCLASS_ERRORS.frame_by_seed(selection)
    panels = [(str(name), rows) for name, rows in frame.groupby(settings(frame), sort=False)]
    title = with_caveat(f"Errors on test images; {STARS}", selection)
    label = "share of errors within the right superclass"
    return figure_of_dots(panels, "within_superclass", label, title)


SUPERCLASS_ERRORS = register(
    Result(
        name="superclass-errors",
        place=20,
        title="Errors within the right superclass, test images",
        question="How many errors stay within the right superclass?",
        read=superclass_errors,
        by_seed=superclass_errors_by_seed,
        table=superclass_errors_table,
        evaluation="superclass_errors",
        lacks=(
            "trains",
            "network on images with superclasses; give them by `neuroteach import images ... "
            "--superclasses FILE`",
        ),
        compared=(Compared("within_superclass", "errors within superclass"),),
        figures={
            "superclass-errors": Drawing(superclass_errors_figure, "errors within superclasses"),
        },
    )
)
