"""Robustness to noise."""

from __future__ import annotations

from matplotlib.figure import Figure

from pipeline import results
from pipeline.figures.drawing import NothingToShowError, with_caveat
from pipeline.planned import why_nothing

# Colours that people with colour-blindness can tell apart (Okabe and Ito).
COLOURS = {
    "none": "#000000",
    "neural_model": "#D55E00",
    "neural_data": "#0072B2",
    "shuffle": "#009E73",
}
LABELS = {
    "none": "none",
    "neural_model": "neural (model)",
    "neural_data": "neural (data)",
    "shuffle": "shuffle",
}


def noise_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Accuracy against the level of Gaussian noise, mean and standard error over seeds."""
    frame = results.noise(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("noise", experiment, scale))
    sets = list(frame.groupby(["image_set", "architecture", "network_width"], sort=False))
    figure = Figure(figsize=(1.2 + 4.4 * len(sets), 3.6), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False)[0]
    for ax, ((image_set, architecture, width), group) in zip(axes, sets, strict=True):
        curves = [c for c in group.columns if c not in ("level", "accuracy", "sem")]
        for _, curve in group.groupby(curves, sort=False):
            teacher, alpha = str(curve["teacher"].iloc[0]), float(curve["alpha"].iloc[0])
            n = int(curve["n_seeds"].min())
            strength = f", α = {alpha:g}" if alpha else ""
            ax.errorbar(
                curve["level"],
                curve["accuracy"],
                yerr=curve["sem"].fillna(0),
                label=f"{LABELS.get(teacher, teacher)}{strength} (n = {n})",
                color=COLOURS.get(teacher),
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
            )
        ax.set_xlabel("standard deviation of the noise (pixels in 0 to 1)")
        ax.set_ylabel("accuracy")
        ax.set_ylim(0, 1)
        ax.set_title(f"{image_set}, {architecture} of width {width}", fontsize=9)
        ax.legend(frameon=False, fontsize=8)
    seeds = "error bars: SEM over n seeds" if frame["n_seeds"].max() > 1 else "one seed each"
    figure.suptitle(with_caveat(f"Accuracy under noise; {seeds}", experiment, scale), fontsize=9)
    return figure
