"""Which frequencies networks go by: their answers to hybrids of two images, Li et al. 2023."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import error_bars, styled
from pipeline.figures.drawing import legend_below, log_scale, new_figure, with_caveat
from pipeline.results.conditions import numbered
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
from schemas.evaluations.hybrids import HybridAnswers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = ("low", "high", "neither")
VALUES = ("equal_at", *SHARES, "clipped", "clean_accuracy")
KEYS = ("frequency_filter", "n_images", "hybrids_hash")
SHOWN = {
    "low": "answered as the low image",
    "high": "answered as the high image",
    "neither": "answered as neither",
}


def hybrids_by_seed(selection: Selection) -> pd.DataFrame:
    """Answers to hybrids, a row per network and settings.

    Returns
    -------
    DataFrame
        ``equal_at`` is the cut, in cycles per image height, at which the image with the low and
        that with the high frequencies are answered as often; missing where they never are.
        ``low``, ``high`` and ``neither`` are shares of answers, mean over cuts, ``clipped`` the
        share of pixels that were beyond black and white. ``name`` tells several settings apart.
    """
    columns = [*VALUES, "n_crossings", *KEYS]
    query = HybridAnswers.proj(*(c for c in columns if c in HybridAnswers.heading.names))
    return _named(query, selection, columns, "seed")


def hybrids_by_cut(selection: Selection) -> pd.DataFrame:
    """The same, a row per network, settings and ``cut``."""
    about = HybridAnswers.proj("n_images", "clean_accuracy", "equal_at")
    columns = ["cut", *VALUES, *KEYS]
    return _named(HybridAnswers.Cut * about, selection, columns, "seed", "cut")


def _named(query: Any, selection: Selection, columns: list[str], *then: str) -> pd.DataFrame:
    query = query * HybridAnswers.Config.proj("frequency_filter")
    text = ["frequency_filter"]
    frame = network_frame(query, HybridAnswers.Plan, selection, columns, text)
    frame = with_part(frame, HybridAnswers)
    names = on_part(frame["frequency_filter"].astype(object) + " filter", frame)
    frame = frame.assign(
        equal_at=frame["equal_at"].astype(float),
        neither=1.0 - frame["low"] - frame["high"],
        name=numbered(names, frame[["hybrids_hash"]]),
    )
    return sort_frame(frame, ["image_set", "name", *ORDER, *then])


def hybrids(selection: Selection) -> pd.DataFrame:
    """Mean and standard error over seeds; ``equal_at`` over the ``n_equal`` that have one."""
    by_seed = hybrids_by_seed(selection)
    by_seed = by_seed.assign(n_equal=by_seed["equal_at"].notna().astype(int))
    summary = over_seeds(by_seed, VALUES, totals=["n_equal"], leave_out=["n_crossings"])
    return sort_frame(summary, ["image_set", "name", *ORDER])


def hybrids_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition and settings; what never changes places is said."""
    forms = {"equal_at": "{:.2f}", **dict.fromkeys((*SHARES, "clipped"), "{:.3f}")}
    table = summary_table(frame, forms)
    table.insert(0, "hybrids", frame["name"].to_numpy())
    of_none = [
        _never(low, high) if none == 0 else f"{cut}, {none} of {n} seeds" if none < n else cut
        for cut, none, n, low, high in zip(
            table["equal_at"], frame["n_equal"], frame["n_seeds"], frame["low"], frame["high"],
            strict=True,
        )
    ]  # fmt: skip
    table["equal_at"] = of_none
    return table.rename(columns={"equal_at": "equal at (cycles/image)"})


def _never(low: float, high: float) -> str:
    if low == high:
        return "never: as often at every cut"
    return f"never: the {'low' if low > high else 'high'} image at every cut"


def hybrids_figure(selection: Selection) -> Figure:
    """Shares of answers against the cut; a vertical line where both are answered as often."""
    summary = HYBRIDS.frame(selection)
    by_cut = over_seeds(hybrids_by_cut(selection), VALUES)
    by_cut = sort_frame(by_cut, ["image_set", "name", *ORDER, "cut"])
    panels = list(by_cut.groupby(["image_set", "name"], sort=False))
    figure = new_figure((max(5.4, 0.6 + 3.6 * len(panels)), 7.4))
    axes = figure.subplots(3, len(panels), squeeze=False, sharex="col", sharey="row")
    for column, ((images, name), group) in enumerate(panels):
        for ax, share in zip(axes[:, column], SHARES, strict=True):
            for label, line, rows in styled(group):
                ax.errorbar(
                    rows["cut"],
                    rows[share],
                    yerr=rows[f"{share}_sem"].fillna(0),
                    label=label,
                    **line,
                    marker="o",
                    markersize=3,
                    linewidth=1.2,
                    capsize=2,
                )
            ax.set_ylim(-0.03, 1.03)
        of_panel = summary[(summary["image_set"] == images) & (summary["name"] == name)]
        for _, line, rows in styled(of_panel):
            for ax in axes[:2, column]:
                for cut in rows["equal_at"].dropna():
                    ax.axvline(cut, **line, linewidth=0.8, alpha=0.6)
        log_scale(axes[2, column], "x", (1, 2, 5))
        axes[2, column].set_xlabel("cut (cycles per image height)")
        axes[0, column].set_title(f"{images}, {name}", fontsize=9)
    for ax, share in zip(axes[:, 0], SHARES, strict=True):
        ax.set_ylabel(SHOWN[share], fontsize=8)
    legend_below(figure, *axes.flat)
    title = f"Low frequencies of one image, high ones of another; {error_bars(summary)}\n"
    title += "vertical: both answered as often"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


HYBRIDS = register(
    Result(
        name="hybrids",
        place=44,
        title="Answers to hybrids of two images (Li et al. 2023)",
        question="Do networks go by low or by high frequencies?",
        read=hybrids,
        by_seed=hybrids_by_seed,
        table=hybrids_table,
        evaluation="hybrids",
        compared=(
            Compared("equal_at", lambda frame: "cut of equal answers, hybrids, " + frame["name"]),
            Compared("low", lambda frame: "answers of the low image, hybrids, " + frame["name"]),
        ),
        figures={
            "hybrids": Drawing(hybrids_figure, "answers to hybrids against the cut between them"),
        },
        further={"hybrids_by_cut": hybrids_by_cut},
    )
)
