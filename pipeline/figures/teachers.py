"""Teachers side by side: matrix, distribution of values, spectrum, nearest and farthest pairs."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.experiments.selection import Selection
from pipeline.figures.drawing import with_caveat
from pipeline.results import arrays as result_arrays
from pipeline.results.registry import PLAN_FIRST, POPULATE_FIRST, NothingToShowError
from regularized_training.teachers.structure import spectrum
from schemas.experiment import Experiment
from schemas.teacher_plan import TeacherPlan

SHOWN = 200  # stimuli in a matrix
SPECTRUM = 1000  # stimuli whose eigenvalues are computed
PAIRS = 3
STIMULI = 8


def _why_none(selection: Selection) -> str:
    if not Experiment():
        return PLAN_FIRST
    if not TeacherPlan & selection.experiments:
        name = selection.experiment
        return f"experiment {name} has no teacher" if name else "no experiment has a teacher"
    return POPULATE_FIRST


def teachers_figure(selection: Selection) -> Figure:
    """A line for each teacher of an experiment.

    Stimuli of one set are in the same order in all its lines, which is that of the first teacher.
    """
    teachers = result_arrays.teachers(selection)
    if not teachers:
        raise NothingToShowError(_why_none(selection))
    figure = Figure(figsize=(11.5, 0.6 + 2.3 * len(teachers)), layout="constrained")
    axes = figure.subplots(len(teachers), 5, squeeze=False, width_ratios=(1, 1.1, 1.1, 1, 1))
    orders: dict[str, NDArray[np.int64]] = {}
    for line, (label, teacher, stimulus_key) in zip(axes, teachers, strict=True):
        matrix = teacher.similarity
        if stimulus_key not in orders:
            orders[stimulus_key] = _ordered(matrix[:SHOWN, :SHOWN])
        order = orders[stimulus_key]
        pairs = teacher.known_pairs
        off = matrix[pairs[0], pairs[1]]
        limit = float(np.abs(np.percentile(off, [1, 99])).max())
        line[0].imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-limit, vmax=limit)
        line[0].set_ylabel(label.replace(", ", "\n"), fontsize=8)
        line[0].set_title(f"{len(order)} of {len(matrix)} stimuli, ±{limit:.2f}", fontsize=8)
        line[1].hist(off, bins=80, density=True, color="#555555")
        line[1].set_title(f"similarity of pairs, s.d. {off.std():.3f}", fontsize=8)
        if teacher.sparse:
            line[2].set_axis_off()
            n_pairs = len(matrix) * (len(matrix) - 1) // 2
            line[2].set_title(f"{len(off)} of {n_pairs} pairs known: no spectrum", fontsize=8)
        else:
            found = spectrum(matrix[:SPECTRUM, :SPECTRUM])
            positive = found.eigenvalues[found.eigenvalues > 0]
            line[2].loglog(np.arange(1, len(positive) + 1), positive, color="black", linewidth=1)
            line[2].set_title(f"spectrum, dimension {found.participation_ratio:.0f}", fontsize=8)
        for ax, farthest in ((line[3], False), (line[4], True)):
            ax.imshow(_pairs(teacher.stimuli, pairs, off, farthest), cmap="gray")
            ax.set_title("most unlike" if farthest else "most alike", fontsize=8)
        for ax in (line[0], line[3], line[4]):
            ax.set_xticks([])
            ax.set_yticks([])
    figure.suptitle(with_caveat("Teachers", selection), fontsize=9)
    return figure


def stimuli_figure(selection: Selection) -> Figure:
    """A sample of the stimuli that teachers speak of, a line for each set: figure A.5."""
    found = result_arrays.teachers(selection)
    if not found:
        raise NothingToShowError(_why_none(selection))
    sets = {key: (label, teacher.stimuli) for label, teacher, key in reversed(found)}
    figure = Figure(figsize=(9.6, 0.5 + 1.5 * len(sets)), layout="constrained")
    axes = figure.subplots(len(sets), STIMULI, squeeze=False)
    for line, (label, stimuli) in zip(axes, reversed(sets.values()), strict=True):
        chosen = np.linspace(0, len(stimuli) - 1, STIMULI).astype(int)
        for ax, i in zip(line, chosen, strict=True):
            image = stimuli[i].transpose(1, 2, 0)
            ax.imshow(image if image.shape[2] == 3 else image.mean(2), cmap="gray")
            ax.set_title(f"{i + 1} of {len(stimuli)}", fontsize=7)
            ax.set_xticks([])
            ax.set_yticks([])
        line[0].set_ylabel(label.replace(", ", "\n"), fontsize=7)
    figure.suptitle(with_caveat("Stimuli", selection), fontsize=9)
    return figure


def _ordered(matrix: NDArray) -> NDArray[np.int64]:
    """An order that brings similar stimuli together; as they are where pairs are not known."""
    if not np.isfinite(matrix).all():
        return np.arange(len(matrix))
    return np.asarray(leaves_list(linkage(matrix, "average", optimal_ordering=True)), np.int64)


def _pairs(stimuli: NDArray, pairs: NDArray, values: NDArray, farthest: bool) -> NDArray:
    """The most extreme pairs, a line each, no stimulus twice."""
    first, second = pairs
    most = min(len(values), 50 * PAIRS)
    extreme = np.argpartition(values if farthest else -values, most - 1)[:most]
    extreme = extreme[np.argsort(values[extreme] if farthest else -values[extreme])]
    used: set[int] = set()
    lines: list[NDArray] = []
    for i, j in zip(first[extreme].tolist(), second[extreme].tolist(), strict=True):
        if len(lines) < PAIRS and not {i, j} & used:
            used |= {i, j}
            both = [stimuli[k].mean(0) for k in (i, j)]
            gap = np.full((both[0].shape[0], 2), np.nan)
            lines.append(np.hstack([both[0], gap, both[1]]))
    gap = np.full((2, lines[0].shape[1]), np.nan)
    return np.vstack([part for line in lines for part in (line, gap)][:-1])
