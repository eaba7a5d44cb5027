"""Accuracy over training and after it: Federer et al. 2020."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import STARS, dots, height, styled
from pipeline.figures.drawing import (
    from_zero,
    legend_below,
    new_figure,
    whole_numbers,
    with_caveat,
)
from pipeline.results.conditions import conditions, settings
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, NothingToShowError, Result, register
from pipeline.results.tables import summary_table
from schemas import training

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ACCURACIES = ("test_accuracy", "train_accuracy", "test_loss", "train_loss", "gap")
VALIDATION = "validation_accuracy"


def accuracy_by_epoch(selection: Selection) -> pd.DataFrame:
    """Losses and accuracies after each epoch, a row per network and epoch.

    Returns
    -------
    DataFrame
        ``train_loss`` and ``test_loss`` are cross-entropies in nats, the former that of the
        epoch's steps, with dropout, augmentation and whatever labels were shuffled. ``gap`` is
        ``test_loss`` minus ``train_loss``: the generalisation error of Federer et al. 2020, who
        take the difference the other way round. Less is better. ``validation_accuracy`` is missing
        for networks that were trained on the validation part too. ``kept`` says which epoch's
        weights the network has: the last one's, unless its training kept the best.
    """
    return _accuracies(_epochs_of_trainings(), selection)


def accuracy_by_seed(selection: Selection) -> pd.DataFrame:
    """The same after the epoch whose weights the network has, a row per network.

    Of a network that was imported, only ``test_accuracy`` is known.
    """
    # Where that is not recorded, the training went on to its last epoch.
    epochs = _epochs_of_trainings() * training.TrainingConfig.proj("epochs")
    epochs &= "epoch = coalesce(weights_epoch, epochs - 1)"
    frame = _accuracies(epochs, selection)
    # Of what was trained elsewhere no epoch is known.
    imported = _accuracies(training.TrainedNetwork & training.TrainedNetwork.Imported, selection)
    if frame.empty:
        frame = imported
    elif len(imported):
        frame = pd.concat([frame, imported], ignore_index=True)
    return frame.drop(columns="kept")


def _epochs_of_trainings() -> Any:
    # Renamed before any join: after one DataJoint quotes the name as MySQL does.
    epochs = training.TrainedNetwork.Epoch.proj(
        "test_loss", "train_accuracy", "test_accuracy", VALIDATION, train_loss="task_loss"
    )
    return epochs * training.TrainedNetwork.proj("weights_epoch")


def _accuracies(query: Any, selection: Selection) -> pd.DataFrame:
    columns = ["epoch", "train_loss", "test_loss", "train_accuracy", "test_accuracy", VALIDATION]
    columns.append("weights_epoch")
    frame = network_frame(query, training.TrainingPlan, selection, columns)
    weights_epoch = frame.pop("weights_epoch").astype(float).fillna(frame["epochs"] - 1)
    frame = frame.assign(kept=frame["epoch"] == weights_epoch)
    order = ["image_set", *ORDER, "training_hash", "seed", "epoch"]
    frame = sort_frame(frame, order)
    gap = frame["test_loss"].astype(float) - frame["train_loss"].astype(float)
    return frame.assign(gap=gap, **{VALIDATION: frame[VALIDATION].astype(float)})


def accuracy(selection: Selection) -> pd.DataFrame:
    """Losses and accuracies of the trained networks: mean and standard error over seeds."""
    by_seed = accuracy_by_seed(selection).drop(columns="epoch")
    return sort_frame(
        over_seeds(by_seed, (*ACCURACIES, VALIDATION)), ["image_set", *ORDER, "setting"]
    )


def accuracy_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: mean ± SEM over seeds."""
    means = [name.removesuffix("_sem") for name in map(str, frame) if name.endswith("_sem")]
    # Of networks that were imported nothing is known but the test accuracy.
    means = [name for name in means if name == ACCURACIES[0] or frame[name].notna().any()]
    return summary_table(frame, dict.fromkeys(means, "{:.3f}"))


def accuracy_figure(selection: Selection) -> Figure:
    """Accuracy on test images after each epoch and of the network, a line for each setting.

    Figures 2, 4, 7, A.1 to A.4, A.7 and A.8 of Federer et al. 2020, of the experiments that ask
    for their conditions.
    """
    frame = _epochs(selection)
    panels = list(frame.groupby(settings(frame), sort=False))
    heights = [height(rows, 2.2) for _, rows in panels]
    figure = new_figure((9.6, 1.4 + sum(heights)))
    axes = figure.subplots(len(panels), 2, squeeze=False, height_ratios=heights)
    for (left, right), (setting, group) in zip(axes, panels, strict=True):
        _over_epochs(left, group, "test_accuracy")
        left.set_ylabel("accuracy on test images")
        dots(right, _kept(group), "test_accuracy")
        right.set_title(str(setting), fontsize=9)
        right.set_xlabel("of the trained networks")
    legend_below(figure, *axes[:, 0])
    _finish(figure, f"Accuracy on test images; {STARS}", selection)
    return figure


