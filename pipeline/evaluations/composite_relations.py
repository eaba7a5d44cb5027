"""Do accurate networks, or short ones, have higher composite scores? Kubilius et al. 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.evaluations.accuracy import accuracy_by_seed
from pipeline.evaluations.composite import COMPOSITE, composite
from pipeline.experiments.selection import Selection
from pipeline.figures.drawing import name_dots, new_panels, with_caveat
from pipeline.results.conditions import CONDITION, HASHES, conditions
from pipeline.results.registry import Drawing, NothingToShowError, Result, register
from schemas.evaluations.base import EVALUATIONS
from schemas.training import TrainedNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEYS = ["image_set", *HASHES]  # of a network, whatever its seed
FEWEST = 4  # networks of a pool
PANELS = 4  # of a figure, in a row
MEASURES = {"accuracy": "accuracy on test images", "simplicity": "1 / ln(longest path)"}
STATISTICS = ["r", "low", "high", "p", "n"]
AVERAGED = ["score", "low", "high", "accuracy"]


def composite_and_network(selection: Selection, parts: Sequence[str] = ()) -> pd.DataFrame:
    """Composite score, accuracy and simplicity, a row per network: means over its seeds.

    Parameters
    ----------
    selection : Selection
    parts : sequence of str
        As of :func:`~pipeline.evaluations.composite.composite`.

    Returns
    -------
    DataFrame
        ``score`` from ``low`` to ``high``, ``accuracy`` on test images, ``longest_path`` in
        convolutions and fully connected layers, ``simplicity``, and ``network``, a short name.
        Without a path for a network that cannot be traced.
    """
    scores = composite(selection, parts)
    accuracy = accuracy_by_seed(selection)[[*KEYS, "seed", "test_accuracy"]]
    both = scores.merge(accuracy.rename(columns={"test_accuracy": "accuracy"}), on=[*KEYS, "seed"])
    groups = both.groupby(KEYS, sort=False)
    means = groups[AVERAGED].mean().assign(n_seeds=groups.size()).reset_index()
    about = both[[*CONDITION, "seed"]].drop_duplicates(KEYS)
    found = means.merge(about, on=KEYS)
    paths = [_longest_path(row) for row in found[[*KEYS, "seed"]].to_dict("records")]
    found = found.assign(longest_path=pd.Series(paths, found.index, dtype=float))
    return found.assign(
        simplicity=1 / np.log(found["longest_path"].where(found["longest_path"] > 1)),
        network=conditions(found) if len(found) else pd.Series([], dtype=object),
    ).drop(columns="seed")


def _longest_path(key: Mapping[Any, Any]) -> float:
    """Of one network; NaN if its operations cannot be followed."""
    from regularized_training.alignment.simplicity import longest_path

    network = TrainedNetwork.load({str(name): value for name, value in key.items()})
    try:
        return float(longest_path(network))
    except ValueError:
        return np.nan


def composite_relations(selection: Selection, parts: Sequence[str] = ()) -> pd.DataFrame:
    """Correlation of composite scores with accuracy and with simplicity over networks.

    Returns
    -------
    DataFrame
        For each image set and ``measure`` the correlation ``r`` over ``n`` networks with its 95 %
        interval by Fisher's transformation, from ``low`` to ``high``, and ``p`` of a two-tailed
        t-test. Without rows where fewer than four networks have it, or all have the same.
    """
    from regularized_training.analysis.correlation import correlation

    rows = []
    for image_set, pool in composite_and_network(selection, parts).groupby("image_set", sort=False):
        for measure in MEASURES:
            known = pool.dropna(subset=[measure, "score"])
            try:
                found = correlation(known[measure], known["score"])
            except ValueError:  # too few, or all alike
                continue
            about = {"image_set": image_set, "measure": measure}
            rows.append(about | {name: getattr(found, name) for name in STATISTICS})
    return pd.DataFrame(rows, columns=["image_set", "measure", *STATISTICS])


def composite_relations_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each correlation."""
    return pd.DataFrame(
        {
            "images": frame["image_set"],
            "composite and": frame["measure"],
            "r": frame["r"].map("{:.2f}".format),
            "95 % (Fisher)": [
                f"{low:.2f} to {high:.2f}" for low, high in frame[["low", "high"]].to_numpy(float)
            ],
            "p": frame["p"].map("{:.2g}".format),
            "n": frame["n"],
        }
    )


def why_none(selection: Selection) -> str:
    """What is missing of a correlation."""
    scores = composite(selection)
    if scores.empty:
        return COMPOSITE.why_nothing(selection)
    n = int(scores.drop_duplicates(KEYS).groupby("image_set").size().max())
    if n >= FEWEST:
        return f"{n} networks with a composite score, of which accuracy and path are all the same"
    return f"{n} networks with a composite score, expected at least {FEWEST} of one image set"


def accuracy_figure(selection: Selection) -> Figure:
    """Composite score by accuracy, a dot for each network (Fig. 1 of the paper)."""
    return _figure(selection, "accuracy")


def simplicity_figure(selection: Selection) -> Figure:
    """Composite score by feedforward simplicity, a dot for each network (Fig. 4 of the paper)."""
    return _figure(selection, "simplicity")


def _figure(selection: Selection, measure: str) -> Figure:
    networks = composite_and_network(selection).dropna(subset=[measure])
    if networks.empty:
        raise NothingToShowError(RELATIONS.why_nothing(selection))
    said = composite_relations(selection)
    said = said[said["measure"] == measure].set_index("image_set")
    pools = list(networks.groupby("image_set", sort=False))
    figure, axes = new_panels(len(pools), PANELS, (max(4.4, 3.9 * min(len(pools), PANELS)), 4.3))
    for ax, (image_set, pool) in zip(axes, pools, strict=True):
        x, y = pool[measure].to_numpy(float), pool["score"].to_numpy(float)
        reach = np.abs(pool[["low", "high"]].to_numpy(float).T - y)
        ax.errorbar(x, y, yerr=reach, fmt="o", color="#0072B2", ecolor="#BBBBBB", markersize=5)
        name_dots(ax, x, y, pool["network"])
        ax.set_xlabel(MEASURES[measure], fontsize=8)
        ax.set_ylabel("composite score", fontsize=8)
        title = str(image_set)
        if image_set in said.index:
            row = said.loc[image_set]
            interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
            title += f"\nr = {row['r']:.2f} {interval}, p = {row['p']:.2g}, n = {row['n']}"
        ax.set_title(title, fontsize=8)
    title = f"Composite score by {measure}; whiskers: 95 % over neurons and splits"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


RELATIONS = register(
    Result(
        name="composite-relations",
        place=76,
        title="Composite score, accuracy and simplicity over networks (Kubilius et al. 2019)",
        question="Are accurate networks, or short ones, more brain-like?",
        read=composite_relations,
        table=composite_relations_table,
        asked=lambda experiments: EVALUATIONS["predictivity"].planned(experiments),
        lacks=("asks for", "judgement by a scan; give it a list [[predictivity]]"),
        why=why_none,
        figures={
            "composite-accuracy": Drawing(accuracy_figure, "composite score by accuracy"),
            "composite-simplicity": Drawing(simplicity_figure, "composite score by simplicity"),
        },
        further={"composite_and_network": composite_and_network},
    )
)
