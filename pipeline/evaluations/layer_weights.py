"""The learned weights of layers, Eq. 10 of Li et al. 2019."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import styled
from pipeline.figures.drawing import legend_below, new_figure, whole_numbers, with_caveat
from pipeline.results.frames import network_frame
from pipeline.results.registry import Drawing, Result, register
from schemas import training
from schemas.teacher_plan import TeacherConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def layer_weights(selection: Selection) -> pd.DataFrame:
    """The learned gamma of Eq. 10 after each epoch, a row per network, epoch and layer."""
    query = training.TrainedNetwork.Epoch * training.TrainedNetwork.proj("layers")
    columns = ["epoch", "similarity_loss", "layers", "layer_weights"]
    frame = network_frame(query.proj(*columns[1:]), training.TrainingPlan, selection, columns)
    frame = frame.explode(["layers", "layer_weights"]).dropna(subset=["layers"])
    frame = frame.rename(columns={"layers": "layer", "layer_weights": "weight"})
    return frame.astype({"weight": float}).reset_index(drop=True)


def _taught(experiments: Any) -> Any:
    """Trainings with a teacher; of the others no layer is compared."""
    planned = training.TrainedNetwork.planned(experiments)
    return planned & (TeacherConfig & "teacher != 'none'")


def layer_weights_figure(selection: Selection) -> Figure:
    """The learned gamma of Eq. 10 after each epoch, one panel for each condition."""
    frame = LAYER_WEIGHTS.frame(selection)
    panels = styled(frame)
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = new_figure((max(5, 0.6 + 2.6 * columns), 1.2 + 2.3 * rows))
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
        ax.xaxis.set_major_locator(whole_numbers(integer=True, min_n_ticks=1))
    for ax in axes[:, 0]:
        ax.set_ylabel("weight γ")
    legend_below(figure, *axes.flat, columns=5)
    figure.suptitle(
        with_caveat("Learned weights of layers (Eq. 10), mean and SEM", selection),
        fontsize=9,
    )
    return figure


LAYER_WEIGHTS = register(
    Result(
        name="layer-weights",
        place=80,
        title="Learned weights of layers",
        question="Which layers did the lesson choose to teach?",
        read=layer_weights,
        asked=_taught,
        lacks=("teaches", "network; give it another teacher than none"),
        figures={"layer-weights": Drawing(layer_weights_figure, "weights of layers by epoch")},
    )
)
