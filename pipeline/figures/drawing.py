"""What all figures share: style, and what must be said in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.experiments.selection import Selection
from pipeline.results.encoders import caveat

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from numpy.typing import NDArray


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure, its size in inches; imports matplotlib, which takes a second."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def new_panels(n: int, in_a_row: int, size: tuple[float, float]) -> tuple[Figure, list[Any]]:
    """A figure of so many panels, some in a row and the others below; `size` is a row's, in inches.

    Returns
    -------
    figure : Figure
    axes : list of Axes
        As many as asked for.
    """
    columns = min(n, in_a_row)
    rows = -(-n // columns)
    figure = new_figure((size[0], rows * size[1]))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[n:]:
        ax.remove()
    return figure, axes[:n]


def colour_map(name: str) -> Colormap:
    """Colours from matplotlib."""
    from matplotlib import colormaps

    return colormaps[name]


def whole_numbers(**options: Any) -> MaxNLocator:
    """Ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(**options)


def legend_below(figure: Figure, *axes: Any, columns: int | None = None) -> None:
    """One legend for a whole figure: what any of its panels shows, each label once.

    In as many columns as fit the figure's width, unless their number is given. None, where panels
    show nothing that has a label.
    """
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    if columns is None:
        inches = 0.45 + 0.062 * max(map(len, found), default=1)
        columns = min(max(int(figure.get_figwidth() / inches), 1), 4)
    figure.legend(
        handles=list(found.values()),
        labels=list(found),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
    )


def name_dots(ax: Any, x: Iterable[float], y: Iterable[float], names: Iterable[str]) -> None:
    """A name beside each dot, with room for that of the last one."""
    for *place, name in zip(x, y, names, strict=True):
        ax.annotate(name, place, (4, 2), textcoords="offset points", fontsize=6)
    ax.margins(x=0.15)


def log_scales(ax: Any) -> None:
    """Both axes logarithmic, with numbers that can be read where they span little."""
    log_scale(ax, "x")
    log_scale(ax, "y")


def log_scale(ax: Any, which: str, subs: tuple[int, ...] = (1, 2, 5)) -> None:
    """The axis ``x`` or ``y`` logarithmic, with a number at each of `subs` in a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set(**{f"{which}scale": "log"})
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def from_zero(ax: Any) -> None:
    """The vertical axis from zero to a little above what is drawn, which may span very little."""
    ax.set_ylim(0, 1.05 * ax.get_ylim()[1])


def show_pictures(
    ax: Any, pictures: Sequence[NDArray[np.uint8]], below: Sequence[str] = ()
) -> None:
    """Pictures beside each other, (height, width, 1 or 3) each, and perhaps a word below each."""
    import numpy as np

    height, width, channels = pictures[0].shape
    gap = np.full((height, max(1, width // 16), channels), 255, np.uint8)
    row = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    ax.imshow(row.squeeze(2) if channels == 1 else row, cmap="gray", vmin=0, vmax=255)
    if not below:
        ax.set_axis_off()
        return
    centres = (width - 1) / 2 + np.arange(len(pictures)) * (width + gap.shape[1])
    ax.set_xticks(centres, below)
    ax.set_yticks([])
    ax.tick_params(length=0, labelsize=7)
    for side in ax.spines.values():
        side.set_visible(False)


def with_caveat(title: str, selection: Selection) -> str:
    """A title and below it what must be said beside every number."""
    said = caveat(selection)
    return f"{title}\n{said}" if said else title