def accuracy_distribution_figure(selection: Selection) -> Figure:
    """Histogram over seeds of the accuracy after training: figure A.6."""
    frame = _kept(_epochs(selection))
    panels = list(frame.groupby(settings(frame), sort=False))
    figure = new_figure((6.4, 0.9 + 2.3 * len(panels)))
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for ax, (setting, group) in zip(axes, panels, strict=True):
        values = group["test_accuracy"].astype(float)
        low, high = values.min(), values.max()
        bins = np.linspace(low, high if high > low else low + 0.01, 9)
        shown = styled(group)
        ax.hist(
            [rows["test_accuracy"].to_numpy() for _, _, rows in shown],
            bins,
            color=[line["color"] for _, line, _ in shown],
            label=[f"{label} (n = {len(rows)})" for label, _, rows in shown],
        )
        ax.yaxis.set_major_locator(whole_numbers(integer=True))
        ax.set_ylabel("networks")
        ax.set_title(str(setting), fontsize=9)
    axes[-1].set_xlabel("accuracy on test images")
    legend_below(figure, *axes)
    _finish(figure, "Accuracy on test images over seeds", selection)
    return figure


def label_corruption_figure(selection: Selection) -> Figure:
    """Robustness to labels that were shuffled: figure 6, and 7C and D of the deeper network.

    Accuracy against the fraction of training images with shuffled labels; the generalisation gap
    over training at the smallest fraction, and accuracy there.
    """
    frame = _epochs(selection)
    if frame["shuffled_labels"].nunique() < 2:
        raise NothingToShowError(
            "no networks with shuffled labels; give training.shuffled_labels several values by "
            "[[variants]], as the experiment federer2020_labels does"
        )
    # Named without the labels, so that a teacher has one name at all fractions.
    alike = frame.assign(shuffled_labels=0.0, training_hash="")
    frame = frame.assign(curve=conditions(alike), panel=settings(alike))
    panels = [
        p for p in frame.groupby("panel", sort=False) if p[1]["shuffled_labels"].nunique() > 1
    ]
    figure = new_figure((11.5, 0.8 + 3.2 * len(panels)))
    lines = figure.subplots(len(panels), 3, squeeze=False)
    for (left, middle, right), (panel, group) in zip(lines, panels, strict=True):
        smallest = min(fraction for fraction in group["shuffled_labels"] if fraction)
        at_smallest = group[group["shuffled_labels"] == smallest]
        styles = {rows["curve"].iloc[0]: line for _, line, rows in styled(at_smallest)}
        for curve, rows in _kept(group).groupby("curve", sort=False):
            accuracies = rows.groupby("shuffled_labels")["test_accuracy"]
            mean, sem = accuracies.mean(), accuracies.sem().fillna(0)
            style = styles.get(curve, {})
            left.errorbar(mean.index, mean, sem, label=curve, **style, marker="o", capsize=2)
        left.set_xlabel("fraction of training images with shuffled labels")
        left.set_ylabel("accuracy on test images")
        from_zero(left)
        left.set_title(str(panel), fontsize=9)
        _over_epochs(middle, at_smallest, "gap")
        middle.axhline(0, color="black", linewidth=0.5)
        middle.set_ylabel("test minus training loss (nats)")
        middle.set_title(f"{smallest:g} of labels shuffled", fontsize=9)
        dots(right, _kept(at_smallest), "test_accuracy")
        right.set_title(f"{smallest:g} of labels shuffled", fontsize=9)
        right.set_xlabel("accuracy on test images")
    legend_below(figure, *lines[:, 0])
    _finish(figure, f"Label corruption; {STARS}", selection)
    return figure


def _epochs(selection: Selection) -> pd.DataFrame:
    frame = accuracy_by_epoch(selection)
    if frame.empty and len(accuracy_by_seed(selection)):
        raise NothingToShowError(
            "no network was trained here, and of imported ones no epoch is known; `neuroteach "
            "results accuracy` has their accuracy"
        )
    if frame.empty:
        raise NothingToShowError(ACCURACY.why_nothing(selection))
    return frame


def _kept(by_epoch: pd.DataFrame) -> pd.DataFrame:
    return by_epoch[by_epoch["kept"]]


def _over_epochs(ax: Any, by_epoch: pd.DataFrame, value: str) -> None:
    """Mean over seeds after each epoch, with a band of its standard error."""
    for label, line, rows in styled(by_epoch):
        groups = rows.groupby("epoch")[value]
        mean, sem = groups.mean(), groups.sem().fillna(0)
        marker = "o" if len(mean) == 1 else ""
        ax.plot(mean.index + 1, mean, label=label, **line, linewidth=1.2, marker=marker)
        ax.fill_between(
            mean.index + 1, mean - sem, mean + sem, color=line["color"], alpha=0.15, linewidth=0
        )
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(whole_numbers(integer=True, min_n_ticks=1))


def _finish(figure: Figure, title: str, selection: Selection) -> None:
    figure.suptitle(with_caveat(title, selection), fontsize=9)


ACCURACY = register(
    Result(
        name="accuracy",
        place=10,
        title="Accuracy after training",
        question="How accurate are the networks, and on what?",
        read=accuracy,
        by_seed=accuracy_by_seed,
        table=accuracy_table,
        further={"accuracy_by_epoch": accuracy_by_epoch},
        asked=training.TrainedNetwork.planned,
        compared=(
            Compared("test_accuracy", "test accuracy"),
            Compared("gap", "generalisation gap"),
        ),
        figures={
            "accuracy": Drawing(accuracy_figure, "accuracy on test images"),
            "accuracy-distribution": Drawing(
                accuracy_distribution_figure, "histogram of the accuracy over seeds"
            ),
            "label-corruption": Drawing(
                label_corruption_figure, "robustness to training images with shuffled labels"
            ),
        },
    )
)
