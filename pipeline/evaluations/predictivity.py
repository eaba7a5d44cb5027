"""Networks judged by recordings: neural predictivity beside its ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.experiments.selection import Selection
from pipeline.figures.curves import styled
from pipeline.figures.drawing import legend_below, new_figure, with_caveat
from pipeline.results.conditions import numbered, settings
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Compared, Drawing, Result, register
from pipeline.results.rows import read_rows
from pipeline.results.tables import summary_table
from schemas.evaluations.predictivity import ScanPredictivity
from schemas.recording import Scan
from schemas.teacher_plan import ScanGroup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = ["score", "score_low", "score_high", "reliability", "explained", "ratio"]
KEYS = ["predictivity_hash"]
OF_SCAN = ["judge", "scan", "area", "metric"]
IMPOSSIBLE = 1.05  # of a ceiling, as alignment.ceiled says


def predictivity_by_seed(selection: Selection) -> pd.DataFrame:
    """How well networks predict the neurons of scans, a row per network, scan and settings.

    Returns
    -------
    DataFrame
        ``judge`` is the scan with the metric, ``layer`` the one that is scored, ``chosen`` whether
        on other images from several. ``score`` has an interval over neurons (95 %), from
        ``score_low`` to ``score_high``; ``reliability`` is Brain-Score's ceiling, ``explained`` the
        score^2 over it, ``ratio`` the score over its root. All three are missing without repeats,
        and ``no_ceiling`` says why. ``taught`` tells networks whose teacher speaks for the very
        scan, and that are judged by images that may have taught it.
    """
    named = ["layer", "chosen", "no_ceiling", "n_neurons", "n_images"]
    query = ScanPredictivity.proj(*SCORES, *named) * ScanPredictivity.Config.proj(
        "metric", "judging"
    )
    columns = [*OF_SCAN, *named, *SCORES, "taught", "judging", *KEYS]
    text = ("judge", "scan", "area", "metric", "layer", "no_ceiling", "judging")
    frame = network_frame(query, ScanPredictivity.Plan, selection, columns, text=text)
    scans = read_rows(Scan, ["species", "area"]).set_index("scan")
    area = (scans["species"] + " " + scans["area"]).str.strip()
    members = {(row["scan_group"], row["scan"]) for row in ScanGroup.Member.proj().to_dicts()}
    pairs = zip(frame["scan_group"], frame["scan"], strict=True)
    taught = np.array([pair in members for pair in pairs], bool)
    label = frame["scan"].astype(str) + ", " + frame["metric"].astype(str)
    few = frame["judging"].map({"all": "", "repeated": ", repeated", "test": ", test images"})
    label += few.fillna("").astype(str)
    return frame.assign(
        judge=numbered(label, frame[["scan", *KEYS]]),
        area=frame["scan"].map(area).astype(object),
        taught=taught & (frame["judging"] != "test").to_numpy(bool),
        **{name: frame[name].astype(float) for name in SCORES},
    ).drop(columns="judging")


def predictivity(selection: Selection) -> pd.DataFrame:
    """The same: mean and standard error over seeds; ends of intervals are averaged too."""
    by_seed = predictivity_by_seed(selection)
    summary = over_seeds(by_seed, SCORES, leave_out=["layer", "chosen"])
    return sort_frame(summary, ["image_set", "area", "judge", *ORDER, "setting"])


def predictivity_by_layer(selection: Selection) -> pd.DataFrame:
    """Each layer on the images that score, a row per network, scan, settings and layer.

    Returns
    -------
    DataFrame
        ``choosing`` is the score on the images that choose the layer; missing where it was given.
    """
    measured = ["layer_index", "layer", "choosing", "score", "explained", "ratio"]
    query = ScanPredictivity.Layer * ScanPredictivity.Config.proj("metric")
    columns = ["scan", "metric", *measured, *KEYS]
    text = ("scan", "metric", "layer")
    frame = network_frame(query, ScanPredictivity.Plan, selection, columns, text=text)
    frame = frame.astype(dict.fromkeys(["choosing", "score", "explained", "ratio"], float))
    order = ["image_set", "scan", "metric", *ORDER, "seed", "layer_index"]
    return sort_frame(frame, order)


def predictivity_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each judge and condition: score, its interval over neurons, and its ceiling."""
    table = summary_table(frame, {"score": "{:.3f}"})
    table.insert(0, "judge", frame["judge"].to_numpy())
    table["neurons"] = frame["n_neurons"].to_numpy()
    table["95 % over neurons"] = [
        "" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
        for low, high in frame[["score_low", "score_high"]].to_numpy(float)
    ]
    known = frame["reliability"].notna().to_numpy()
    for name, values in (
        ("ceiling", np.sqrt(frame["reliability"].clip(lower=0))),
        ("score^2 / reliability", frame["explained"]),
        ("score / ceiling", frame["ratio"]),
    ):
        table[name] = [
            f"{value:.3f}" if there and not np.isnan(value) else "none"
            for value, there in zip(values, known, strict=True)
        ]
    table["note"] = [_note(row) for row in frame.to_dict("records")]
    return table if table["note"].any() else table.drop(columns="note")


