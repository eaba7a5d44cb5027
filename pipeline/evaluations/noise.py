"""Robustness to noise: Fig. 4 of Li et al. 2019, calibration, and the strength of the teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import from_zero, legend_below, new_figure, with_caveat
from pipeline.results.conditions import network_names, numbered, settings
from pipeline.results.foreseen import Foreseen, each_level
from pipeline.results.frames import (
    ORDER,
    network_frame,
    on_part,
    over_seeds,
    sort_frame,
    with_part,
)
from pipeline.results.registry import Compared, Drawing, NothingToShowError, Result, register
from pipeline.results.tables import accuracy_by_condition
from schemas.evaluations.noise import NoiseAccuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {
    "gaussian": "standard deviation of Gaussian noise (pixels in 0 to 1)",
    "uniform": "half-width of uniform noise (pixels in 0 to 1)",
    "salt_and_pepper": "fraction of pixels made white or black",
}
MOST_LEVELS = 6  # that the figure of alpha shows


def noise_by_seed(selection: Selection) -> pd.DataFrame:
    """Accuracy, confidence and calibration error under noise, a row per network and level."""
    query = NoiseAccuracy.Level * NoiseAccuracy.proj("n_images")
    query = query * NoiseAccuracy.Config.proj("noise", "clamped")
    measured = ["noise", "clamped", "level", "accuracy", "confidence", "calibration_error"]
    columns = [*measured, "n_images", "noise_hash"]
    frame = network_frame(query, NoiseAccuracy.Plan, selection, columns, ["noise"])
    frame = with_part(frame, NoiseAccuracy)
    clamped = frame["clamped"].astype(bool)
    names = on_part(frame["noise"].where(clamped, frame["noise"] + ", not clamped"), frame)
    return frame.assign(noise_name=numbered(names, frame[["noise_hash"]]))


def noise(selection: Selection) -> pd.DataFrame:
    """Accuracy, confidence and calibration error under noise: mean and standard error over seeds.

    Returns
    -------
    DataFrame
        One row per condition, noise and level. ``noise_name`` tells noises of one kind apart;
        ``sem`` is that of the accuracy, NaN for a single seed.
    """
    values = ("accuracy", "confidence", "calibration_error")
    summary = over_seeds(noise_by_seed(selection), values).rename(columns={"accuracy_sem": "sem"})
    order = ["image_set", "noise_name", *ORDER, "level"]
    return sort_frame(summary, order).drop(columns=["confidence_sem", "calibration_error_sem"])


def noise_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind and level of noise, a column for each condition: mean ± SEM."""
    keys = ["noise_name", "level"]
    table = accuracy_by_condition(frame, keys, "sem").sort_values(keys, ignore_index=True)
    return table.rename(columns={"noise_name": "noise"})


def noise_figure(selection: Selection) -> Figure:
    """Accuracy against the level of noise, mean and standard error over seeds."""
    frame = NOISE.frame(selection)
    panels = list(frame.groupby(["image_set", "architecture", "network_width", "noise_name"]))
    figure = new_figure((max(6.6, 0.6 + 3.9 * len(panels)), 4.4))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, ((image_set, *_), group) in zip(axes, panels, strict=True):
        for label, line, rows in styled(group):
            ax.errorbar(
                rows["level"],
                rows["accuracy"],
                yerr=rows["sem"].fillna(0),
                label=label,
                **line,
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
            )
        ax.set_xlabel(_axis(group))
        from_zero(ax)
        ax.set_title(f"{image_set}, {network_names(group).iloc[0]}", fontsize=9)
    axes[0].set_ylabel("accuracy")
    legend_below(figure, *axes)
    figure.suptitle(
        with_caveat(f"Accuracy under noise; {error_bars(frame)}", selection), fontsize=9
    )
    return figure


