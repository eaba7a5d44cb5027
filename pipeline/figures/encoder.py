"""Inside fitted encoders: receptive fields, filters, gaze, gain and most exciting images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Ellipse, Rectangle
from numpy.typing import NDArray

from pipeline.experiments.selection import Selection
from pipeline.figures.shown_encoders import ShownEncoder, shown_encoders, with_caveat_of
from predictive_model.inspection.gaze_and_gain import (
    behaviour_range,
    gain_curves,
    gaze_shift,
    pupil_grid,
)
from predictive_model.inspection.most_exciting_images import at_contrast, most_exciting_images
from predictive_model.inspection.receptive_fields import (
    first_layer_filters,
    moments,
    readout_positions,
    receptive_fields,
)

N_MAPS = 8
N_MOST_EXCITING = 12
MAPS_IN_A_ROW = 6
QUANTILES = (5, 25, 50, 75, 95)
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito


def receptive_fields_figure(selection: Selection, scan: str | None = None) -> Figure:
    """Where all neurons look, and linear and sensitivity maps of those that are predicted best."""
    shown, remark = shown_encoders(selection, scan)
    figure, blocks = _blocks(shown, [3.4] * len(shown))
    for block, encoder in zip(blocks, shown, strict=True):
        block.suptitle(f"{encoder.heading}; neurons with the highest {encoder.measure}", fontsize=8)
        left, right = block.subfigures(1, 2, width_ratios=(1, 2.1))
        _draw_positions(left.subplots(), encoder)
        _draw_maps(right, encoder)
    title = (
        "Receptive fields: positions of readouts; linear maps (mean gradient) and, below them,\n"
        "sensitivity (root mean square gradient) with centre and one standard deviation"
    )
    return _finish(figure, title, remark, shown, selection)


def _draw_positions(ax: Axes, encoder: ShownEncoder) -> None:
    positions = readout_positions(encoder.fitted)
    _, height, width = encoder.fitted.image_shape
    size = float(np.clip(1500 / len(positions), 1, 14))
    x, y = positions.T
    drawn = ax.scatter(x, y, s=size, c=encoder.quality, cmap="viridis", linewidths=0)
    ax.figure.colorbar(
        drawn, ax=ax, location="bottom", shrink=0.8, aspect=30, label=encoder.measure
    )
    ax.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, linewidth=0.8))
    ax.set_xlim(-1.5, width + 0.5)
    ax.set_ylim(height + 0.5, -1.5)
    ax.set_aspect("equal")
    ax.set_title(f"all {len(positions)} neurons, mean gaze", fontsize=8)
    ax.set_axis_off()


def _draw_maps(block: SubFigure, encoder: ShownEncoder) -> None:
    neurons = encoder.best_neurons(N_MAPS)
    fields = receptive_fields(encoder.fitted, encoder.images(), neurons)
    found = moments(fields.sensitivity)
    columns = -(-len(neurons) // 2)
    axes = np.asarray(block.subplots(4, columns, squeeze=False))
    for ax in axes.ravel():
        ax.set_axis_off()
    for i, neuron in enumerate(neurons):
        line, column = divmod(i, columns)
        linear, sensitivity = axes[2 * line, column], axes[2 * line + 1, column]
        values = fields.linear[i].mean(0)
        limit = np.abs(values).max() or 1.0
        linear.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
        linear.set_title(f"neuron {neuron}, {encoder.quality[neuron]:.2f}", fontsize=7, pad=2)
        sensitivity.imshow(np.sqrt((fields.sensitivity[i] ** 2).mean(0)), cmap="magma", vmin=0)
        sensitivity.add_patch(_ellipse(found.centre[i], found.covariance[i]))


def _ellipse(centre: NDArray, covariance: NDArray) -> Ellipse:
    """One standard deviation around a centre."""
    variances, axes = np.linalg.eigh(covariance)
    narrow, wide = 2 * np.sqrt(variances.clip(0))
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    return Ellipse(tuple(centre), wide, narrow, angle=angle, fill=False, color="white", lw=0.8)


def filters_figure(selection: Selection, scan: str | None = None) -> Figure:
    """The filters that the core puts on the image, coarse ones first."""
    shown, remark = shown_encoders(selection, scan, part="filters")
    filters = [first_layer_filters(encoder.fitted) for encoder in shown]
    # Scans with one core have the same filters, which need to be drawn only once.
    first = [next(j for j, f in enumerate(filters) if np.array_equal(f, g)) for g in filters]
    distinct = sorted(set(first))
    columns = 16
    lines = [-(-len(filters[i]) // columns) for i in distinct]
    figure, blocks = _blocks([shown[i] for i in distinct], [0.35 + 0.55 * n for n in lines])
    for block, i, n in zip(blocks, distinct, lines, strict=True):
        others = [shown[j].row["scan"] for j in range(len(shown)) if first[j] == i and j != i]
        shared = f", the same as of {', '.join(others)}" if others else ""
        side = filters[i].shape[-1] * shown[i].fitted.config.downsample
        block.suptitle(f"{shown[i].heading}{shared}; {side} x {side} pixels", fontsize=8)
        axes = np.ravel(block.subplots(n, min(columns, len(filters[i])), squeeze=False))
        for ax in axes:
            ax.set_axis_off()
        for ax, kernel in zip(axes, filters[i], strict=False):
            ax.imshow(kernel.mean(0), cmap="gray", vmin=-1, vmax=1)
    title = "Filters of the core's first layer, each scaled to its largest weight, coarse first"
    return _finish(figure, title, remark, shown, selection)


def gaze_figure(selection: Selection, scan: str | None = None) -> Figure:
    """How receptive fields move with the eye: a vector at each position of the pupil."""
    shown, remark = shown_encoders(selection, scan, part="shifter")
    figure = Figure(figsize=(0.6 + 3.6 * max(len(shown), 1.5), 4.2), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for ax, encoder in zip(axes, shown, strict=True):
        _draw_gaze(ax, encoder)
    title = "Learned shift of receptive fields with the position of the pupil, from mean gaze"
    return _finish(figure, title, remark, shown, selection)


def _draw_gaze(ax: Axes, encoder: ShownEncoder) -> None:
    pupil = pupil_grid(encoder.fitted)
    shift = gaze_shift(encoder.fitted, pupil)
    scan = encoder.recording()
    if scan is not None and scan.pupil is not None:
        x, y = scan.pupil[:: max(1, scan.n_trials // 1000)].T
        ax.scatter(x, y, s=3, color="0.8", linewidths=0, label="trials")
    longest = float(np.linalg.norm(shift, axis=1).max())
    spacing = float(pupil[1, 0] - pupil[0, 0])
    arrows = ax.quiver(
        *pupil.T,
        *shift.T,
        angles="xy",
        scale_units="xy",
        scale=max(longest, 1e-6) / (1.3 * spacing),
        color=ORANGE,
        width=0.006,
    )
    length = float(f"{max(longest, 1e-6) / 2:.1g}")
    label = f"{length:g} pixel" if length == 1 else f"{length:g} pixels"
    ax.quiverkey(arrows, 0.75, 1.03, length, label, labelpos="W", fontproperties={"size": 8})
    margin = 1.5 * spacing
    ax.set_xlim(pupil[:, 0].min() - margin, pupil[:, 0].max() + margin)
    ax.set_ylim(pupil[:, 1].max() + margin, pupil[:, 1].min() - margin)
    ax.set_aspect("equal")
    ax.set_xlabel("pupil, horizontal")
    ax.set_ylabel("pupil, vertical (downwards)")
    ax.set_title(f"{encoder.heading}\n", fontsize=8)


def gain_figure(selection: Selection, scan: str | None = None) -> Figure:
    """Gain against each behaviour variable, the others at their means: quantiles of neurons."""
    shown, remark = shown_encoders(selection, scan, part="modulator")
    most = max(encoder.row["n_behaviour"] for encoder in shown)
    figure, blocks = _blocks(shown, [2.7] * len(shown), width=0.8 + 2.9 * max(most, 2))
    for block, encoder in zip(blocks, shown, strict=True):
        block.suptitle(f"{encoder.heading}, {encoder.fitted.n_neurons} neurons", fontsize=8)
        _draw_gain(block, encoder)
    title = (
        "Gain with behaviour, relative to that at mean behaviour\n"
        "median, quartiles, 5 and 95 % of neurons"
    )
    return _finish(figure, title, remark, shown, selection)


def _draw_gain(block: SubFigure, encoder: ShownEncoder) -> None:
    scan = encoder.recording()
    names: Sequence[str] = ()
    values = behaviour_range(encoder.fitted)
    if scan is not None and scan.behaviour is not None:
        # Where the animal has been, extremes left out.
        low, high = np.percentile(scan.behaviour, [2, 98], axis=0)
        values = np.linspace(low, high, len(values))
        names = scan.behaviour_names or ()
    names = names or [f"behaviour {i + 1}" for i in range(values.shape[1])]
    curves = gain_curves(encoder.fitted, values)
    axes = block.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, name, x, gains in zip(axes, names, values.T, curves, strict=True):
        lowest, low, middle, high, highest = np.percentile(gains, QUANTILES, axis=1)
        ax.fill_between(x, lowest, highest, color=BLUE, alpha=0.15, linewidth=0)
        ax.fill_between(x, low, high, color=BLUE, alpha=0.3, linewidth=0)
        ax.plot(x, middle, color=BLUE, linewidth=1.5)
        ax.axhline(1, color="0.6", linewidth=0.6, zorder=0)
        ax.set_xlabel(name)
    axes[0].set_ylabel("gain")
    axes[0].set_yscale("log", base=2)
    axes[0].yaxis.set_major_formatter("{x:g}")


def most_exciting_images_figure(selection: Selection, scan: str | None = None) -> Figure:
    """The image that excites each of the best predicted neurons most, and its best recorded one."""
    shown, remark = shown_encoders(selection, scan)
    n = [min(N_MOST_EXCITING, encoder.fitted.n_neurons) for encoder in shown]
    heights = [0.4 + 1.75 * -(-k // MAPS_IN_A_ROW) for k in n]
    figure, blocks = _blocks(shown, heights)
    for block, encoder, k in zip(blocks, shown, n, strict=True):
        block.suptitle(f"{encoder.heading}; neurons with the highest {encoder.measure}", fontsize=8)
        _draw_most_exciting(block, encoder, k)
    title = (
        "Most exciting images and, below them, the stimulus that excites most at the same "
        "contrast\nin brackets: predicted response, relative to that stimulus; *: had not converged"
    )
    return _finish(figure, title, remark, shown, selection)


def _draw_most_exciting(block: SubFigure, encoder: ShownEncoder, n: int) -> None:
    fitted, neurons = encoder.fitted, encoder.best_neurons(n)
    found = most_exciting_images(fitted, neurons)
    images = encoder.images(n=1000)
    predicted = fitted.predict(at_contrast(fitted, images))[:, neurons]
    best = predicted.argmax(0)
    ratio = found.responses / np.maximum(predicted.max(0), 1e-9)
    columns = min(MAPS_IN_A_ROW, n)
    axes = np.asarray(block.subplots(2 * -(-n // columns), columns, squeeze=False))
    for ax in axes.ravel():
        ax.set_axis_off()
    for i, neuron in enumerate(neurons):
        line, column = divmod(i, columns)
        above, below = axes[2 * line : 2 * line + 2, column]
        star = "" if found.converged[i] else "*"
        above.set_title(f"neuron {neuron} ({ratio[i]:.1f} x){star}", fontsize=7, pad=2)
        above.imshow(found.images[i].mean(0), cmap="gray", vmin=0, vmax=255)
        below.imshow(images[best[i]].mean(0), cmap="gray")


def _blocks(
    shown: Sequence[ShownEncoder], heights: Sequence[float], width: float = 8.6
) -> tuple[Figure, NDArray]:
    """A figure with a block for each encoder, one below the other."""
    figure = Figure(figsize=(width, sum(heights) + 0.6), layout="constrained")
    blocks = figure.subfigures(len(shown), 1, squeeze=False, height_ratios=list(heights))
    return figure, np.ravel(blocks)


def _finish(
    figure: Figure,
    title: str,
    remark: str,
    shown: Sequence[ShownEncoder],
    selection: Selection,
) -> Figure:
    heading = f"{title}\n{remark}" if remark else title
    figure.suptitle(with_caveat_of(heading, shown, selection), fontsize=9)
    return figure