def _note(row: dict[Any, Any]) -> str:
    said = [row["no_ceiling"]] if row["no_ceiling"] else []
    if row["taught"]:
        said.append("this scan taught the network")
    if row["ratio"] > IMPOSSIBLE:
        said.append("above its ceiling, which cannot be")
    return "; ".join(said)


def predictivity_figure(selection: Selection) -> Figure:
    """Bars for each scan and condition beside their ceilings, as in Kubilius et al. 2019, Fig. 3.

    A panel for each metric. Whiskers are the interval over neurons; a line is the ceiling of a
    scan that has repeats.
    """
    frame = PREDICTIVITY.frame(selection)
    frame = frame.assign(panel=settings(frame))
    panels = list(frame.groupby(["metric", "panel"], sort=False))
    n_bars = max(len(rows) for _, rows in panels)
    figure = new_figure((max(5.0, 1.5 + 0.5 * n_bars), 0.9 + 2.7 * len(panels)))
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for ax, ((metric, setting), rows) in zip(axes, panels, strict=True):
        _bars(ax, rows)
        ax.set_ylabel("similarity" if metric in ("rsa", "cka", "procrustes") else "correlation")
        ax.set_title(f"{metric}; {setting}" if setting else str(metric), fontsize=9)
    legend_below(figure, *axes)
    title = "Neural predictivity; whiskers: 95 % over neurons; lines: ceilings"
    figure.suptitle(with_caveat(title, selection), fontsize=9)
    return figure


def _bars(ax: Any, rows: pd.DataFrame) -> None:
    """Groups of bars, one for each judge, in the colours of the conditions."""
    judges = list(dict.fromkeys(rows["judge"]))
    lines = styled(rows)
    width = 0.8 / len(lines)
    for place, (label, line, of_condition) in enumerate(lines):
        x = [judges.index(j) + (place - (len(lines) - 1) / 2) * width for j in of_condition.judge]
        score = of_condition["score"].to_numpy(float)
        ends = of_condition[["score_low", "score_high"]].to_numpy(float)
        reach = np.abs(np.nan_to_num(ends - score[:, None])).T
        ax.bar(x, score, width, color=line["color"], label=label, alpha=0.8)
        ax.errorbar(x, score, yerr=reach, fmt="none", ecolor="black", linewidth=0.8)
    names = []
    for place, judge in enumerate(judges):
        here = rows[rows["judge"] == judge]
        ceiling = np.sqrt(here["reliability"].clip(lower=0)).mean()
        if not np.isnan(ceiling):
            ax.hlines(ceiling, place - 0.45, place + 0.45, color="#666666", linewidth=1)
        first = here.iloc[0]
        unknown = "\nno ceiling" if np.isnan(ceiling) else ""
        names.append(f"{first['area']}\n{judge}, {int(first['n_neurons'])} neurons{unknown}")
    ax.set_xticks(range(len(judges)), names, fontsize=8)
    ax.axhline(0, color="black", linewidth=0.5)


PREDICTIVITY = register(
    Result(
        name="predictivity",
        place=74,
        title="Neural predictivity of recordings, of the layer given or chosen on other images",
        question="How brain-like are networks, by recordings?",
        read=predictivity,
        by_seed=predictivity_by_seed,
        table=predictivity_table,
        evaluation="predictivity",
        lacks=("asks for", "judgement by a scan; give it a list [[predictivity]]"),
        compared=(Compared("score", lambda f: "predictivity of " + f["judge"].astype(str)),),
        figures={"predictivity": Drawing(predictivity_figure, "neural predictivity and ceilings")},
        further={"predictivity_by_layer": predictivity_by_layer},
    )
)
