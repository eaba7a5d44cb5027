"""Robustness to noise: Fig. 4 of Li et al. 2019, calibration, and the strength of the teacher."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from pipeline.experiments.planned import why_nothing
from pipeline.figures.conditions import error_bars, styled
from pipeline.figures.drawing import NothingToShowError, from_zero, legend_below, with_caveat
from pipeline.results import frames as results

AXES = {
    "gaussian": "standard deviation of Gaussian noise (pixels in 0 to 1)",
    "uniform": "half-width of uniform noise (pixels in 0 to 1)",
    "salt_and_pepper": "fraction of pixels made white or black",
}
MOST_LEVELS = 6  # that the figure of alpha shows


def noise_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Accuracy against the level of noise, mean and standard error over seeds."""
    frame = _noise(experiment, scale)
    panels = list(frame.groupby(["image_set", "architecture", "network_width", "noise_name"]))
    figure = Figure(figsize=(max(6.6, 0.6 + 3.9 * len(panels)), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, ((image_set, architecture, width, _), group) in zip(axes, panels, strict=True):
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
        ax.set_title(f"{image_set}, {architecture} of width {width}", fontsize=9)
    axes[0].set_ylabel("accuracy")
    legend_below(figure, *axes)
    figure.suptitle(
        with_caveat(f"Accuracy under noise; {error_bars(frame)}", experiment, scale), fontsize=9
    )
    return figure


def calibration_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Mean confidence and expected calibration error against the level of noise."""
    frame = _noise(experiment, scale)
    kinds = list(frame.groupby("noise_name"))
    figure = Figure(figsize=(9.6, 3.0 * len(kinds) + 1.2), layout="constrained")
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
    figure.suptitle(
        with_caveat("Confidence under noise, means over seeds", experiment, scale), fontsize=9
    )
    return figure


def alpha_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Accuracy at each level of Gaussian noise against alpha; alpha 0 is the teacher ``none``."""
    frame = _noise(experiment, scale)
    frame = frame[frame["noise"] == "gaussian"]
    taught = frame[frame["teacher"] != "none"]
    curves = [
        (condition, rows)
        for condition, rows in taught.groupby(_BUT_ALPHA, sort=False)
        if rows["alpha"].nunique() > 1
    ]
    if not curves:
        raise NothingToShowError(
            "no teacher with several alphas; give one a list `alphas`, as "
            "experiments/li2019_alpha.toml does"
        )
    levels = sorted(set(frame["level"]))
    step = -(-len(levels) // MOST_LEVELS)
    levels = [level for i, level in enumerate(levels) if i % step == 0]
    figure = Figure(figsize=(max(5.4, 0.6 + 4.2 * len(curves)), 4.2), layout="constrained")
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, (_, rows) in zip(axes, curves, strict=True):
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
        ax.set_title(f"{first['teacher'].replace('_', ' ')}, {first['brain']}", fontsize=9)
        from_zero(ax)
    axes[0].set_ylabel("accuracy")
    legend_below(figure, *axes)
    figure.suptitle(
        with_caveat(f"Strength of the teacher; {error_bars(frame)}", experiment, scale),
        fontsize=9,
    )
    return figure


_CALIBRATION = {
    "accuracy": "accuracy",
    "confidence": "mean confidence",
    "calibration_error": "expected calibration error",
}
_SETTING = ["image_set", "architecture", "network_width", "epochs", "n_train_used", "noise_hash"]
_BUT_ALPHA = [*_SETTING, "teacher_hash", "scan_group", "compared", "n_stimuli"]


def _axis(rows: pd.DataFrame) -> str:
    """What the level of a noise is, with its name where there are several of a kind."""
    first = rows.iloc[0]
    other = first["noise_name"].removeprefix(first["noise"]).strip(", ")
    return AXES[first["noise"]] + (f"\n{other}" if other else "")


def _noise(experiment: str | None, scale: str | None) -> pd.DataFrame:
    frame = results.noise(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("noise", experiment, scale))
    return frame
