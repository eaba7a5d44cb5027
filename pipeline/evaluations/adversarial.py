"""Adversarial robustness: Fig. 5 of Li et al. 2019."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import styled
from pipeline.figures.drawing import legend_below, log_scales, new_figure, with_caveat
from pipeline.results.conditions import HASHES, numbered
from pipeline.results.foreseen import Foreseen
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
from schemas.evaluations.adversarial import AdversarialDistance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def adversarial_by_seed(selection: Selection) -> pd.DataFrame:
    """Median minimal adversarial distance, a row per network and attack.

    Returns
    -------
    DataFrame
        ``attack_name`` tells attacks of one method and norm apart. ``median`` counts misclassified
        images as 0, as the paper does, ``median_correct`` leaves them out, NaN where none is
        left; both are infinite where over half of the attacks failed. ``*_low`` and ``*_high``
        are the ends of 95 % intervals from resampled images.
    """
    query = AdversarialDistance * AdversarialDistance.Config.proj("method", "norm")
    medians = [
        f"{name}{end}" for name in ("median", "median_correct") for end in ("", "_low", "_high")
    ]
    counts = ["n_images", "n_misclassified", "n_failed"]
    columns = ["method", "norm", *medians, *counts, "attack_hash"]
    frame = network_frame(query, AdversarialDistance.Plan, selection, columns, ["method", "norm"])
    # What is infinite stands as null in the database, and so does the median of no image at all.
    none_right = frame["n_misclassified"] == frame["n_images"]
    for name in ("median", "median_correct"):
        frame[name] = frame[name].astype(float).fillna(np.inf)
    frame["median_correct"] = frame["median_correct"].mask(none_right)
    frame = with_part(frame, AdversarialDistance)
    attack = on_part(frame["method"].str.replace("_", " ") + " " + frame["norm"], frame)
    names = numbered(attack, frame[["attack_hash"]])
    return frame.assign(attack_name=names)


def adversarial(selection: Selection) -> pd.DataFrame:
    """Median minimal adversarial distance: mean and standard error over seeds.

    Returns
    -------
    DataFrame
        One row per condition and attack, columns as of :func:`adversarial_by_seed`;
        ``n_misclassified`` and ``n_failed`` are totals over seeds.
    """
    by_seed = adversarial_by_seed(selection)
    totals = ("n_misclassified", "n_failed")
    values = ("median", "median_correct")
    summary = over_seeds(by_seed, values, totals, leave_out=_INTERVALS)
    return sort_frame(summary, ["image_set", "norm", "attack_name", *ORDER])


def adversarial_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each attack and condition."""
    table = summary_table(frame, {"median": "{:.4f}", "median_correct": "{:.4f}"})
    table.insert(0, "attack", frame["attack_name"])
    return table.assign(
        n_images=frame["n_images"],
        misclassified=frame["n_misclassified"],
        failed=frame["n_failed"],
    )


def curve_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What identifies a network and an attack on it."""
    return tuple(row[name] for name in ("image_set", *HASHES, "seed", "attack_hash"))


def adversarial_curves(
    selection: Selection,
) -> dict[tuple[Any, ...], tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """How the attacker comes closer with each query, of every network and attack.

    Returns
    -------
    dict
        By :func:`curve_key`: rising numbers of queries, and the median distance reached after
        each, of images that are classified correctly; infinite as long as over half of
        them withstand.
    """
    query = AdversarialDistance.proj("curve", "curve_queries")
    curves = {}
    for row in selection.of(query, AdversarialDistance.Plan).to_dicts():
        curve = np.asarray(row["curve"], np.float64)
        right = curve[-1] > 0
        if right.any():
            queries = np.asarray(row["curve_queries"])
            curves[curve_key(row)] = (queries, np.median(curve[:, right], axis=1))
    return curves


def adversarial_figure(selection: Selection) -> Figure:
    """Median distance of adversarial images against the attacker's queries, mean over seeds.

    Of images that are classified correctly, so that the accuracy of a network does not count.
    Where over half of them still withstand there is no median, and the line begins later.
    """
    frame = ADVERSARIAL.frame_by_seed(selection)
    curves = adversarial_curves(selection)
    panels = list(frame.groupby(["norm", "attack_name"]))
    figure = new_figure((max(6.6, 0.6 + 3.9 * len(panels)), 4.4))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, ((norm, name), group) in zip(axes, panels, strict=True):
        withstood: list[str] = []
        wrong: list[str] = []
        for label, line, rows in styled(group):
            keys = [curve_key(dict(row)) for _, row in rows.iterrows()]
            of_seeds = [curves[key] for key in keys if key in curves]
            if not of_seeds:
                wrong.append(label)
                continue
            queries = np.unique(np.concatenate([q for q, _ in of_seeds]))
            reached = np.stack([_at(queries, *curve) for curve in of_seeds])
            known = np.isfinite(reached).all(0)
            queries, reached = queries[known], reached[:, known]
            if not len(queries):
                withstood.append(label)
                continue
            mean = reached.mean(0)
            ax.plot(queries, mean, label=f"{label} (n = {len(reached)})", **line, linewidth=1.2)
            if len(reached) > 1:
                sem = reached.std(0, ddof=1) / np.sqrt(len(reached))
                ax.fill_between(
                    queries, mean - sem, mean + sem, color=line["color"], alpha=0.15, linewidth=0
                )
        notes = (
            ("over half of the attacks failed:", withstood),
            ("no image is classified correctly:", wrong),
        )
        if said := "\n".join("\n".join([note, *labels]) for note, labels in notes if labels):
            ax.text(0.98, 0.98, said, transform=ax.transAxes, ha="right", va="top", fontsize=7)
        log_scales(ax)
        ax.set_xlabel("queries to the network for an image")
        ax.set_ylabel(f"median {norm} distance (pixels in 0 to 1)")
        ax.set_title(name, fontsize=9)
    legend_below(figure, *axes)
    title = (
        "Minimal adversarial perturbations of correctly classified images; bands: SEM over seeds"
    )
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _at(queries: np.ndarray, known: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """A staircase, at other numbers of queries; infinite before its first step."""
    place = np.searchsorted(known, queries, side="right") - 1
    return np.where(place >= 0, reached[place.clip(0)], np.inf)


_INTERVALS = (
    "median_low",
    "median_high",
    "median_correct_low",
    "median_correct_high",
)


def _measured(what: str) -> Any:
    return lambda frame: frame["attack_name"] + f", {what}"


ADVERSARIAL = register(
    Result(
        name="adversarial",
        place=50,
        title="Median minimal adversarial distance",
        question="How small a perturbation fools the networks?",
        read=adversarial,
        by_seed=adversarial_by_seed,
        table=adversarial_table,
        evaluation="adversarial",
        lacks=("asks for", "attack; give it a list [[attacks]]"),
        compared=(
            Compared("median", _measured("all images")),
            Compared("median_correct", _measured("correct images")),
        ),
        foreseen=Foreseen(lambda _, s: [{"method": s.method, "norm": s.norm}]),
        figures={
            "adversarial": Drawing(adversarial_figure, "distance against the attacker's queries"),
        },
    )
)