def calibration_figure(selection: Selection) -> Figure:
    """Mean confidence and expected calibration error against the level of noise."""
    frame = NOISE.frame(selection)
    kinds = list(frame.groupby("noise_name"))
    figure = new_figure((9.6, 3.0 * len(kinds) + 1.2))
    lines = figure.subplots(len(kinds), 3, squeeze=False, sharey="col")
    for axes, (_, group) in zip(lines, kinds, strict=True):
        for label, line, rows in styled(group):
            for ax, value in zip(axes, _CALIBRATION, strict=True):
                ax.plot(rows["level"], rows[value], label=label, **line, marker="o", markersize=3)
        for ax, title in zip(axes, _CALIBRATION.values(), strict=True):
            ax.set_title(title, fontsize=9)
            ax.set_xlabel(_axis(group).replace(" (", "\n("), fontsize=8)
            from_zero(ax)
    legend_below(figure, *lines.flat)
    figure.suptitle(with_caveat("Confidence under noise, means over seeds", selection), fontsize=9)
    return figure


def alpha_figure(selection: Selection) -> Figure:
    """Accuracy at each level of Gaussian noise against alpha; alpha 0 is the teacher ``none``."""
    frame = NOISE.frame(selection)
    frame = frame[frame["noise"] == "gaussian"]
    frame = frame.assign(trained=settings(frame))
    taught = frame[frame["teacher"] != "none"]
    curves = [
        rows for _, rows in taught.groupby(_BUT_ALPHA, sort=False) if rows["alpha"].nunique() > 1
    ]
    if not curves:
        raise NothingToShowError(
            "no teacher with several alphas; give one a list `alphas`, as the "
            "experiment li2019_alpha does"
        )
    levels = sorted(set(frame["level"]))
    step = -(-len(levels) // MOST_LEVELS)
    levels = [level for i, level in enumerate(levels) if i % step == 0]
    figure = new_figure((max(5.4, 0.6 + 4.2 * len(curves)), 4.2))
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, rows in zip(axes, curves, strict=True):
        first = rows.iloc[0]
        same = (frame[_SETTING] == first[_SETTING]).all(axis=1)
        alone = frame[same & (frame["teacher"] == "none")]
        for i, level in enumerate(levels):
            both = pd.concat([alone, rows], ignore_index=True)
            at: pd.DataFrame = both.loc[both["level"] == level].sort_values("alpha")
            shade = str(0.75 * i / len(levels))
            ax.errorbar(
                at["alpha"],
                at["accuracy"],
                yerr=at["sem"].fillna(0),
                label=f"noise {level:g}",
                color=shade,
                marker="o",
                markersize=3,
                capsize=2,
            )
        ax.set_xscale("symlog", linthresh=float(rows["alpha"][rows["alpha"] > 0].min()))
        ax.set_xlabel("α, weight of the similarity loss (0: no teacher)")
        shown = (first["teacher"].replace("_", " "), first["brain"], first["trained"])
        ax.set_title(", ".join(filter(None, shown)), fontsize=9)
        from_zero(ax)
    axes[0].set_ylabel("accuracy")
    legend_below(figure, *axes)
    figure.suptitle(
        with_caveat(f"Strength of the teacher; {error_bars(frame)}", selection),
        fontsize=9,
    )
    return figure


_CALIBRATION = {
    "accuracy": "accuracy",
    "confidence": "mean confidence",
    "calibration_error": "expected calibration error",
}
_SETTING = ["trained", "noise_hash"]
_BUT_ALPHA = [*_SETTING, "teacher_hash", "scan_group", "compared", "n_stimuli"]
_BUT_ALPHA += ["stimulus_size", "lesson"]


def _axis(rows: pd.DataFrame) -> str:
    """What the level of a noise is, with its name where there are several of a kind."""
    first = rows.iloc[0]
    other = first["noise_name"].removeprefix(first["noise"]).strip(", ")
    return AXES[first["noise"]] + (f"\n{other}" if other else "")


NOISE = register(
    Result(
        name="noise",
        place=40,
        title="Accuracy under noise",
        question="How robust are the networks to noise?",
        read=noise,
        by_seed=noise_by_seed,
        table=noise_table,
        evaluation="noise",
        lacks=("tests", "network under noise; give it teachers, and no empty list noise"),
        compared=(Compared("accuracy", lambda frame: "accuracy, " + frame["noise_name"]),),
        foreseen=Foreseen(
            lambda _, s: each_level("level", s.levels, noise=s.kind, clamped=s.clamp), "level"
        ),
        figures={
            "noise": Drawing(noise_figure, "accuracy against the level of noise"),
            "calibration": Drawing(calibration_figure, "confidence under noise"),
            "alpha": Drawing(alpha_figure, "accuracy against the strength of the teacher"),
        },
    )
)
