"""Activations of a layer: in a plane by t-SNE, and their variance (figure 3 of Federer et al.)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, dots, height
from pipeline.figures.drawing import colour_map, new_figure, with_caveat
from pipeline.results.conditions import CONDITION, conditions, settings
from pipeline.results.frames import (
    ORDER,
    network_frame,
    on_part,
    over_seeds,
    sort_frame,
    with_part,
)
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import summary_table
from regularized_training.tasks.config import ImagePart
from schemas import training
from schemas.evaluations.activations import LayerActivations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4


def activations_by_seed(selection: Selection) -> pd.DataFrame:
    """Variance of a layer's activations over images, a row per network, layer and part of these."""
    query = LayerActivations.proj("variance", "n_images")
    query = query * LayerActivations.Config.proj("layer", "n_shown")
    columns = ["layer", "variance", "n_images", "n_shown", "activation_hash"]
    frame = network_frame(query, LayerActivations.Plan, selection, columns)
    frame = with_part(frame, LayerActivations)
    # How many images were embedded, and how, makes no difference to the variance.
    frame = frame.sort_values("n_shown", ascending=False, kind="stable")
    once = frame.drop_duplicates([*CONDITION, "seed", "layer", "part"])
    return once.sort_index().drop(columns="n_shown").reset_index(drop=True)


def activations(selection: Selection) -> pd.DataFrame:
    """Variance of a layer's activations over images: mean and SEM over seeds."""
    by_seed = activations_by_seed(selection).drop(columns="activation_hash")
    summary = over_seeds(by_seed, ("variance",))
    return sort_frame(summary, ["image_set", "layer", "part", *ORDER, "setting"])


def activations_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each layer and condition."""
    table = summary_table(frame, {"variance": "{:.3g}"})
    return table.assign(layer=on_part(frame["layer"].astype(str), frame))


def embeddings(selection: Selection) -> pd.DataFrame:
    """Activations of a layer in a plane, of the first seed of each condition.

    Returns
    -------
    DataFrame
        The columns of the frame by seed, ``embedding`` (image, 2), ``labels`` (image,), classes
        or, where there are any, superclasses, and ``n_groups``.
    """
    frame = activations_by_seed(selection)
    keys = [name for name in frame.columns if name not in ("seed", "variance")]
    frame = frame.sort_values("seed").drop_duplicates(keys)
    frame = frame.sort_index().reset_index(drop=True)
    tasks: dict[tuple[str, ImagePart], tuple[NDArray[np.int64], int]] = {}
    found: dict[str, list[Any]] = {"embedding": [], "labels": [], "n_groups": []}
    for _, row in frame.iterrows():
        shown_of = row["image_set"], row["part"]
        if shown_of not in tasks:
            tasks[shown_of] = _groups(*shown_of)
        key = {n: row[n] for n in LayerActivations().primary_key}
        shown, embedding = (LayerActivations & key).fetch1("shown", "embedding")
        labels, n_groups = tasks[shown_of]
        found["embedding"].append(None if embedding is None else np.asarray(embedding))
        found["labels"].append(None if shown is None else labels[np.asarray(shown)])
        found["n_groups"].append(n_groups)
    return frame.assign(**found)


def _groups(image_set: str, part: ImagePart) -> tuple[NDArray[np.int64], int]:
    """The superclass of each image, or its class where there are none, and how many there are."""
    key = {"image_set": image_set}
    labels = training.ImageSet.labels_of(key, part)
    superclasses = training.Superclasses.of(image_set)
    if not superclasses:
        return labels, len((training.ImageSet & key).fetch1("classes"))
    names, group = np.unique(superclasses, return_inverse=True)
    return group[labels], len(names)


def activations_figure(selection: Selection) -> Figure:
    """Images as a layer sees them, one seed of each condition, and the activations' variance.

    Colours are superclasses, or classes where there are none.
    """
    by_seed = ACTIVATIONS.frame_by_seed(selection)
    frame = embeddings(selection)
    frame = frame.assign(condition=conditions(frame))
    shown = frame[frame["embedding"].notna()]
    n_rows = -(-len(shown) // COLUMNS)
    panels = list(
        by_seed.groupby([settings(by_seed), by_seed["layer"], by_seed["part"]], sort=False)
    )
    heights = [height(rows, 1.8) for _, rows in panels]
    figure = new_figure((9.6, 0.6 + 2.4 * n_rows + sum(heights)))
    lower: Any = figure
    if len(shown):
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.4 * n_rows, sum(heights)))
        upper, lower = parts[:, 0]
        axes = upper.subplots(n_rows, COLUMNS, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, (_, row) in zip(axes.flat, shown.iterrows(), strict=False):
            colours = colour_map("nipy_spectral")(
                np.asarray(row["labels"]) / max(int(row["n_groups"]) - 1, 1)
            )
            ax.scatter(*np.asarray(row["embedding"]).T, c=colours, s=4, linewidths=0)
            ax.set_aspect("equal")
            title = f"{row['condition']}\n{row['layer']}, seed {row['seed']}"
            ax.set_title(title, fontsize=8)
    for ax, ((setting, layer, part), group) in zip(
        lower.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0],
        panels,
        strict=True,
    ):
        dots(ax, group, "variance")
        ax.set_title(str(setting), fontsize=9)
        ax.set_xlabel(f"variance of {layer} over {part} images, mean over units")
        ax.set_xscale("log")
    figure.suptitle(with_caveat(f"Activations; {STARS}", selection), fontsize=9)
    return figure


ACTIVATIONS = register(
    Result(
        name="activations",
        place=30,
        title="Variance of a layer's activations",
        question="How diverse are a layer's activations?",
        read=activations,
        by_seed=activations_by_seed,
        table=activations_table,
        evaluation="activations",
        compared=(
            Compared("variance", lambda f: on_part("variance of " + f["layer"].astype(str), f)),
        ),
        figures={"activations": Drawing(activations_figure, "images as a layer sees them")},
    )
)
