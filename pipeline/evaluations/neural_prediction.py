"""Responses predicted from networks: Safarani et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, figure_of_dots
from pipeline.figures.drawing import with_caveat
from pipeline.results.conditions import numbered, settings
from pipeline.results.frames import (
    ORDER,
    brains_of_groups,
    network_frame,
    over_seeds,
    sort_frame,
)
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import summary_table
from schemas.evaluations.neural_prediction import NeuralPrediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEYS = ["judge_hash", "judge_group", "neural_prediction_hash"]


def neural_prediction_by_seed(selection: Selection) -> pd.DataFrame:
    """Correlation of predicted with actual responses to held-out stimuli, a row per network.

    Returns
    -------
    DataFrame
        ``judge`` is the brain whose responses are predicted, ``layer`` the one that is read,
        ``correlation`` the mean over ``n_neurons`` neurons of the correlation over ``n_compared``
        stimuli.
    """
    query = NeuralPrediction.proj("correlation", "n_neurons", "n_compared")
    query = query * NeuralPrediction.Config.proj("layer")
    columns = ["judge", "layer", "correlation", "n_neurons", "n_compared", *KEYS]
    frame = network_frame(query, NeuralPrediction.Plan, selection, columns, text=("layer",))
    brains = frame["judge_group"].map(brains_of_groups())
    # Of one brain and one layer there may be several by other settings of the readout.
    label = numbered(brains + ", " + frame["layer"].astype(str), frame[KEYS])
    return frame.assign(judge=label)


def neural_prediction(selection: Selection) -> pd.DataFrame:
    """Correlation of predicted with actual responses: mean and standard error over seeds."""
    summary = over_seeds(neural_prediction_by_seed(selection), ["correlation"])
    return sort_frame(summary, ["image_set", "judge", *ORDER, "setting"])


def neural_prediction_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each judge and condition: mean ± SEM over seeds."""
    table = summary_table(frame, {"correlation": "{:.3f}"})
    table.insert(0, "judge", frame["judge"].to_numpy())
    return table


def neural_prediction_figure(selection: Selection) -> Figure:
    """Correlation of predicted with actual responses, every seed and their mean."""
    frame = NEURAL_PREDICTION.frame_by_seed(selection)
    frame = frame.assign(panel=settings(frame))
    panels = []
    for (judge, setting), rows in frame.groupby(["judge", "panel"], sort=False):
        whose = f"{judge} ({int(rows['n_neurons'].max())} neurons)"
        panels.append((f"{whose}; {setting}" if setting else whose, rows))
    title = with_caveat(f"Neural prediction; {STARS}", selection)
    label = "correlation with responses, mean over neurons"
    return figure_of_dots(panels, "correlation", label, title)


NEURAL_PREDICTION = register(
    Result(
        name="neural-prediction",
        place=75,
        title="Responses predicted from the networks, of stimuli that did not teach",
        question="How well do networks predict neurons?",
        read=neural_prediction,
        by_seed=neural_prediction_by_seed,
        table=neural_prediction_table,
        evaluation="neural_prediction",
        lacks=("asks for", "prediction of responses; give it a table [neural_prediction]"),
        compared=(Compared("correlation", lambda f: "prediction of " + f["judge"].astype(str)),),
        figures={
            "neural-prediction": Drawing(
                neural_prediction_figure, "responses predicted from the networks"
            )
        },
    )
)
