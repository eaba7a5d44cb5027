"""Adversarial robustness: Fig. 5 of Li et al. 2019."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pipeline.experiments.planned import why_nothing
from pipeline.figures.conditions import styled
from pipeline.figures.drawing import NothingToShowError, legend_below, log_scales, with_caveat
from pipeline.results import arrays as result_arrays
from pipeline.results import frames as results


def adversarial_figure(experiment: str | None = None, scale: str | None = None) -> Figure:
    """Median distance of adversarial images against the attacker's queries, mean over seeds.

    Of images that are classified correctly, so that the accuracy of a network does not count.
    Where over half of them still withstand there is no median, and the line begins later.
    """
    frame = results.adversarial_by_seed(experiment, scale)
    if frame.empty:
        raise NothingToShowError(why_nothing("adversarial", experiment, scale))
    curves = result_arrays.adversarial_curves(experiment, scale)
    panels = list(frame.groupby(["norm", "attack_name"]))
    figure = Figure(figsize=(max(6.6, 0.6 + 3.9 * len(panels)), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, ((norm, name), group) in zip(axes, panels, strict=True):
        withstood: list[str] = []
        for label, line, rows in styled(group):
            keys = [result_arrays.curve_key(dict(row)) for _, row in rows.iterrows()]
            of_seeds = [curves[key] for key in keys if key in curves]
            if not of_seeds:
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
        if withstood:
            said = "over half of the attacks failed:\n" + "\n".join(withstood)
            ax.text(0.98, 0.98, said, transform=ax.transAxes, ha="right", va="top", fontsize=7)
        log_scales(ax)
        ax.set_xlabel("queries to the network for an image")
        ax.set_ylabel(f"median {norm} distance (pixels in 0 to 1)")
        ax.set_title(name, fontsize=9)
    legend_below(figure, *axes)
    title = (
        "Minimal adversarial perturbations of correctly classified images; bands: SEM over seeds"
    )
    figure.suptitle(with_caveat(title, experiment, scale), fontsize=9)
    return figure


def _at(queries: np.ndarray, known: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """A staircase, at other numbers of queries; infinite before its first step."""
    place = np.searchsorted(known, queries, side="right") - 1
    return np.where(place >= 0, reached[place.clip(0)], np.inf)
