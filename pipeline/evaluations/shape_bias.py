"""Shape bias of networks on images whose shape and texture are of different categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.evaluations.consistency import shown_to_people
from pipeline.evaluations.other_images import LACKS, networks_on_sets
from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, figure_of_dots
from pipeline.figures.drawing import with_caveat
from pipeline.results.conditions import CONDITION, settings
from pipeline.results.foreseen import Foreseen
from pipeline.results.frames import ORDER, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import summary_table
from regularized_training.behaviour.network_trials import as_trials, on_images
from regularized_training.behaviour.shape_bias import cues_of, shape_bias
from schemas.evaluation_set import EvaluationSet, ImageNames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTS = ["n_images", "n_shape", "n_texture"]


def shape_bias_by_seed(selection: Selection) -> pd.DataFrame:
    """Shape bias of each network on evaluation sets of cue-conflict images.

    Those are sets whose images are named for shape and texture, ``airplane1-bicycle2``, and
    labelled by the shape. Images with a cue of a category that the networks cannot answer are left
    out, of networks and people alike.

    Returns
    -------
    DataFrame
        ``n_images`` in conflict; ``shape_bias`` is NaN of a network that decided for neither cue;
        ``people_shape_bias`` is of the decisions of all people together who saw the same images,
        NaN where these are not imported.
    """
    columns = [*CONDITION, "seed", "evaluation_set", *COUNTS, "shape_bias", "people_shape_bias"]
    found = []
    for name, networks in networks_on_sets(selection):
        labels, label_names = EvaluationSet.labelled(name)
        shapes = [label_names[i] for i in labels]
        names = ImageNames.of(name)
        chosen = cues_of(names, shapes, label_names)
        if not len(chosen):
            continue
        few, of_few = [names[i] for i in chosen], [shapes[i] for i in chosen]
        answers = {f"{i}": a[chosen] for i, a in enumerate(networks["answers"])}
        ours = shape_bias(as_trials(name, answers, few, of_few, label_names))
        ours = ours.set_index(ours["observer"].astype(int)).sort_index()
        people = np.nan
        for _, condition, trials in shown_to_people(name):
            theirs = shape_bias(on_images(trials, condition, few)).set_index("observer")
            people = theirs["shape_bias"].get("people", np.nan)
        found.append(
            networks.assign(
                evaluation_set=name,
                people_shape_bias=people,
                **{column: ours[column].to_numpy() for column in (*COUNTS, "shape_bias")},
            )[columns]
        )
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def shape_bias_of_conditions(selection: Selection) -> pd.DataFrame:
    """The same: mean and standard error over seeds, and decisions of all seeds together."""
    by_seed = shape_bias_by_seed(selection)
    if by_seed.empty:
        return by_seed
    summary = over_seeds(by_seed, ["shape_bias"], ["n_shape", "n_texture"])
    return sort_frame(summary, ["image_set", "evaluation_set", *ORDER, "setting"])


def shape_bias_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each set and condition: mean ± SEM over seeds, and people beside it."""
    table = summary_table(frame, {"shape_bias": "{:.3f}"})
    table.insert(0, "images", frame["evaluation_set"].to_numpy())
    decided = frame["n_shape"].astype(str) + " : " + frame["n_texture"].astype(str)
    people = frame["people_shape_bias"].map("{:.3f}".format).replace("nan", "")
    return table.assign(**{"shape : texture": decided.to_numpy(), "people": people.to_numpy()})


def shape_bias_figure(selection: Selection) -> Figure:
    """Shape bias of every network on each set of cue-conflict images."""
    frame = SHAPE_BIAS.frame_by_seed(selection)
    groups = frame.groupby(["evaluation_set", settings(frame)], sort=False)
    panels = []
    for names, rows in groups:
        people = rows["people_shape_bias"].iloc[0]
        said = () if np.isnan(people) else (f"people: {people:.3f}",)
        panels.append(("; ".join(str(n) for n in (*names, *said) if n), rows))
    title = with_caveat(f"Shape bias on cue-conflict images; {STARS}", selection)
    return figure_of_dots(panels, "shape_bias", "shape bias", title)


SHAPE_BIAS = register(
    Result(
        name="shape-bias",
        place=57,
        title="Shape bias on images whose shape and texture differ",
        question="Do networks go by shape or by texture?",
        read=shape_bias_of_conditions,
        by_seed=shape_bias_by_seed,
        table=shape_bias_table,
        evaluation="other_images",
        lacks=LACKS,
        compared=(
            Compared("shape_bias", lambda f: "shape bias on " + f["evaluation_set"].astype(str)),
        ),
        foreseen=Foreseen(lambda _, s: [{"evaluation_set": s.set}]),
        figures={"shape-bias": Drawing(shape_bias_figure, "shape bias of networks")},
    )
)
