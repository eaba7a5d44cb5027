"""Networks beside people's answers to the test images, as of CIFAR-10H (Peterson et al. 2019)."""

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
from schemas.evaluations.soft_labels import SoftLabelScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = ("cross_entropy", "label_loss", "accuracy")
BINNED = ["entropy_low", "entropy_high", "n_in_bin", "accuracy", "people_accuracy"]


def soft_labels_by_seed(selection: Selection) -> pd.DataFrame:
    """Cross-entropy to people's answers to the test images, a row per network.

    Returns
    -------
    DataFrame
        ``cross_entropy`` in nats; ``people_entropy`` is the least that it can be, ``above_people``
        what is above it: the Kullback-Leibler divergence of people from the network.
        ``label_loss`` is the cross-entropy to the right labels.
    """
    columns = [*VALUES, "people_entropy", "n_images"]
    query = SoftLabelScores.proj(*columns)
    # How many bins there were makes no difference to these.
    frame = network_frame(query, SoftLabelScores.Plan, selection, columns).drop_duplicates()
    above = frame["cross_entropy"].astype(float) - frame["people_entropy"].astype(float)
    return frame.assign(above_people=above).reset_index(drop=True)


def soft_labels(selection: Selection) -> pd.DataFrame:
    """The same: mean and standard error over seeds."""
    summary = over_seeds(soft_labels_by_seed(selection), (*VALUES, "above_people"))
    return sort_frame(summary, ["image_set", *ORDER, "setting"])


def soft_labels_by_entropy(selection: Selection) -> pd.DataFrame:
    """Accuracy of each network in quantiles of people's entropy, from images that they agree on.

    Returns
    -------
    DataFrame
        ``bin_index`` by rising entropy, ``entropy_low`` and ``entropy_high`` of people's answers in
        bits, ``n_in_bin`` images, ``accuracy``, and ``people_accuracy``: the fraction of people who
        are right.
    """
    columns = ["soft_labels_hash", "bin_index", *BINNED]
    query = SoftLabelScores.Bin.proj(*BINNED)
    return network_frame(query, SoftLabelScores.Plan, selection, columns)


def soft_labels_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: mean ± SEM over seeds, and people's own entropy."""
    table = summary_table(frame, dict.fromkeys(("cross_entropy", *VALUES[1:]), "{:.3f}"))
    people = frame["people_entropy"].map("{:.3f}".format).to_numpy()
    table.insert(2, "people's entropy", people)
    return table


def soft_labels_figure(selection: Selection) -> Figure:
    """Cross-entropy of every network to people's answers."""
    frame = SOFT_LABELS.frame_by_seed(selection)
    panels = []
    for setting, rows in frame.groupby(settings(frame), sort=False):
        least = f"people's entropy: {rows['people_entropy'].iloc[0]:.3f}"
        panels.append(("; ".join(n for n in (str(setting), least) if n), rows))
    title = with_caveat(f"People's answers to test images; {STARS}", selection)
    return figure_of_dots(panels, "cross_entropy", "cross-entropy to people (nats)", title)


SOFT_LABELS = register(
    Result(
        name="soft-labels",
        place=58,
        title="Cross-entropy to people's answers in nats, test images",
        question="How close do networks come to what people answer?",
        read=soft_labels,
        by_seed=soft_labels_by_seed,
        table=soft_labels_table,
        evaluation="soft_labels",
        compared=(Compared("cross_entropy", "cross-entropy to people"),),
        figures={"soft-labels": Drawing(soft_labels_figure, "cross-entropy to people's answers")},
        further={"soft_labels_by_entropy": soft_labels_by_entropy},
    )
)
