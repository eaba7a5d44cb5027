"""Accuracy on images that networks were not trained for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, figure_of_dots
from pipeline.figures.drawing import with_caveat
from pipeline.results.conditions import NETWORK, conditions, settings
from pipeline.results.foreseen import Foreseen
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.tables import summary_table
from schemas.evaluations.other_images import OtherImagesAccuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LACKS = ("asks for", "test on other images; give it a list [[other_images]]")


def other_images_by_seed(selection: Selection) -> pd.DataFrame:
    """Accuracy on each evaluation set, a row per network and set."""
    query = OtherImagesAccuracy.proj("accuracy", "n_images")
    columns = ["evaluation_set", "accuracy", "n_images"]
    plan = OtherImagesAccuracy.Plan
    return network_frame(query, plan, selection, columns, text=("evaluation_set",))


def other_images(selection: Selection) -> pd.DataFrame:
    """Accuracy on each evaluation set: mean and standard error over seeds."""
    summary = over_seeds(other_images_by_seed(selection), ["accuracy"])
    return sort_frame(summary, ["image_set", "evaluation_set", *ORDER, "setting"])


def other_images_by_label(selection: Selection) -> pd.DataFrame:
    """The same of the images with each label, a row per network, set and label.

    Returns
    -------
    DataFrame
        ``n_labelled`` is the number of images; ``accuracy`` is missing for a label without any.
    """
    query = OtherImagesAccuracy.Label.proj("label", "n_labelled", "accuracy")
    columns = ["evaluation_set", "label_index", "label", "n_labelled", "accuracy"]
    plan = OtherImagesAccuracy.Plan
    return network_frame(query, plan, selection, columns, text=("evaluation_set", "label"))


def networks_on_sets(selection: Selection) -> Iterator[tuple[str, pd.DataFrame]]:
    """Networks of each evaluation set by condition and seed, with what each answered.

    Yields
    ------
    evaluation_set : str
    networks : DataFrame
        A row for each, with what tells its condition, ``condition``, a short name for it, ``seed``
        and ``answers`` (image,), index into the labels of the set.
    """
    query = OtherImagesAccuracy.proj("n_images")
    plan = OtherImagesAccuracy.Plan
    frame = network_frame(query, plan, selection, ["evaluation_set"], text=("evaluation_set",))
    frame = frame.assign(condition=conditions(frame) if len(frame) else "")
    for name, rows in frame.groupby("evaluation_set", sort=True):
        place = pd.factorize(rows["condition"])[0]
        rows = rows.iloc[np.argsort(place, kind="stable")]
        stored = (OtherImagesAccuracy & {"evaluation_set": name}).proj("answers").to_dicts()
        answered = {tuple(row[column] for column in NETWORK): row["answers"] for row in stored}
        keys = rows[NETWORK].itertuples(index=False, name=None)
        answers = [np.asarray(answered[key]) for key in keys]
        yield str(name), rows.assign(answers=pd.Series(answers, rows.index)).reset_index(drop=True)


def other_images_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each set and condition: mean ± SEM over seeds."""
    table = summary_table(frame, {"accuracy": "{:.3f}"})
    table.insert(0, "images", frame["evaluation_set"].to_numpy())
    return table


def other_images_figure(selection: Selection) -> Figure:
    """Accuracy of every network on each evaluation set."""
    frame = OTHER_IMAGES.frame_by_seed(selection)
    groups = frame.groupby(["evaluation_set", settings(frame)], sort=False)
    panels = [("; ".join(str(n) for n in names if n), rows) for names, rows in groups]
    title = with_caveat(f"Accuracy on other images; {STARS}", selection)
    return figure_of_dots(panels, "accuracy", "accuracy", title)


OTHER_IMAGES = register(
    Result(
        name="other-images",
        place=55,
        title="Accuracy on images that networks were not trained for",
        question="What do networks make of other images?",
        read=other_images,
        by_seed=other_images_by_seed,
        table=other_images_table,
        evaluation="other_images",
        lacks=LACKS,
        compared=(
            Compared("accuracy", lambda f: "accuracy on " + f["evaluation_set"].astype(str)),
        ),
        foreseen=Foreseen(lambda _, s: [{"evaluation_set": s.set}]),
        figures={"other-images": Drawing(other_images_figure, "accuracy on other images")},
        further={"other_images_by_label": other_images_by_label},
    )
)
