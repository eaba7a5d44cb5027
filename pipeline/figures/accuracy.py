"""Accuracy over training and after it, and which errors remain: Federer et al. 2020."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.experiments.planned import why_nothing
from pipeline.figures.conditions import STARS, dots, height, styled
from pipeline.figures.drawing import NothingToShowError, from_zero, legend_below, with_caveat
from pipeline.results import frames as results
from pipeline.results.conditions import conditions, settings


def accuracy_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Accuracy on test images after each epoch and after the last, a line for each setting.

    Figures 2, 4, 7, A.1 to A.4, A.7 and A.8 of Federer et al. 2020, of the experiments that ask
    for their conditions.
    """
    frame = _epochs(experiment, scale)
    panels = list(frame.groupby(settings(frame), sort=False))
    heights = [height(rows, 2.2) for _, rows in panels]
    figure = Figure(figsize=(9.6, 1.4 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 2, squeeze=False, height_ratios=heights)
    for (left, right), (setting, group) in zip(axes, panels, strict=True):
        _over_epochs(left, group, "test_accuracy")
        left.set_ylabel("accuracy on test images")
        dots(right, _last(group), "test_accuracy")
        right.set_title(str(setting), fontsize=9)
        right.set_xlabel("after the last epoch")
    legend_below(figure, *axes[:, 0])
    _finish(figure, f"Accuracy on test images; {STARS}", experiment, scale)
    return figure


def accuracy_distribution_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Histogram over seeds of the accuracy after the last epoch: figure A.6."""
    frame = _last(_epochs(experiment, scale))
    panels = list(frame.groupby(settings(frame), sort=False))
    figure = Figure(figsize=(6.4, 0.9 + 2.3 * len(panels)), layout="constrained")
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
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylabel("networks")
        ax.set_title(str(setting), fontsize=9)
    axes[-1].set_xlabel("accuracy on test images")
    legend_below(figure, *axes)
    _finish(figure, "Accuracy on test images over seeds", experiment, scale)
    return figure


def superclass_errors_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Share of the errors that stay within the right superclass: figure 5 and table 1."""
    frame = results.superclass_errors_by_seed(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("superclass_errors", experiment, scale))
    panels = list(frame.groupby(settings(frame), sort=False))
    heights = [height(rows, 1.6) for _, rows in panels]
    figure = Figure(figsize=(8.8, 0.8 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (setting, group) in zip(axes, panels, strict=True):
        dots(ax, group, "within_superclass")
        ax.set_title(str(setting), fontsize=9)
    axes[-1].set_xlabel("share of errors within the right superclass")
    _finish(figure, f"Errors on test images; {STARS}", experiment, scale)
    return figure


def label_corruption_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Robustness to labels that were shuffled: figure 6, and 7C and D of the deeper network.

    Accuracy against the fraction of training images with shuffled labels; the generalisation gap
    over training at the smallest fraction, and accuracy there.
    """
    frame = _epochs(experiment, scale)
    if frame["shuffled_labels"].nunique() < 2:
        raise NothingToShowError(
            "no networks with shuffled labels; give training.shuffled_labels several values by "
            "[[variants]], as experiments/federer2020_labels.toml does"
        )
    # Named without the labels, so that a teacher has one name at all fractions.
    alike = frame.assign(shuffled_labels=0.0, training_hash="")
    frame = frame.assign(curve=conditions(alike), panel=settings(alike))
    panels = [
        p for p in frame.groupby("panel", sort=False) if p[1]["shuffled_labels"].nunique() > 1
    ]
    figure = Figure(figsize=(11.5, 0.8 + 3.2 * len(panels)), layout="constrained")
    lines = figure.subplots(len(panels), 3, squeeze=False)
    for (left, middle, right), (panel, group) in zip(lines, panels, strict=True):
        smallest = min(fraction for fraction in group["shuffled_labels"] if fraction)
        at_smallest = group[group["shuffled_labels"] == smallest]
        styles = {rows["curve"].iloc[0]: line for _, line, rows in styled(at_smallest)}
        for curve, rows in _last(group).groupby("curve", sort=False):
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
        middle.set_ylabel("test less training loss (nats)")
        middle.set_title(f"{smallest:g} of labels shuffled", fontsize=9)
        dots(right, _last(at_smallest), "test_accuracy")
        right.set_title(f"{smallest:g} of labels shuffled", fontsize=9)
        right.set_xlabel("accuracy on test images")
    legend_below(figure, *lines[:, 0])
    _finish(figure, f"Label corruption; {STARS}", experiment, scale)
    return figure


def _epochs(experiment: str | None, scale: str | None) -> pd.DataFrame:
    frame = results.accuracy_by_epoch(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("accuracy", experiment, scale))
    return frame


def _last(by_epoch: pd.DataFrame) -> pd.DataFrame:
    return by_epoch[by_epoch["epoch"] == by_epoch["epochs"] - 1]


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
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _finish(figure: Figure, title: str, experiment: str | None, scale: str | None) -> None:
    figure.suptitle(with_caveat(title, experiment, scale), fontsize=9)
